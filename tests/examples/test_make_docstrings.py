"""What the demo's data promises: two sides that share nothing, and plain, short, honest rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "make_docstrings.py"

# What SmolLM2's chat template adds to a question and an answer.
AROUND = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
)


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "docstrings.jsonl"
    subprocess.run([sys.executable, SCRIPT, "--out", out], check=True)
    return out


@pytest.fixture(params=["made", "committed"])
def rows(request: pytest.FixtureRequest, made: Path) -> list[dict[str, Any]]:
    return read(made if request.param == "made" else EXAMPLES / "docstrings.jsonl")


def test_the_same_python_makes_the_same_bytes(made: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    subprocess.run([sys.executable, SCRIPT, "--out", again], check=True, env={"PYTHONHASHSEED": "7"})
    assert again.read_bytes() == made.read_bytes()


def test_there_are_180_rows_to_train_on_and_60_held_out(rows: list[dict[str, Any]]) -> None:
    assert [row["split"] for row in rows] == ["train"] * 180 + ["test"] * 60


def test_no_module_no_function_and_no_answer_is_on_both_sides(rows: list[dict[str, Any]]) -> None:
    train, test = ([row for row in rows if row["split"] == side] for side in ("train", "test"))
    for key in (_module, _question, _answer):
        assert not {key(row) for row in train} & {key(row) for row in test}
    assert len({_question(row) for row in rows}) == len({_answer(row) for row in rows}) == len(rows)


def test_a_question_shows_code_that_does_not_hold_its_answer(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        instruction, code = _question(row).split("\n\n", 1)
        assert instruction == "Summarise this Python function in one sentence."
        assert "def " in code and '"""' not in code
        assert _answer(row) not in code


def test_every_answer_is_one_line_of_plain_words(rows: list[dict[str, Any]]) -> None:
    for answer in map(_answer, rows):
        assert answer.isascii() and answer.endswith(".") and "\n" not in answer and ">>>" not in answer


def test_an_epoch_is_short_enough_for_a_cpu(smollm2: Path) -> None:
    """A CPU trains about 150 tokens a second, and the demo has three minutes for it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(smollm2 / "tokenizer.json"))
    template = len(tokenizer.encode(AROUND).tokens)
    lengths = {"train": [], "test": []}
    for row in read(EXAMPLES / "docstrings.jsonl"):
        text = _question(row) + _answer(row)
        lengths[row["split"]].append(template + len(tokenizer.encode(text).tokens))
    assert max(lengths["train"] + lengths["test"]) <= 200
    assert 15_000 <= sum(lengths["train"]) <= 22_000


def _question(row: dict[str, Any]) -> str:
    assert row["messages"][0]["role"] == "user"
    return row["messages"][0]["content"]


def _answer(row: dict[str, Any]) -> str:
    assert row["messages"][1]["role"] == "assistant"
    return row["messages"][1]["content"]


def _module(row: dict[str, Any]) -> str:
    """Return the dotted names before the function's own, but for classes, which begin with a capital."""
    parts = row["source"].split(".")[:-1]
    return ".".join(part for part in parts if part[0].islower())
