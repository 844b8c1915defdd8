"""A small set of general questions beside the goal: what a training may have made the model forget.

Forty questions with one short answer each, on facts, arithmetic, words, code and conduct, written for this purpose and
in no benchmark. What counts is the loss of the right answer, which costs no generation and shows a loss of knowledge
long before greedy answers change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..facts import Sample
from ..merging import chat_template
from ..run import Run
from ..statistics import compare
from ..templates.lines import iterate_lines
from ..trained import Checkpoint
from .part import FOLDER, Part, with_file, write_items

GENERAL = "general"
MAX_LENGTH = 512


def _questions() -> list[dict[str, str]]:
    return list(iterate_lines(Path(str(files("ftagent.tools.evaluation") / "general.jsonl"))))


def general_rows(run: Run, checkpoint: Checkpoint) -> dict[str, Any]:
    """Write the questions as the checkpoint's tokenizer takes them, and return the set for `heldout.py`."""
    is_chat = chat_template(checkpoint.folder) is not None
    rows = [_row(question["question"], question["answer"], is_chat) for question in _questions()]
    file = run.folder / FOLDER / "general_rows.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"rows": str(file), "loss_on": "completion", "max_length": MAX_LENGTH}


def _row(question: str, answer: str, is_chat: bool) -> dict[str, Any]:
    if not is_chat:
        return {"prompt": f"Question: {question}\nAnswer:", "completion": f" {answer}"}
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def compare_general(run: Run, items: Sequence[Mapping[str, Any]], samples: tuple[Sample, ...] = ()) -> Part:
    """Return whether the tuned model has lost, or gained, on general questions."""
    file = write_items(run, "general", items)
    losses = [[item[f"{name}_loss"] for item in items] for name in ("base", "tuned")]
    found = compare("loss of right answers to general questions", *losses, higher_is_better=False)
    return Part(
        comparisons=with_file([found], file),
        harness=f"{len(items)} general questions (sha256 `{_fingerprint()[:12]}`)",
        file=file,
        samples=samples,
    )


def _fingerprint() -> str:
    return hashlib.sha256(json.dumps(_questions()).encode()).hexdigest()
