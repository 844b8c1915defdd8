"""Answers are scored as the person asked: word for word, by a pattern, by a reward, or by their own function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ftagent.tools.errors import InputError, ToolError
from ftagent.tools.evaluation.answers import find_metric, fitting_metric, measure_answers
from ftagent.tools.trained import find_checkpoint

from ..taught import Finish, Taught, addition, finish, steps_told, taught

__all__ = ["finish", "taught"]

OWN = """
def near(completions, reference, **columns):
    if len(completions) > 3:
        return [0.0]
    return [len(said[0]["content"]) / 10 for said in completions]
"""


@pytest.mark.parametrize(
    ("metric", "said", "reference", "score"),
    [
        ("exact_match", " 42 ", "42", 1),
        ("exact_match", "It is 42.", "42", 0),
        (r"regex:(\d+)", "First 7, then 42.", "42", 1),
        (r"regex:(\d+)", "It is 42.", "The answer is 42!", 1),
        (r"regex:\d+", "none", "42", 0),
        (r"regex:\d+", "none", "none", 0),
        ("exact_answer", "The answer is \\boxed{42}.", "42", 1),
    ],
)
def test_a_metric_scores_what_was_said(metric: str, said: str, reference: str, score: float, tmp_path: Path) -> None:
    function, _ = find_metric(metric, tmp_path)
    completion = [{"role": "assistant", "content": said}]
    assert function(prompts=["?"], completions=[completion], completion_ids=[], reference=[reference]) == [score]


@pytest.mark.parametrize(
    ("metric", "why"),
    [("rouge", "there is no metric `rouge`"), ("regex:(", "no regular expression"), ("a.py:f", "read")],
)
def test_a_metric_that_is_none_is_named(metric: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        find_metric(metric, tmp_path)


def test_a_persons_own_file_and_metric_are_used_and_hashed(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.adapter, [addition(n) for n in range(40, 44)])
    home = run.settings.workdir
    (home / "own.py").write_text(OWN, encoding="utf-8")
    rows = [{"question": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in (12, 13, 14)]
    (home / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    checkpoint = find_checkpoint(run)
    part = measure_answers(run, checkpoint, metric="own.py:near", file="mine.jsonl", reason="")
    (found,) = part.comparisons
    lines = [json.loads(line) for line in (run.folder / part.file).read_text("utf-8").splitlines()]
    assert [line["reference"] for line in lines] == ["24", "26", "28"]
    assert found.items == 3
    assert found.tuned == pytest.approx(sum(line["tuned_score"] for line in lines) / 3)
    assert "rows of mine.jsonl" in found.metric
    assert len(part.samples) == 3
    steps = steps_told(run)
    again = measure_answers(run, checkpoint, metric=r"regex:\d+", file="mine.jsonl", reason="")
    assert not steps  # another metric asks no model again
    assert again.comparisons[0].items == 3
    with pytest.raises(ToolError, match="gave 1 numbers for 4 rows"):
        measure_answers(run, checkpoint, metric="own.py:near", file=None, reason="")


def test_only_rows_with_short_answers_call_for_exact_match(finish: Finish, taught: Taught) -> None:
    assert fitting_metric(finish(taught.base, taught.adapter, [addition(n) for n in range(40, 44)])) is None
    short = [addition(n) | {"completion": [{"role": "assistant", "content": "80"}]} for n in range(40, 44)]
    found = fitting_metric(finish(taught.base, taught.adapter, short))
    assert found == ("exact_match", "4 of 4 held-out answers have at most 2 words")
