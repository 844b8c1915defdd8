"""Held-out rows are parted where a model would begin to answer, and a few are chosen that stand for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.errors import ToolError
from ftagent.tools.trained import HeldoutRow, heldout_rows, spread

from .taught import Finish, finish

__all__ = ["finish"]

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "What is 4 plus 4?"}
ASSISTANT = {"role": "assistant", "content": "8"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder, as far as rows are concerned."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("row", "prompt", "reference", "question"),
    [
        ({"messages": [SYSTEM, USER, ASSISTANT]}, [SYSTEM, USER], "8", "What is 4 plus 4?"),
        ({"messages": [USER, ASSISTANT, USER, ASSISTANT]}, [USER, ASSISTANT, USER], "8", "What is 4 plus 4?"),
        ({"prompt": [USER], "completion": [ASSISTANT]}, [USER], "8", "What is 4 plus 4?"),
        ({"prompt": "4 + 4 =", "completion": " 8"}, "4 + 4 =", " 8", "4 + 4 ="),
        ({"text": "one two three four"}, "one two", "three four", "one two"),
        ({"text": "one"}, "one", "", "one"),
    ],
)
def test_a_row_is_parted_before_its_last_answer(
    row: dict[str, Any], prompt: Any, reference: str, question: str, finish: Finish, model: Path
) -> None:
    (found,) = heldout_rows(finish(model, model, [row]))
    assert (found.prompt, found.reference, found.question) == (prompt, reference, question)


def test_rows_without_an_answer_are_named(finish: Finish, model: Path) -> None:
    with pytest.raises(ToolError, match=r"row 1 of heldout\.jsonl has the columns chosen, rejected"):
        heldout_rows(finish(model, model, [{"text": "one two"}, {"chosen": [], "rejected": []}]))


def test_line_separators_inside_a_text_do_not_part_its_line(finish: Finish, model: Path) -> None:
    run = finish(model, model, [])
    text = "one\u2028two\x85three four"
    (run.folder / "heldout.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    with pytest.raises(ToolError, match="was changed"):
        heldout_rows(run)
    run = run.record(run.report.model_copy(update={"result": {}})) if run.report else run
    assert [f"{row.prompt} {row.reference}" for row in heldout_rows(run)] == [text]


def test_the_same_few_rows_from_all_over_are_chosen_and_no_long_one() -> None:
    rows = [HeldoutRow(number=n, prompt="x" * (1000 if n % 2 else 10), reference="") for n in range(60)]
    assert [row.number for row in spread(rows, 3)] == [0, 20, 40]
    assert [row.number for row in spread(rows[:2], 3)] == [0, 1]
    assert spread([], 3) == []
