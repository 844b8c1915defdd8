"""Both sides of a dataset, as far as they were read, and the rows that the training script leaves out by number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from ..shaping.shapes import Shape
from .contamination import Overlap
from .scan import Scan
from .side import Side, column_types, repeated


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What was read, and how it becomes what the trainer takes."""

    shape: Shape
    train: Side
    heldout: Side
    overlap: Overlap
    """Rows that a benchmark would ask for; neither side holds them."""
    exact: bool
    """Whether rows go by the numbers that they have in the dataset; else these are estimates."""
    left_out: tuple[int, ...] = ()
    """Numbers of the rows that the script leaves out although their filter lets them through."""

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both sides."""
        return self.train, self.heldout

    @property
    def are_whole(self) -> bool:
        """Whether every row was read."""
        return not any(side.unread for side in self.sides)

    @cached_property
    def column_types(self) -> dict[str, str]:
        """What each of the trainer's columns holds once it is mapped; see `side.column_types`."""
        return column_types(self.sides, self.shape.trainer_columns)

    @cached_property
    def repeated(self) -> list[int]:
        """Numbers of the rows that were there before, word for word."""
        return repeated(*self.sides)

    def kept(self, unprepared: Iterable[int], scanned: Scan | None, *, is_one_split: bool) -> Rows:
        """Return the rows that the script will keep.

        Rows that nobody has read are taken off the training side, whichever side they will be on: the other one is at
        most 200 rows of a large set.

        Args:
            unprepared: Numbers of those that TRL cannot prepare.
            scanned: What reading every row has shown, where that was done.
            is_one_split: Whether both sides come from one split, so that the scan has counted their rows.
        """
        unprepared = set(unprepared)
        train, heldout = (side.without(unprepared) for side in self.sides)
        if scanned is None:
            left_out = sorted({*unprepared, *self.overlap.hits}) if self.exact else []
            return replace(self, train=train, heldout=heldout, left_out=tuple(left_out))
        hits = dict(sorted({**(self.overlap.hits if self.exact else {}), **scanned.overlap.hits}.items()))
        if self.exact or not is_one_split:
            total = train.total - len(hits.keys() - self.overlap.hits.keys() - train.numbers - heldout.numbers)
        else:
            total = scanned.rows - heldout.total - len(hits)
        return replace(
            self,
            train=replace(train, total=total),
            heldout=heldout,
            overlap=replace(self.overlap, hits=hits),
            left_out=tuple(sorted({*(unprepared if self.exact else ()), *hits})),
        )
