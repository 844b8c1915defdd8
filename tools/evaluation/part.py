"""A part of an evaluation: comparisons, and the files that they stand on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..facts import Comparison, Sample
from ..run import Run

FOLDER = "eval"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one harness found."""

    comparisons: tuple[Comparison, ...]
    harness: str
    """What was measured, with what, in one sentence."""
    file: str
    """The result of every item, relative to the run folder."""
    samples: tuple[Sample, ...] = ()
    caveats: tuple[str, ...] = ()


def write_items(run: Run, name: str, items: Iterable[Mapping[str, Any]]) -> str:
    """Write one line for each item, and return the file's path relative to the run folder.

    A number that is not finite becomes null, which JSON has.
    """
    path = f"{FOLDER}/{name}_items.jsonl"
    file = run.folder / path
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(_plain(item)) + "\n" for item in items), encoding="utf-8")
    return path


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in item.items()}


def with_file(comparisons: Iterable[Comparison], file: str) -> tuple[Comparison, ...]:
    """Return comparisons that name the file they stand on."""
    return tuple(comparison.model_copy(update={"file": file}) for comparison in comparisons)
