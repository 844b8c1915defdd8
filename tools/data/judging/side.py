"""One side of a dataset, trained on or held out: its rows as the training script will filter and map them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..reading.sources import NUMBER
from ..shaping.filters import FILTERS
from ..shaping.mappings import MAPPINGS, Row
from ..shaping.shapes import Shape

TRIED_ROWS = 16
"""Rows that are mapped once more to see which columns matter."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """The rows of one side that were read. Row numbers count from 0 in the dataset as the script loads it."""

    raw: Any
    """A `datasets.Dataset` of the usable rows, each with its number in the column `NUMBER`."""
    mapped: dict[int, Row]
    """Number to row as the trainer sees it, of each usable row."""
    keys: dict[int, bytes]
    """Number to hash of the mapped row."""
    unusable: dict[str, list[int]]
    """Reason to row numbers."""
    total: int
    """All rows of this side, read or not."""

    @property
    def read(self) -> int:
        """Rows that were read, usable or not."""
        return len(self.keys) + sum(map(len, self.unusable.values()))

    @property
    def numbers(self) -> set[int]:
        """Numbers of the rows that were read, usable or not."""
        return {*self.keys, *itertools.chain.from_iterable(self.unusable.values())}

    @property
    def unread(self) -> int:
        """Rows that nobody has read."""
        return self.total - self.read

    @property
    def rows(self) -> int:
        """All rows but those that are known to be unusable."""
        return len(self.keys) + self.unread

    @property
    def scale(self) -> float:
        """All rows over those that were read."""
        return self.total / self.read if self.read else 1.0

    def without(self, numbers: Iterable[int]) -> Side:
        """Return this side with fewer usable rows."""
        gone = set(numbers) & self.keys.keys()
        if not gone:
            return self
        kept = [place for place, number in enumerate(self.raw[NUMBER]) if number not in gone]
        return Side(
            raw=self.raw.select(kept),
            mapped={number: row for number, row in self.mapped.items() if number not in gone},
            keys={number: key for number, key in self.keys.items() if number not in gone},
            unusable=self.unusable,
            total=self.total - len(gone),
        )


def read_side(rows: Any, total: int, shape: Shape) -> Side:
    """Filter and map the rows of one side.

    Args:
        rows: A `datasets.Dataset` with the column `NUMBER`.
        total: All rows of this side, read or not.
        shape: How they become what the trainer takes.
    """
    why_not = FILTERS[shape.filter]
    mapping = MAPPINGS.get(shape.mapping or "", lambda row: {column: row[column] for column in shape.trainer_columns})
    mapped: dict[int, Row] = {}
    unusable: dict[str, list[int]] = defaultdict(list)
    usable: list[int] = []
    for place, row in enumerate(rows):
        number = row.pop(NUMBER)
        if reason := why_not(row):
            unusable[reason].append(number)
        else:
            usable.append(place)
            mapped[number] = mapping(row)
    keys = {number: row_key(row) for number, row in mapped.items()}
    return Side(raw=rows.select(usable), mapped=mapped, keys=keys, unusable=dict(unusable), total=total)


def columns_read(side: Side, shape: Shape) -> tuple[str, ...]:
    """Return the columns of the dataset that the rows are made from, by the first rows: those that their mapping asks
    for, and those without which it makes something else."""
    mapping = MAPPINGS.get(shape.mapping or "")
    if mapping is None:
        return shape.trainer_columns
    found: set[str] = set()
    for row in side.raw.remove_columns(NUMBER).select(range(min(TRIED_ROWS, len(side.raw)))):
        watched = _Watched(row)
        made = mapping(watched)
        found |= watched.read | {
            name for name in row if name not in watched.read and _matters(mapping, row, name, made)
        }
    return tuple(sorted(found & set(side.raw.column_names)))


def _matters(mapping: Callable[[Row], Row], row: Row, name: str, made: Row) -> bool:
    try:
        return mapping({**row, name: None}) != made
    except (AttributeError, LookupError, TypeError, ValueError):  # it needs what stood there
        return True


class _Watched(dict[str, Any]):
    """A row that notes which of its columns are read."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


def column_types(sides: Iterable[Side], columns: Iterable[str]) -> dict[str, str]:
    """Return what each column holds once it is mapped: `turns`, `text`, `flag`, `json`, or `same`.

    Args:
        sides: The rows.
        columns: What the trainer sees.
    """
    every = [side for side in sides if side.mapped]
    return {name: _column_type(name, every) for name in columns}


def _column_type(name: str, sides: Sequence[Side]) -> str:
    values = [row[name] for side in sides for row in side.mapped.values() if row[name] is not None]
    if values and all(isinstance(value, list) and _are_turns(value) for value in values):
        return "turns"
    if all(name in side.raw.column_names and list(_column(side, name)) == side.raw[name][:] for side in sides):
        return "same"
    if all(isinstance(value, bool) for value in values):
        return "flag"
    return "text" if all(isinstance(value, str) for value in values) else "json"


def _column(side: Side, name: str) -> Iterable[Any]:
    return (row[name] for row in side.mapped.values())


def _are_turns(items: Sequence[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict) and "role" in item for item in items)


def row_key(row: Row) -> bytes:
    """Return a hash of everything in a row."""
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).digest()


def repeated(*sides: Side) -> list[int]:
    """Return the numbers of the rows that were there before, word for word."""
    seen: set[bytes] = set()
    rows = [item for side in sides for item in side.keys.items()]
    return sorted(number for number, key in rows if key in seen or seen.add(key))


def leaked(train: Side, heldout: Side) -> list[int]:
    """Return the numbers of the held-out rows that are trained on too."""
    trained = set(train.keys.values())
    return sorted(number for number, key in heldout.keys.items() if key in trained)


def unusable(*sides: Side) -> dict[str, list[int]]:
    """Return why rows of these sides cannot be trained on: reason to row numbers."""
    reasons: dict[str, list[int]] = defaultdict(list)
    for side in sides:
        for reason, numbers in side.unusable.items():
            reasons[reason] += numbers
    return {reason: sorted(numbers) for reason, numbers in reasons.items()}
