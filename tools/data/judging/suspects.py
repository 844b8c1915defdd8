"""Rows of Arrow batches that may hold an item of a benchmark: found without making Python objects of the others.

Words are told apart by their length and their first eight bytes, and runs of them by a hash, so that a row that shares
a run of 8 words with an item is always found, and a few others are. `contamination` has the last word on all of them.
A run that goes across two cells, such as from one turn to the next, is not looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..reading.formats import compute
from .checked import Checked, texts
from .contamination import (
    COMMENT,
    LONG,
    PROBE,
    SHORT,
    SPACED,
    STRIDE,
    TYPOGRAPHY,
    Index,
    Overlap,
    index_of,
)
from .counts import ROLE_KEYS
from .leaves import leaves

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.uint64]

TABLE_BITS = 20
"""A probe is looked up among so many bits first: 1 MiB stays in a core's cache."""
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd and without pattern (2^64 over the golden ratio), so that order counts
_WORD_BYTES = 8
_PADDING = b" " * _WORD_BYTES
_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)")
_COMMENT = re.compile(COMMENT.pattern.encode())
# Those of three bytes share their first two; a pattern that begins with plain bytes is searched five times as fast.
_MARKS = re.compile(b"\xe2\x80[" + b"".join(chr(mark).encode()[2:] for mark in TYPOGRAPHY) + b"]")
_NO_BREAK = "\u00a0".encode()


class Held:
    """Holds the rows of batches against the items of benchmarks.

    Args:
        benchmarks: Names of benchmarks whose items are at hand.
        columns: The columns that are looked at; None takes all.
    """

    def __init__(self, benchmarks: tuple[str, ...], columns: Sequence[str] | None) -> None:
        self.benchmarks, self.columns = benchmarks, columns
        self.index = index_of(benchmarks)
        self.suspects = Suspects(self.index) if benchmarks else None
        self.hits: dict[int, tuple[str, ...]] = {}

    def look(self, batch: Any, first: int) -> None:
        """Note the rows of a batch that hold items.

        Args:
            batch: An Arrow record batch.
            first: The number of its first row.
        """
        if self.suspects is None:
            return
        names = batch.schema.names
        shown = batch.select(
            [place for place, name in enumerate(names) if self.columns is None or name in self.columns]
        )
        for place in self.suspects.rows(shown):
            (row,) = shown.slice(place, 1).to_pylist()
            if items := self.index.items_in(Checked(number=first + place, columns={"": [*_unfolded(row.values())]})):
                self.hits[first + place] = tuple(items)

    def overlap(self) -> Overlap:
        """Return what was found."""
        return Overlap(benchmarks=self.benchmarks, hits=self.hits, unknown=())


class Suspects:
    """The runs of words of an index, as numbers.

    Args:
        index: The items.
    """

    def __init__(self, index: Index) -> None:
        import numpy as np

        runs = set(index.short)
        for run in index.long:
            words = run.split()
            runs.update(b" ".join(words[start : start + SHORT]) for start in range(LONG - SHORT + 1))
        words = _Words(b" ".join(sorted(runs))).numbers.reshape(-1, SHORT)
        self.runs = np.unique(_combined([*words.T]))
        probes = [_combined([*words[:, start : start + PROBE].T]) for start in range(STRIDE)]
        self.probes = np.unique(np.concatenate(probes))
        self.table = np.zeros(2**TABLE_BITS, bool)
        self.table[_slots(self.probes)] = True

    def rows(self, batch: Any) -> list[int]:
        """Return the places of the suspects in a batch, in ascending order."""
        import numpy as np

        bounds = np.arange(batch.num_rows + 1)
        found = [
            np.searchsorted(leaf.bounds, self._values(leaf.values), side="right") - 1
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
            for leaf in leaves(column, name, bounds)
            if leaf.is_text and not leaf.path.endswith(tuple(f".{key}" for key in ROLE_KEYS))
        ]
        return np.unique(np.concatenate(found)).tolist() if found else []

    def _values(self, values: Any) -> Any:
        """Return the places of strings that share a run of words with an item."""
        import numpy as np

        return np.concatenate([places[self._hits(text, starts)] for text, places, starts in _readings(values)])

    def _hits(self, text: bytes, starts: Any) -> Any:
        """Return which of the strings in a text, which start at these bytes, share a run of words with an item."""
        import numpy as np

        words = _Words(text)
        probes = _combined([words.numbers[place::STRIDE] for place in range(PROBE)])
        likely = np.flatnonzero(self.table[_slots(probes)])
        likely = likely[_among(probes[likely], self.probes)] * STRIDE
        first = np.unique(likely[:, None] - np.arange(STRIDE))
        first = first[(first >= 0) & (first <= len(words.numbers) - SHORT)]
        runs = _combined([words.numbers[first + place] for place in range(SHORT)])
        first = first[_among(runs, self.runs)]
        return np.unique(np.searchsorted(starts, words.starts[first], side="right") - 1)


