"""Which rewards fit which data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.data.shaping.shapes import Refusal
from ftagent.tools.errors import InputError
from ftagent.tools.rewards.choose import choose_rewards
from ftagent.tools.rewards.table import RewardChoice, callables

MBPP = ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]


def chosen(rows: list[dict[str, Any]], stated: Any = None, folder: Path = Path()) -> tuple[RewardChoice, ...]:
    found = choose_rewards(list(rows[0]), rows, stated, folder=folder)
    assert not isinstance(found, Refusal), found
    return found


@pytest.mark.parametrize(
    ("row", "name", "column"),
    [
        ({"prompt": "1+1?", "answer": "2"}, "math_equality", "answer"),
        ({"prompt": "1+1?", "answer": 2}, "math_equality", "answer"),
        ({"prompt": "1+1?", "answer": "She has 1 and 1, which is 2.\n#### 2"}, "math_equality", "answer"),
        ({"prompt": "?", "solution": r"We see that it is $\boxed{\frac{1}{2}}$."}, "math_equality", "solution"),
        ({"prompt": "?", "ground_truth": "x^2 + 1", "solution": "It is " * 50}, "math_equality", "ground_truth"),
        ({"prompt": "?", "Answer": "$1,234.50"}, "math_equality", "Answer"),
        ({"prompt": "?", "given_completion": "42"}, "math_equality", "given_completion"),
        ({"prompt": "?", "answer": "12 apples"}, "math_equality", "answer"),
        ({"prompt": "?", "answer": "Paris"}, "exact_answer", "answer"),
        ({"prompt": "?", "answers": ["Paris", "City of Light"]}, "exact_answer", "answers"),
        ({"prompt": "?", "answer": True}, "exact_answer", "answer"),
        ({"prompt": "?", "label": "positive"}, "exact_answer", "label"),
        ({"prompt": "?", "answer": "B"}, "exact_answer", "answer"),
        ({"prompt": "?", "test_list": MBPP, "code": "def add(a, b): ..."}, "code_passes_tests", "test_list"),
        ({"prompt": "?", "tests": "\n".join(MBPP), "answer": "42"}, "code_passes_tests", "tests"),
        (
            {"prompt": "?", "input_output": json.dumps({"inputs": ["1"], "outputs": ["2"]})},
            "code_passes_tests",
            "input_output",
        ),
        (
            {"prompt": "?", "official_tests": [{"input": "1", "output": "2"}]},
            "code_passes_tests",
            "official_tests",
        ),
    ],
)
def test_the_values_of_columns_decide(row: dict[str, Any], name: str, column: str) -> None:
    [choice] = chosen([row, row])
    assert (choice.name, choice.options["reference_column"]) == (name, column)
    assert column in choice.reason


def test_a_prompt_that_asks_for_tags_is_judged_by_its_form_too() -> None:
    system = {"role": "system", "content": "Think in <think> </think>, then answer in <answer> </answer>."}
    rows = [{"prompt": [system, {"role": "user", "content": "1+1?"}], "answer": "2"}]
    assert [choice.name for choice in chosen(rows)] == ["math_equality", "format_matches"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Tell me a story."},
        {"prompt": "?", "answer": "Once upon a time there was a king, and he had 3 sons, who all went out to ride."},
        {"prompt": "?", "tests": "see the attached file"},
        {"prompt": "?", "answer": None},
        {"prompt": "?", "id": 7, "source": "web"},
        {"prompt": "42", "length": 3},
    ],
)
def test_prompts_without_a_yardstick_are_asked_about(row: dict[str, Any]) -> None:
    found = choose_rewards(list(row), [row], folder=Path())
    assert isinstance(found, Refusal)
    assert "no column says what a right completion is" in found.missing
    assert "rewards.py:function" in found.nearest


def test_half_of_the_rows_suffice() -> None:
    rows = [{"prompt": "?", "answer": "42"}, {"prompt": "?", "answer": None}, {"prompt": "?", "answer": "no solution"}]
    assert chosen(rows)[0].name == "math_equality"


def test_humaneval_brings_its_entry_point() -> None:
    test = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
    rows = [
        {"prompt": "def add(a, b):\n", "test": test, "entry_point": "add", "canonical_solution": "    return a + b"}
    ]
    [choice] = chosen(rows)
    assert choice.options == {"reference_column": "test", "entry_point_column": "entry_point"}
    right = "def add(a, b):\n    return a + b"
    assert callables((choice,))["code_passes_tests"](completions=[right], test=[test], entry_point=["add"]) == [1]


def test_what_is_stated_wins() -> None:
    rows = [{"prompt": "?", "answer": "42", "other": "x"}]
    assert [c.name for c in chosen(rows, {"exact_answer": {}, "length_within": {"most_tokens": 9}})] == [
        "exact_answer",
        "length_within",
    ]
    assert chosen(rows, {"exact_answer": {}})[0].options == {"reference_column": "answer"}
    assert chosen(rows, {"exact_answer": {"reference_column": "other"}})[0].options == {"reference_column": "other"}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"accuracy": {}}, "there is no reward `accuracy`.*known: exact_answer"),
        ({"math_equality": {"reference_column": "gold"}}, "compares with `gold`.*columns are `prompt`, `x`"),
        ({"math_equality": {}}, "needs a column to compare with.*state its `reference_column`"),
        ({"missing.py:reward": {}}, "cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_way_out(stated: Any, message: str, workdir: Path) -> None:
    with pytest.raises(InputError, match=message):
        choose_rewards(["prompt", "x"], [{"prompt": "?", "x": "y"}], stated, folder=workdir)


def test_a_persons_own_function_is_taken_from_its_file(workdir: Path) -> None:
    (workdir / "rewards.py").write_text(
        "def short(completions, answer, **kwargs):\n    return [1.0] * len(completions)\n"
    )
    rows = [{"prompt": "?", "answer": "42"}]
    [choice] = chosen(rows, {"rewards.py:short": {}}, workdir)
    assert callables((choice,))["short"](completions=["a", "b"], answer=["x", "y"]) == [1, 1]
    with pytest.raises(InputError, match="asks for `answer`, which the data does not have"):
        choose_rewards(["prompt"], [{"prompt": "?"}], {"rewards.py:short": {}}, folder=workdir)
