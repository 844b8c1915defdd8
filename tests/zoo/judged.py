"""What ftagent says about a set of the zoo."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ftagent.tools.data.shaping.filters import FILTERS
from ftagent.tools.data.shaping.shapes import Refusal, Shape, recognise

from .content import Row
from .zoo_set import Method, Verdict, ZooSet


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict, and what it rests on."""

    verdict: Verdict
    why: str
    """What is done to the rows, or what they lack."""
    shape: Shape | None = None
    """How the recogniser maps the rows; None where it refuses them."""


Judge = Callable[[ZooSet, Method], Judgement]


def verdict_of(zoo_set: ZooSet, method: Method) -> Verdict:
    """Return ftagent's verdict on a set."""
    return judged(zoo_set, method).verdict


def judged(zoo_set: ZooSet, method: Method) -> Judgement:
    """Recognise a set, and call it `ready` only if TRL is given the very rows and columns that lie in the file."""
    columns, rows = rows_of(zoo_set.name, zoo_set.lines)
    shape = recognise(columns, rows, method)
    if isinstance(shape, Refusal):
        return Judgement(verdict="refused", why=f"{shape.missing} ({shape.nearest})")
    why_not = FILTERS[shape.filter]
    reasons = [reason for row in rows if (reason := why_not(row))]
    if len(reasons) == len(rows):
        return Judgement(verdict="refused", why=reasons[0])
    why = ", ".join(filter(None, (shape.mapping, f"{len(reasons)} rows left out" if reasons else "")))
    return Judgement(verdict="mapped" if why else "ready", shape=shape, why=why)


@cache
def rows_of(name: str, lines: str) -> tuple[list[str], list[Row]]:
    """Return columns and rows as `datasets` reads them; none where it cannot."""
    import datasets
    from datasets.exceptions import DatasetGenerationError

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name}.jsonl")
        file.write_text(lines, encoding="utf-8")
        try:
            rows: Any = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=folder)
        except (DatasetGenerationError, ValueError, StopIteration):  # the last for a file without a row
            return [], []
        return rows.column_names, list(rows)