class _Words:
    """The words of a text, in order: where each one starts, and a number for what it says."""

    def __init__(self, text: bytes) -> None:
        import numpy as np

        spaced = b"".join((_PADDING, text.translate(SPACED), _PADDING))
        inside = np.frombuffer(spaced, np.uint8) != ord(" ")
        edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
        starts, lengths = edges[::2], edges[1::2] - edges[::2]
        beginnings = np.ndarray((len(spaced) - _WORD_BYTES + 1,), "<u8", spaced, strides=(1,))[starts]
        kept = np.array([2 ** (8 * size) - 1 for size in range(_WORD_BYTES + 1)], np.uint64)
        beginnings &= kept[np.minimum(lengths, _WORD_BYTES)]
        self.starts = starts - len(_PADDING)
        self.numbers = beginnings * np.uint64(_MULTIPLIER) + lengths.astype(np.uint64)


def _combined(words: Sequence[Numbers]) -> Numbers:
    """Return a number for each run of words: the first array has the first words of all runs, and so on."""
    import numpy as np

    runs = np.zeros(min(map(len, words)), np.uint64)
    for word in words:
        runs = (runs ^ word[: len(runs)]) * np.uint64(_MULTIPLIER)
        runs ^= runs >> np.uint64(32)
    return runs


def _slots(runs: Numbers) -> Numbers:
    import numpy as np

    return runs >> np.uint64(64 - TABLE_BITS)


def _among(runs: Numbers, known: Numbers) -> NDArray[np.bool_]:
    """Return which of the numbers are known; `known` is in ascending order."""
    import numpy as np

    return known[np.minimum(np.searchsorted(known, runs), len(known) - 1)] == runs


def _unfolded(cells: Iterable[object]) -> Iterator[object]:
    """Yield cells, and what those that are JSON texts hold."""
    for cell in cells:
        yield cell
        for text in texts(cell):
            if text.lstrip()[:1] in ("[", "{"):
                try:
                    yield json.loads(text)
                except (ValueError, RecursionError):
                    continue  # a text that only begins like one


# --- readings ---------------------------------------------------------------------------------------------------------


def _readings(values: Any) -> Iterator[tuple[bytes, Any, Any]]:
    """Yield strings as one text: as they are, without comments, and as what they hold where they are JSON.

    Each text comes with the places of its strings among the values, and the bytes at which they start in it.
    """
    pc = compute()
    plain = _joined(values, None)
    yield plain
    if b"#" in plain[0]:
        text, places, starts = _joined(values, pc.match_substring(values, "#"))
        yield _without_comments(text), places, starts
    if b"\\" in plain[0]:
        is_json = pc.and_(pc.match_substring_regex(values, r"^\s*[\[{]"), pc.match_substring(values, "\\"))
        text, places, starts = _joined(values, is_json)
        text = _ESCAPE.sub(_unescaped, text)
        yield text, places, starts
        yield _without_comments(text), places, starts


def _joined(values: Any, chosen: Any) -> tuple[bytes, Any, Any]:
    """Join strings, all or the chosen ones, with line breaks."""
    import numpy as np
    import pyarrow as pa

    pc = compute()
    places = np.arange(len(values)) if chosen is None else np.flatnonzero(pc.fill_null(chosen, False))
    values = pc.fill_null(values if chosen is None else values.take(pa.array(places)), "")
    whole = pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)
    text = pc.binary_join(whole, pa.scalar("\n", pa.large_string()))[0].as_buffer().to_pybytes()
    ends = np.cumsum(pc.binary_length(values).to_numpy(zero_copy_only=False) + 1)
    return _without_marks(text), places, np.concatenate([[0], ends])[: len(values)]


def _without_marks(text: bytes) -> bytes:
    """Replace marks that are not ASCII with as many spaces as they have bytes."""
    return text if text.isascii() else _MARKS.sub(b"   ", text.replace(_NO_BREAK, b"  "))


def _without_comments(text: bytes) -> bytes:
    return _COMMENT.sub(lambda comment: b" " * len(comment[0]), text)


def _unescaped(escape: re.Match[bytes]) -> bytes:
    """Return as many bytes: the end of a line where it stands for one, since a comment ends there, and else spaces."""
    return b" \n" if escape[0] == b"\\n" else b" " * len(escape[0])
