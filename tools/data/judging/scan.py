"""The full scan: every row of every file is counted, in memory that does not grow with the number of rows."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...wording import one_line
from ..reading.batches import read_batches
from ..reading.formats import is_remote, shown
from ..reading.local import refuse_if_changed, stamp_of
from .contamination import Overlap, at_hand
from .counts import Counts
from .repeats import Hashes
from .suspects import Held


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What every row of a dataset adds up to. Paths name a column or a field in it, such as `messages.content`."""

    rows: int
    nulls: dict[str, int]
    """Path to its nulls, where there are any; a column that a file lacks is null in all of its rows."""
    empties: dict[str, int]
    """Path to its blank strings and empty lists, where there are any."""
    roles: dict[str, int]
    """What stands under `role` or `from` in the turns of chats, the most frequent first."""
    characters: int
    """Of all strings, roles included."""
    longest_row: int | None
    """Number of the row with the most characters, counted from 0; None where there are no rows."""
    longest_row_characters: int
    duplicates: int
    """Rows that were there before. Two rows count as equal when their 128-bit hashes are: of a billion different rows,
    some two are with a probability of 1.5e-21 (n²/2¹²⁹)."""
    first_duplicates: tuple[int, ...]
    mixed: dict[str, tuple[str, ...]]
    """Path in JSON rows to what stands there, where it is now this, now that."""
    late: dict[str, int]
    """Path that JSON rows have from about this row on only, too late for `datasets` to know it."""
    overlap: Overlap
    """Rows that a benchmark would ask for, among all rows."""
    files: int
    seconds: float


def scan(
    files: Sequence[str],
    format: str,
    *,
    columns: Sequence[str] | None = None,
    benchmarks: Sequence[str] = (),
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Scan:
    """Read every row of the files.

    Args:
        files: Local paths or `hf://` addresses.
        format: `parquet`, `arrow`, `json` (lines, or one list), `csv` or `text`.
        columns: Rows that are equal in these count as duplicates, and these are held against benchmarks; None takes
            all columns.
        benchmarks: Benchmarks that rows are held against, as far as their items are at hand.
        on_progress: Called with the rows so far and, where it is known beforehand, their total.

    Raises:
        InputError: A file cannot be read to its end, changes meanwhile, or does not fit the files before it.
        UserError: The hashes find no room in the temporary folder.
    """
    began = time.monotonic()
    total = _total(files, format)
    held = Held(at_hand(benchmarks), columns)
    with Hashes() as hashes, ThreadPoolExecutor(1) as beside:
        counts = Counts(hashes=hashes, columns=columns, unify=format != "json")
        for file in files:
            for batch in _ahead(_checked(file, format, counts)):
                looked = beside.submit(held.look, batch, counts.rows)
                counts.add(batch, file)
                looked.result()
                if on_progress:
                    on_progress(counts.rows, total)
        counts.require(columns)
        duplicates, first = hashes.duplicates()
    return Scan(
        rows=counts.rows,
        nulls=dict(counts.all_nulls()),
        empties=dict(+counts.empties),
        roles=dict(counts.roles.most_common()),
        characters=counts.characters,
        longest_row=counts.longest[1],
        longest_row_characters=counts.longest[0],
        duplicates=duplicates,
        first_duplicates=first,
        mixed=counts.mixed(),
        late=counts.late,
        overlap=held.overlap(),
        files=len(files),
        seconds=round(time.monotonic() - began, 2),
    )


def _total(files: Sequence[str], format: str) -> int | None:
    """Return the rows that local parquet files say they have."""
    if format != "parquet" or any(map(is_remote, files)):
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return sum(pq.read_metadata(file).num_rows for file in files)
    except (pa.ArrowException, OSError):
        return None  # reading says why


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield batches while the next one is being read."""
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = reader.submit(next, batches, None)
            yield batch


def _checked(file: str, format: str, counts: Counts) -> Iterator[Any]:
    """Yield the batches of one file, and put what goes wrong in words."""
    import pyarrow as pa

    before = None
    try:
        before = None if is_remote(file) else stamp_of(Path(file))
        yield from read_batches(file, format)
        _refuse_if_changed(file, before)
    except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error) as error:
        with suppress(OSError):  # it may be gone
            _refuse_if_changed(file, before)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(
            f"`{shown(file)}` cannot be read to its end: {one_line(reason or type(error).__name__, 200).rstrip('.')}.",
            hint=f"{counts.rows} rows were read before; check what wrote the file",
        ) from error


def _refuse_if_changed(file: str, before: tuple[int, int] | None) -> None:
    if before:
        refuse_if_changed(Path(file), before)
