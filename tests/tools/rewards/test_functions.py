"""What each reward gives for good and bad completions, as text and as turns."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from ftagent.tools.rewards import functions
from ftagent.tools.rewards.functions import (
    code_passes_tests,
    exact_answer,
    format_matches,
    length_within,
    math_equality,
)

LONG = "Let me think about this. " * 4000


def turns(text: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


EXACT = [
    ("42", "42", 1),
    ("42", "The answer is 42.", 1),
    ("42", "the final answer is: **42**", 1),
    ("42", "The answer is 42. I hope this helps!", 1),
    ("42", "**Answer**: 42", 1),
    ("42", "So we get\n#### 42", 1),
    ("42", r"Thus \boxed{42}.", 1),
    ("42", r"\boxed{41}, or rather \boxed{42}", 1),
    ("42", "<think>41?</think> 42", 1),
    ("42", "<think>hm</think><answer> 42 </answer>", 1),
    ("1234", "#### 1,234", 1),
    (42, "42", 1),
    (42.0, "42", 1),
    ("Paris", "paris.", 1),
    ("Zürich", "Zürich", 1),
    ("東京", "「東京」".strip("「」"), 1),
    ("1", "1", 1),
    (["Paris", "City of Light"], "The answer is City of Light.", 1),
    ("Janet sells 9 eggs.\n#### 18", "18", 1),
    ("42", LONG + "The answer is 42.", 1),
    ("42", "43", 0),
    ("42", "", 0),
    ("42", "420", 0),
    ("42", "It is either 41 or 42", 0),
    ("42", "<think>the answer is 42", 0),
    ("42", "<think>The answer is 42</think> The answer is 41", 0),
    ("42", r"\boxed{42", 0),
    ("42", LONG, 0),
    ("Paris", "London", 0),
    ("", "", None),
    (None, "42", None),
    ([], "42", None),
]


@pytest.mark.parametrize("wrap", [str, turns], ids=["text", "turns"])
@pytest.mark.parametrize(("reference", "said", "reward"), EXACT)
def test_exact_answer(reference: Any, said: str, reward: float | None, wrap: Any) -> None:
    assert exact_answer([wrap(said)], answer=[reference]) == [reward]


MATH = [
    ("42", "The answer is 42.", 1),
    ("42", "#### 42", 1),
    ("42", r"\boxed{42}", 1),
    ("42", "$x = 42$", 1),
    ("42", "42", 1),
    (42, "42", 1),
    (0.5, r"\boxed{\frac12}", 1),
    (r"\frac{1}{2}", "0.5", 1),
    ("1/2", r"$\frac{2}{4}$", 1),
    ("1,234", "1234", 1),
    ("x^2+1", r"\boxed{1+x^2}", 1),
    ("x^2+1", "1 + x^2", 1),
    ("(1,2)", r"\boxed{(1, 2)}", 1),
    (r"\sqrt{8}", r"\boxed{2\sqrt{2}}", 1),
    (r"The sum is $\boxed{\pi}$.", r"\boxed{\pi}", 1),
    ("Janet sells 9 eggs for 2 dollars.\n#### 18", "She makes $18", 1),
    ("50%", "0.5", 1),
    ("42", "<think>41</think>42", 1),
    ("42", "<think>41</think><answer>42</answer>", 1),
    ("42", LONG + r"\boxed{42}", 1),
    ("42", "The answer is 43.", 0),
    ("42", r"\boxed{41}", 0),
    ("42", "", 0),
    ("42", "I do not know.", 0),
    ("42", "<think>42", 0),
    ("42", r"<think>\boxed{42}</think>\boxed{41}", 0),
    (r"\frac{1}{2}", r"\boxed{\frac{1}{3}}", 0),
    ("(1,2)", r"\boxed{(2, 1)}", 0),
    ("x^2+1", r"\boxed{x^2}", 0),
    ("42", "四十二", 0),
    ("42", LONG, 0),
    (None, "42", None),
    ("Paris is the capital of France", r"\boxed{Paris}", None),
    ("", "42", None),
]


@pytest.mark.parametrize("wrap", [str, turns], ids=["text", "turns"])
@pytest.mark.parametrize(("reference", "said", "reward"), MATH)
def test_math_equality(reference: Any, said: str, reward: float | None, wrap: Any) -> None:
    pytest.importorskip("math_verify")
    assert math_equality([wrap(said)], answer=[reference]) == [reward]


def test_math_that_explodes_is_wrong_in_seconds() -> None:
    pytest.importorskip("math_verify")
    started = time.process_time()
    assert math_equality([r"\boxed{9^{9^{9^9}}}", r"\boxed{99999999!}"], answer=["42", "42"]) == [0, 0]
    assert time.process_time() - started < 30


def test_math_is_judged_outside_of_the_main_thread_too() -> None:
    """math-verify's alarm raises ValueError there."""
    pytest.importorskip("math_verify")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(math_equality(["42", "41"], answer=["42", "42"])))
    thread.start()
    thread.join()
    assert found == [[1, 0]]


