"""The dry run of rewards tells those that teach from those that do not."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.rewards import rehearsal
from ftagent.tools.rewards.functions import code_passes_tests, exact_answer, format_matches, length_within
from ftagent.tools.rewards.rehearsal import Rehearsal, rehearse

SUMS = [{"prompt": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in range(1, 5)]
CODE = [
    {
        "prompt": f"Write f, which adds {n}.",
        "tests": [f"assert f(1) == {n + 1}"],
        "code": f"def f(x):\n    return x + {n}\n",
    }
    for n in range(1, 3)
]


def of(reward: Any, rows: list[dict[str, Any]] = SUMS, column: str | None = None, **options: Any) -> Rehearsal:
    return rehearse({"it": reward}, rows, columns={"it": column} if column else None, **options)


def test_right_answers_are_told_from_wrong_ones() -> None:
    found = of(exact_answer, column="answer")
    [reward] = found.rewards
    assert (reward.good_mean, reward.bad_mean, found.problems) == (1, 0, ())
    assert dict(reward.histogram) == {"0": 16, "1": 12}  # right twice, and the answer itself; wrong twice, and silence
    assert found.completions == 28


def test_turns_are_given_where_the_prompt_is_turns() -> None:
    rows = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in SUMS]
    seen: list[Any] = []

    def reward(completions: Any, **kwargs: Any) -> list[float]:
        seen.extend(completions)
        return exact_answer(completions, **kwargs)

    assert not of(reward, rows, "answer").problems
    assert all(completion[0]["role"] == "assistant" for completion in seen)


def test_code_is_told_by_the_solution_beside_it() -> None:
    found = rehearse({"code_passes_tests": code_passes_tests}, CODE, columns={"code_passes_tests": "tests"})
    assert (found.rewards[0].good_mean, found.rewards[0].bad_mean, found.problems) == (1, 0, ())


def test_a_function_that_the_prompt_begins_is_completed() -> None:
    rows = [
        {
            "prompt": 'def f(x):\n    """Add 1."""\n',
            "tests": "def check(c):\n    assert c(1) == 2\n\ncheck(f)",
            "canonical_solution": "    return x + 1\n",
        }
    ]
    found = rehearse({"code_passes_tests": code_passes_tests}, rows, columns={"code_passes_tests": "tests"})
    assert found.rewards[0].good_mean == 1


def test_code_without_a_solution_says_that_it_is_blind() -> None:
    rows = [{name: row[name] for name in ("prompt", "tests")} for row in CODE]
    found = rehearse({"code_passes_tests": code_passes_tests}, rows, columns={"code_passes_tests": "tests"})
    assert found.is_blind
    assert found.are_all_equal
    assert not found.problems


def broken(value: Any) -> Any:
    def reward(completions: Any, **kwargs: Any) -> Any:
        return value(completions) if callable(value) else [value] * len(completions)

    return reward


@pytest.mark.parametrize(
    ("reward", "column", "problem"),
    [
        (broken(1.0), None, "every completion gets the same reward"),
        (broken(0.0), "answer", "what is right gets 0.00, and what is wrong 0.00"),
        (broken(None), None, "it leaves out every row"),
        (broken(float("nan")), None, "not finite"),
        (broken(lambda c: [1.0]), None, "1 rewards for"),
        (broken(lambda c: 1 / 0), None, "raises ZeroDivisionError"),
        (broken(lambda c: ["good"] * len(c)), None, "raises ValueError"),
        (broken(lambda c: None), None, "raises TypeError"),
        (lambda completions: [0.0] * len(completions), None, "raises TypeError"),
        (partial(exact_answer, reference_column="gold"), "answer", "raises KeyError"),
        (broken(lambda c: [float(text == "") for text in c]), "answer", "what is right gets 0.00, and what is wrong"),
    ],
)
def test_a_reward_that_teaches_nothing_is_found(reward: Any, column: str | None, problem: str) -> None:
    [found] = of(reward, column=column).problems
    assert problem in found


def test_an_async_reward_is_awaited() -> None:
    async def reward(completions: Any, **kwargs: Any) -> list[float]:
        return [float(len(text)) for text in completions]

    assert not of(reward).problems


def test_rewards_are_equal_only_in_their_sum() -> None:
    plus, minus = (lambda completions, s=s, **_: [s * len(text) for text in completions] for s in (1, -1))
    found = rehearse({"plus": plus, "minus": minus}, SUMS)
    assert found.are_all_equal
    assert found.problems == ("every completion gets the same reward",)


def test_many_rewards_are_shown_in_ranges() -> None:
    samples = [(0, "word " * n) for n in range(100)]
    [reward] = of(partial(length_within, least_tokens=100, most_tokens=200), samples=samples).rewards
    assert len(reward.histogram) == rehearsal.BINS
    assert sum(count for _, count in reward.histogram) == of(format_matches, samples=samples).completions


def test_it_is_loaded_by_a_worker_without_ftagent() -> None:
    load = f"""
import importlib.util, sys
folder = {str(Path(rehearsal.__file__).parent)!r}
for name in ("rewards", "rewards.rehearsal"):
    path = folder + ("/__init__.py" if name == "rewards" else "/rehearsal.py")
    inside = [folder] if name == "rewards" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inside)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
reward = lambda completions, **_: [float(len(text)) for text in completions]
print(module.rehearse({{"length": reward}}, [{{"prompt": "a"}}]).problems)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", load], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("()\n", "")
