"""Data files as Arrow batches of a bounded size, in order; rows over the limit are refused with their number.

What is held of a file is what its writer put in one piece: a page of each Parquet column, packed and unpacked, or one
record batch of an Arrow file and the next one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...wording import one_line
from .formats import (
    MAX_ROW_BYTES,
    READ_AHEAD_BYTES,
    is_remote,
    open_raw,
    open_text,
    refuse_wide,
    shown,
)
from .json_lines import JsonLines
from .lines import csv_rows, decoded, json_items, lines_of, too_large
from .messages import MAGIC, refuse_large_batches
from .pages import refuse_large_pages
from .sizes import written_bytes

BATCH_BYTES = 8 * 2**20
BATCH_ROWS = 1_024
"""The most rows of a Parquet file that are decoded at once; smaller batches are joined up to about as many."""
EXPANDED_BYTES = 128 * 2**20
"""A Parquet batch may not become larger, however often it repeats the entries of its dictionaries."""
LINE_BYTES = 150
"""What Python takes for a numbered line beside its text."""
CHUNK_LINES = 8_192
"""The most lines parsed at once: in Arrow, each takes room for every field that any of them has."""
COLUMNAR = ("parquet", "arrow")
"""Formats whose rows are measured in memory; lines and items of text are measured as they are read."""


def read_batches(file: str, format: str) -> Iterator[Any]:
    """Yield every row of a file, checked, in batches of about `BATCH_BYTES`.

    Args:
        file: A local path or an `hf://` address.
        format: `parquet`, `arrow`, `json` (lines, or one list), `csv` or `text`.

    Raises:
        InputError: A line is malformed, a value is damaged, a row is too large, or there are too many columns.
        OSError, EOFError, ValueError, zlib.error: The file cannot be read (pyarrow's own errors are among these).
    """
    number = 0
    for batch in READERS[format](file):
        refuse_wide(batch.schema.names)
        _refuse_damaged(batch, file, number)
        for part in _cut(batch):
            if format in COLUMNAR and part.num_rows == 1 and written_bytes(part) > MAX_ROW_BYTES:
                raise too_large(shown(file), f"row {number}")
            yield part
            number += part.num_rows


def _refuse_damaged(batch: Any, file: str, first: int) -> None:
    import pyarrow as pa

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"column `{one_line(name)}` of `{shown(file)}` is damaged in one of the rows"
                f" {first} to {first + batch.num_rows - 1}: {one_line(str(error), 120)}.",
                hint="check what wrote the file",
            ) from error


def _cut(batch: Any) -> Iterator[Any]:
    """Halve a batch until its parts are small, as they will be once their dictionaries are written out."""
    if batch.num_rows <= 1 or written_bytes(batch) <= BATCH_BYTES:
        yield batch
    else:
        half = batch.num_rows // 2
        yield from _cut(batch.slice(0, half))
        yield from _cut(batch.slice(half))


# --- Parquet and Arrow ------------------------------------------------------------------------------------------------


@contextmanager
def _open(file: str) -> Iterator[Any]:
    """Open a file for pyarrow: a local one without Python's streams, which would hold all that is read once more."""
    import pyarrow as pa

    if is_remote(file):
        with open_raw(file) as stream:
            yield stream
    else:
        with pa.OSFile(file) as stream:
            yield stream


def _parquet(file: str) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with _open(file) as stream, pq.ParquetFile(stream, buffer_size=READ_AHEAD_BYTES, pre_buffer=False) as parquet:
        refuse_wide(parquet.schema.names)
        for number in range(parquet.num_row_groups):
            group = parquet.metadata.row_group(number)
            refuse_large_pages(file, stream, number, group)
            rows = _batch_rows(group)
            yield from _joined(parquet.iter_batches(rows, row_groups=[number]))


def _joined(batches: Iterable[Any]) -> Iterator[Any]:
    """Join small batches: each one costs the same, however few rows it has."""
    import pyarrow as pa

    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= BATCH_ROWS or sum(map(written_bytes, held)) >= BATCH_BYTES:
            yield pa.concat_batches(held) if len(held) > 1 else batch
            held = []
    if held:
        yield pa.concat_batches(held)


def _batch_rows(group: Any) -> int:
    """Return how many rows of a row group to decode at once."""
    row_bytes = max(1, group.total_byte_size // max(1, group.num_rows))
    repeated = sum(_dictionary_bytes(group.column(place)) for place in range(group.num_columns))
    return max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes, EXPANDED_BYTES // max(1, repeated)))


def _dictionary_bytes(column: Any) -> int:
    """Return about what the dictionary of a column takes, which is more than any entry of it: it lies before the data,
    and is taken to be packed as tightly."""
    if not column.has_dictionary_page:
        return 0
    packed = max(0, column.data_page_offset - column.dictionary_page_offset)
    return packed * column.total_uncompressed_size // max(1, column.total_compressed_size)


def _arrow(file: str) -> Iterator[Any]:
    import pyarrow as pa

    with _open(file) as stream:
        if not is_remote(file):  # there every message would cost a request
            refuse_large_batches(file, stream)
        is_file = stream.read(len(MAGIC)) == MAGIC
        stream.seek(0)
        if is_file:
            reader = pa.ipc.open_file(stream)
            yield from map(reader.get_batch, range(reader.num_record_batches))
        else:
            yield from pa.ipc.open_stream(stream)


# --- text -------------------------------------------------------------------------------------------------------------


def _json(file: str) -> Iterator[Any]:
    name, known = shown(file), JsonLines(shown(file))
    with open_text(file) as stream:
        lines = lines_of(name, stream)
        head = next(((number, line) for number, line in lines if line.strip()), (1, b""))
        if head[0] == 1:
            head = (1, head[1].removeprefix(b"\xef\xbb\xbf"))
        if head[1].lstrip().startswith(b"["):
            items = json_items(name, stream, next(decoded(name, [head]))[1], head[0])
            lines = ((number, json.dumps(item).encode() + b"\n") for number, item in enumerate(items, 1))
        else:
            lines = itertools.chain([head], lines)
        for chunk in _chunks(lines):
            yield from known.batches(chunk)


def _csv(file: str) -> Iterator[Any]:
    """Read as `datasets` does, with pandas, but every value as it is written."""
    import pandas
    import pyarrow as pa

    separator = "\t" if ".tsv" in Path(file).suffixes else ","
    with open_text(file) as stream:
        rows = ((number, text.encode()) for number, text in csv_rows(shown(file), stream, separator))
        header = next(rows, (1, b""))[1]
        for chunk in _chunks(rows):
            text = header.rstrip(b"\r\n") + b"\n" + b"".join(line for _, line in chunk)
            try:
                frame = pandas.read_csv(pa.BufferReader(text), sep=separator, dtype=str)
            except pandas.errors.ParserError as error:
                raise ValueError(f"in the rows from line {chunk[0][0]} on: {error}") from error
            yield from pa.Table.from_pandas(frame, preserve_index=False).combine_chunks().to_batches()


def _text(file: str) -> Iterator[Any]:
    import pyarrow as pa

    with open_text(file) as stream:
        lines = decoded(shown(file), lines_of(shown(file), stream))
        for chunk in _chunks((number, line.rstrip("\r\n")) for number, line in lines):
            yield pa.record_batch({"text": [line for _, line in chunk]})


def _chunks(lines: Iterable[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    """Gather numbered lines until they take `BATCH_BYTES`, as Python holds them, or are `CHUNK_LINES`."""
    chunk: list[tuple[int, Any]] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line[1]) + LINE_BYTES
        if size >= BATCH_BYTES or len(chunk) >= CHUNK_LINES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


READERS: dict[str, Callable[[str], Iterator[Any]]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "json": _json,
    "csv": _csv,
    "text": _text,
}