ADD = "def add(a, b):\n    return a + b\n"
SCRIPT = "a, b = map(int, input().split())\nprint(a + b)\n"
ASSERTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]
CODE = [
    (ASSERTS, f"```python\n{ADD}```", 1),
    (ASSERTS, f"Sure!\n\n```python\n{ADD}```\n\nIt adds.", 1),
    (ASSERTS, f"```python\n{ADD}```\nUse it:\n```python\nprint(add(1, 2))\n```", 1),
    (ASSERTS, f"```\n{ADD}```", 1),
    (ASSERTS, f"```py\nx = 1\n```\n```bash\npip install x\n```\n```py\n{ADD}```", 1),
    (ASSERTS, f"```python\n{ADD}", 1),
    (ASSERTS, ADD, 1),
    (ASSERTS, f"<think>```python\ndef add(a, b): return 0\n```</think>\n```python\n{ADD}```", 1),
    (ASSERTS, f"```python\n# häßlich 東京\n{ADD}```", 1),
    ("\n".join(ASSERTS), ADD, 1),
    ('["assert add(1, 2) == 3"]', ADD, 1),
    ([{"input": "1 2\n", "output": "3\n"}], f"```python\n{SCRIPT}```", 1),
    ({"inputs": ["1 2", "3 4"], "outputs": ["3", "7"]}, SCRIPT, 1),
    ('{"inputs": ["1 2"], "outputs": ["3"]}', SCRIPT, 1),
    ({"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}, ADD, 1),
    (ASSERTS, "def add(a, b):\n    return a - b\n", 0),
    (ASSERTS, "", 0),
    (ASSERTS, "I cannot write code.", 0),
    (ASSERTS, f"```cpp\n{ADD}```", 0),
    (ASSERTS, "import os\nos._exit(0)", 0),
    (ASSERTS, f"<think>```python\n{ADD}```", 0),
    (ASSERTS, "x = 1\n" * 16_000, 0),
    ([{"input": "1 2\n", "output": "3\n"}], "print(4)", 0),
    ({"inputs": ["1 2", "3 4"], "outputs": ["3", "7"]}, "print(3)", 0),
    (None, ADD, None),
    ("see the file tests.py", ADD, None),
    ([], ADD, None),
    ({"inputs": [[1, 2]], "outputs": [3]}, ADD, None),
]


@pytest.mark.parametrize(("tests", "said", "reward"), CODE)
def test_code_passes_tests(tests: Any, said: str, reward: float | None) -> None:
    assert code_passes_tests([said, turns(said)], tests=[tests, tests]) == [reward, reward]


def test_humaneval_checks_are_called_with_their_entry_point() -> None:
    test = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
    said = [ADD, ADD.replace("+", "-")]
    assert code_passes_tests(
        said, reference_column="test", entry_point_column="entry", test=[test] * 2, entry=["add"] * 2
    ) == [1, 0]


def test_a_check_that_is_defined_and_never_called_judges_nothing() -> None:
    """Its asserts never run."""
    test = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
    assert code_passes_tests(["def add(a, b):\n    return 0"], tests=[test]) == [None]


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        ("<think>a</think><answer>b</answer>", 1),
        ("<think>\na\nb\n</think>\n\n<answer>\n42\n</answer>\n", 1),
        ("a</think><answer>b</answer>", 1),
        ("", 0),
        ("42", 0),
        ("<answer>b</answer>", 0),
        ("<think>a</think>b", 0),
        ("<think>a</think><answer></answer>", 0),
        ("<think>a<think>b</think><answer>c</answer>", 0),
        ("<think>a</think><answer>b</answer> and more", 0),
        ("<think>" * 20_000, 0),
        ("<think>" + "a" * 100_000 + "</think><answer>b</answer>", 1),
    ],
)
def test_format_matches(said: str, reward: float) -> None:
    assert format_matches([said, turns(said)]) == [reward, reward]


def test_format_takes_a_pattern() -> None:
    assert format_matches(["a: 1", "b"], form_pattern=r"a: \d") == [1, 0]


def test_length_falls_off_on_both_sides() -> None:
    ids = [[0] * n for n in (0, 5, 10, 20, 30, 100)]
    assert length_within(["x"] * 6, completion_ids=ids, least_tokens=10, most_tokens=20) == [0, 0.5, 1, 1, 0.5, 0]


def test_turns_of_all_kinds_are_read() -> None:
    said = [
        [{"role": "assistant", "content": None}, {"role": "tool", "content": "41"}, *turns("42")],
        turns([{"type": "text", "text": "The answer is 42"}]),
        [{"role": "assistant", "content": "41", "tool_calls": []}],
        turns(None),
        [],
    ]
    assert exact_answer(said, answer=["42"] * 5) == [1, 1, 0, 0, 0]


def test_every_reward_takes_what_the_trainer_hands_over_besides() -> None:
    given = {"prompts": ["q"], "completion_ids": [[1]], "trainer_state": None, "log_extra": None, "log_metric": None}
    for reward in (exact_answer, code_passes_tests, format_matches, length_within):
        assert len(reward(completions=["x"], answer=["y"], tests=[ASSERTS], **given)) == 1
    assert functions.exact_answer(completions=["x"], reference_column="a column", **{"a column": ["x"]}, **given) == [1]
