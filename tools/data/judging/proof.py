"""TRL's word on rows: the worker that lets its trainer prepare them and take one step. See `templates/prove.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...wording import one_line
from ...worker import Worker
from ..shaping.emitted import source_of
from ..shaping.mappings import MAPPINGS
from .lengths import BUCKETS, SHOWN_CUTS
from .rows import Rows

TIMEOUT_S = 3600.0
WORKER = "prove.py"


@dataclass(frozen=True, kw_only=True)
class TrlRefusal:
    """What TRL raised."""

    why: str
    row: int | None

    @property
    def missing(self) -> str:
        """Say it in words."""
        row = "" if self.row is None else f" row {self.row}"
        return f"TRL refuses{row}: {one_line(self.why, 300).rstrip('.')}"

    def way_out(self, log: object) -> str:
        """Say what to do about it."""
        if "chat_template is not set" in self.why:
            return (
                "take an instruction-tuned model, whose tokenizer has a chat template, or give the rows as plain text"
            )
        whole = f"the whole output is in {log}"
        return whole if self.row is None else f"mend or remove that row; {whole}"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What TRL's trainer did with the rows."""

    trainer: str
    """Its name and version."""
    loss_on: Any
    context: int | None
    """The most tokens that the model takes, where it says so."""
    left_out: dict[str, str]
    """Number of each row that TRL cannot prepare, and what it raised."""
    as_is: str | None
    """Why the rows with all their columns would not train as they do with the selected ones."""
    lengths: list[int]
    """Tokens of each row's longest sequence, ascending, of both sides."""
    at: dict[str, dict[str, int]]
    """Length to counts over the training rows: tokens, trained tokens, cut rows, rows that lose their whole answer."""
    counted: int
    """Training rows behind `at`: KTO makes two of one pair."""
    endless: int
    """Training rows with an answer that does not end with a token that stops the model."""
    step: dict[str, Any] | None
    warnings: list[str]
    examples: list[dict[str, Any]]

    def in_words(self) -> str:
        """Say in one sentence what was proven."""
        prepared = f"{self.trainer} prepared {len(self.lengths)} rows"
        if self.step is None:
            return f"{prepared}."
        start = f"the first {self.step['length']} tokens of " if self.step["length"] < self.lengths[-1] else ""
        return f"{prepared} and took one step on {start}{self.step['rows']} of them: loss {self.step['loss']:.3g}."


def give(worker: Worker, rows: Rows, *, model: str, method: str, show: int, stated: int | None) -> None:
    """Hand the rows to the worker, which has started already; `hear` waits for its answer."""
    folders: dict[str, str | None] = {"train": None, "heldout": None}
    for name, side in zip(folders, rows.sides, strict=True):
        if len(side.raw):  # `datasets` cannot load what it saves of an empty set
            folders[name] = str(worker.scratch / name)
            side.raw.save_to_disk(folders[name])
    shape = rows.shape
    mapping = shape.mapping if shape.mapping in MAPPINGS else None  # the worker selects the columns anyway
    worker.give(
        {
            **folders,
            "model": model,
            "method": method,
            "functions": source_of(mapping) if mapping else "",
            "mapping": mapping,
            "trainer_columns": shape.trainer_columns,
            "column_types": rows.column_types,
            "max_length": stated,
            "buckets": [*sorted({*BUCKETS, *SHOWN_CUTS, *([stated] if stated else [])})],
            "show": show,
        }
    )


def hear(worker: Worker) -> Proof | TrlRefusal:
    """Return what the worker says.

    Raises:
        ToolError: The worker itself failed.
    """
    answer = worker.answer()
    if refusal := answer.get("refusal"):
        return TrlRefusal(**refusal)
    return Proof(**{**answer, "lengths": sorted(answer["lengths"])})
