"""How long rows are in tokens, where they should be cut, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...facts import Cut, Lengths

# Lengths that `max_length` is chosen from: powers of two and the steps halfway between them.
BUCKETS = tuple(sorted(base << shift for base in (128, 192) for shift in range(11)))
SHOWN_CUTS = tuple(1024 << shift for shift in range(8))
"""Lengths whose cost is shown, as far as rows reach: 1k, 2k, 4k, …, 128k."""
BARS = 24
"""Bars of the histogram."""


def choose_max_length(lengths: Sequence[int], context: int | None) -> int:
    """Return the shortest bucket that holds every row, up to the model's context.

    Outliers are cut: the longest hundredth of the rows, at least one, where they are more than twice as long as all
    others. The longest length sets the memory of the whole training.

    Args:
        lengths: Tokens of each row, in ascending order; one at least.
        context: The most tokens that the model takes, where it says so.
    """
    others = lengths[-min(len(lengths), 1 + max(1, len(lengths) // 100))]
    wanted = lengths[-1] if lengths[-1] <= 2 * others else others
    bucket = next((bucket for bucket in BUCKETS if bucket >= wanted), BUCKETS[-1])
    return min(bucket, context or bucket)


def percentile(ascending: Sequence[int], percent: int) -> int:
    """Return the smallest of the values that at least `percent` of 100 values do not exceed."""
    return ascending[math.ceil(percent * len(ascending) / 100) - 1]


def percentiles(ascending: Sequence[int]) -> Lengths:
    """Return the lengths that half, 95, 99 and all of 100 rows do not exceed."""
    p50, p95, p99 = (percentile(ascending, percent) for percent in (50, 95, 99))
    return Lengths(p50=p50, p95=p95, p99=p99, max=ascending[-1])


def cuts(counts: Mapping[str, Mapping[str, int]], rows: int, chosen: int, longest: int) -> tuple[Cut, ...]:
    """Return what each length costs, up to the first that cuts nothing, and the chosen one.

    Args:
        counts: Cut and lost rows by length, as the proof counted them.
        rows: Training rows that were counted.
        chosen: The `max_length`.
        longest: Tokens of the longest row.
    """
    reached = [length for length in SHOWN_CUTS if length < 2 * longest]
    return tuple(
        Cut(length=length, share=at["cut"] / rows, lost=at["lost"] / rows)
        for length in sorted({*reached, chosen})
        for at in [counts[str(length)]]
    )


def histogram(ascending: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the rows in stretches of equal length: the longest length of each stretch, and its rows."""
    width = max(1, math.ceil(ascending[-1] / BARS))
    bars = [0] * math.ceil(ascending[-1] / width)
    for length in ascending:
        bars[(max(length, 1) - 1) // width] += 1
    return tuple((width * (place + 1), count) for place, count in enumerate(bars))
