"""Parquet and Arrow files: a sample from all over them, or all of them where they are small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ...errors import InputError
from ...wording import one_line
from .formats import (
    MAX_COLUMNS,
    MAX_EXPANSION,
    MAX_ROW_BYTES,
    READ_AHEAD_BYTES,
    WHOLE_BYTES,
    is_remote,
    open_raw,
    shown,
    size_of,
)
from .lines import too_large
from .messages import refuse_large_batches
from .pages import refuse_large_pages
from .sample import (
    PLACES,
    REMOTE_PLACES,
    SCANNED_CHARACTERS,
    SCANNED_ROWS,
    WHOLE_REMOTE_BYTES,
    Read,
    numbered,
    spread,
)
from .sizes import written_bytes

MAX_FOOTER_BYTES = 32 * 2**20
"""A longer Parquet footer is refused: 10,000 row groups of 30 columns need about as much."""
BATCH_ROWS = 16
BATCH_BYTES = 2**28
"""A batch may not become larger, however often it repeats an entry of its dictionary."""
SKIPPED_BYTES = 64_000_000
"""How much of a local file's row groups is decoded to reach rows that are not at their start (about 0.4 s)."""
SAMPLE_BYTES = 2 * SCANNED_CHARACTERS


@dataclass(frozen=True, kw_only=True)
class Group:
    """One row group of a Parquet file."""

    file: str
    index: int
    first: int
    """Number of its first row in the split."""
    rows: int
    bytes: int
    """What it decompresses to."""
    dictionary_bytes: int
    """What its largest column with a dictionary decompresses to: no entry is larger."""


def read_parquet(files: Sequence[str], total: int | None) -> Read:
    """Read a sample of Parquet files, from row groups all over them.

    Args:
        files: All files of the split, in order.
        total: Rows of the split, where something else knows them.

    Raises:
        InputError: Schemas differ, a row is too large, or there are too many columns.
        OSError, ValueError: A file is no Parquet or damaged (pyarrow's own errors).
    """
    remote = is_remote(files[0])
    looked_at = [files[place] for place in spread(len(files), 2 * REMOTE_PLACES)] if remote else list(files)
    schema, groups = _footers(looked_at)
    counted = sum(group.rows for group in groups)
    is_exact = len(looked_at) == len(files)
    if not is_exact:
        stretch = (total or counted * len(files) / len(looked_at)) / max(1, counted)
        groups = [replace(group, first=round(group.first * stretch)) for group in groups]
        counted = round(counted * stretch)
    whole = is_exact and sum(group.bytes for group in groups) <= (WHOLE_REMOTE_BYTES if remote else WHOLE_BYTES)
    pieces = _pieces(groups, len(groups), 2**62, 2**62, 0) if whole else None
    if pieces is None:
        places = min(len(groups), REMOTE_PLACES if remote else PLACES)
        skipped = 0 if remote else SKIPPED_BYTES
        pieces = _pieces(groups, places, SCANNED_ROWS, SAMPLE_BYTES, skipped) or []
    return Read(rows=_dataset(pieces, schema, files[0]), total=counted, exact=is_exact or total is not None)


def _footers(files: Sequence[str]) -> tuple[Any, list[Group]]:
    """Return the schema of the first file, and the row groups of all.

    Raises:
        InputError: A footer is too large, or two files have other columns.
    """
    schema: Any = None
    groups: list[Group] = []
    first = 0
    for file in files:
        _check_footer(file)
        with _parquet(file) as (parquet, _):
            metadata = parquet.metadata
            _refuse_odd_columns(file, metadata.num_columns, parquet.schema_arrow.names)
            schema = schema or parquet.schema_arrow
            _refuse_other_columns(files[0], schema.names, file, parquet.schema_arrow.names)
            for index in range(metadata.num_row_groups):
                group = _group(file, index, first, metadata.row_group(index))
                first += group.rows
                groups.append(group)
    return schema, groups


def _check_footer(file: str) -> None:
    with open_raw(file) as stream:
        stream.seek(max(0, size_of(file) - 8))
        tail = stream.read(8)
    size = int.from_bytes(tail[:4], "little")
    if tail.endswith(b"PAR1") and size > MAX_FOOTER_BYTES:
        raise InputError(
            f"`{shown(file)}` has a footer of {size >> 20} MiB: it has far too many columns or row groups.",
            hint="write it anew with those that training needs",
        )


@contextmanager
def _parquet(file: str) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with open_raw(file) as stream:
        # A path lets pyarrow read by itself, which is faster than through a Python object.
        source = stream if is_remote(file) else file
        with pq.ParquetFile(source, buffer_size=READ_AHEAD_BYTES, pre_buffer=False) as parquet:
            yield parquet, stream


def _group(file: str, index: int, first: int, metadata: Any) -> Group:
    columns = [metadata.column(place) for place in range(metadata.num_columns)]
    packed = sum(column.total_compressed_size for column in columns)
    if metadata.total_byte_size > max(WHOLE_BYTES, MAX_EXPANSION * packed):
        raise InputError(
            f"row group {index} of `{shown(file)}` expands to more than {MAX_EXPANSION} times its size.",
            hint="no text does that: check what wrote it",
        )
    return Group(
        file=file,
        index=index,
        first=first,
        rows=metadata.num_rows,
        bytes=metadata.total_byte_size,
        dictionary_bytes=max(
            (column.total_uncompressed_size for column in columns if column.has_dictionary_page), default=0
        ),
    )


def _refuse_odd_columns(file: str, count: int, names: Sequence[str]) -> None:
    """Refuse more columns and fields than can be kept, and two of one name."""
    if count > MAX_COLUMNS:
        raise InputError(
            f"`{shown(file)}` has {count} columns and fields.",
            hint=f"ftagent takes {MAX_COLUMNS}: keep those that training needs",
        )
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise InputError(f"`{shown(file)}` has two columns `{one_line(twice)}`.", hint="rename one of them")


def _refuse_other_columns(file: str, names: Sequence[str], other: str, others: Sequence[str]) -> None:
    """Refuse two files of one split that have other columns."""
    for here, there, name in (
        *((other, file, name) for name in others if name not in names),
        *((file, other, name) for name in names if name not in others),
    ):
        raise InputError(
            f"`{shown(here)}` has a column `{one_line(name)}` that `{shown(there)}` has not.",
            hint="give all files of a split the same columns",
        )


Piece = tuple[str, int, Any]
"""File, number of the first row, and an Arrow batch."""


def _pieces(groups: list[Group], places: int, rows: int, size: int, skipped: int) -> list[Piece] | None:
    """Read batches of evenly spread groups; None when they grow far larger than the files let expect."""
    pieces: list[Piece] = []
    held = 0
    for place in spread(len(groups), places):
        for piece in _batches(groups[place], rows // places, size // places, skipped // places):
            pieces.append(piece)
            held += written_bytes(piece[2])
            if held > 4 * WHOLE_BYTES:
                return None if size > held else pieces
    return pieces


def _batches(group: Group, rows: int, size: int, skipped: int) -> Iterator[Piece]:
    """Yield batches of one group, evenly spread over what may be skipped, up to so many rows or bytes."""
    every = max(1, min(skipped, group.bytes) // max(1, size))
    batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, group.dictionary_bytes)))
    taken = taken_bytes = 0
    number = group.first
    with _parquet(group.file) as (parquet, stream):
        refuse_large_pages(group.file, stream, group.index, parquet.metadata.row_group(group.index))
        for index, batch in enumerate(parquet.iter_batches(batch_rows, row_groups=[group.index], use_threads=False)):
            if index % every == 0:
                _refuse_large_rows(group.file, number, batch)
                yield group.file, number, batch
                taken += len(batch)
                taken_bytes += written_bytes(batch)
                if taken >= rows or (taken > 1 and taken_bytes >= size):
                    return
            number += len(batch)


def _refuse_large_rows(file: str, first: int, batch: Any) -> None:
    """Refuse a batch with a row over the limit."""
    if written_bytes(batch) <= MAX_ROW_BYTES:
        return
    for place in range(len(batch)):
        if written_bytes(batch.slice(place, 1)) > MAX_ROW_BYTES:
            raise too_large(shown(file), f"row {first + place}")


def _dataset(pieces: list[Piece], schema: Any, first_file: str) -> Any:
    """Join the pieces, with the features that `datasets.load_dataset` gives them."""
    import datasets
    import pyarrow as pa
    from datasets.table import table_cast

    features = datasets.Features.from_arrow_schema(schema)
    tables = []
    for file, _, batch in pieces:
        table = pa.Table.from_batches([batch])
        try:
            tables.append(table_cast(table, features.arrow_schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
            raise _other_type(first_file, schema, file, table.schema) from error
    joined = pa.concat_tables(tables) if tables else features.arrow_schema.empty_table()
    rows = datasets.Dataset(joined, info=datasets.DatasetInfo(features=_undecoded(features)))
    return numbered(rows, [number + place for _, number, batch in pieces for place in range(len(batch))])


def _undecoded(feature: Any) -> Any:
    """Return features under which pictures and sound stay the bytes that they are."""
    import datasets

    if isinstance(feature, dict):
        return type(feature)({name: _undecoded(inner) for name, inner in feature.items()})
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        return replace(feature, feature=_undecoded(feature.feature))
    is_media = isinstance(feature, (datasets.Image, datasets.Audio, datasets.Video, datasets.Pdf, datasets.Nifti))
    return replace(feature, decode=False) if is_media else feature


def _other_type(file: str, schema: Any, other: str, there: Any) -> InputError:
    name = next((name for name in schema.names if schema.field(name).type != there.field(name).type), schema.names[0])
    here, other_type = (one_line(str(fields.field(name).type)) for fields in (schema, there))
    return InputError(
        f"column `{one_line(name)}` is {here} in `{shown(file)}` and {other_type} in `{shown(other)}`.",
        hint="give all files of a split the same types",
    )


# --- Arrow ------------------------------------------------------------------------------------------------------------


def read_arrow(files: Sequence[str], total: int | None) -> Read:
    """Read a sample of Arrow files: mapped into memory here, from the start of some of them on the Hub.

    Raises:
        InputError: Schemas differ, or a row is too large.
        OSError, ValueError: A file is no Arrow or damaged (pyarrow's own errors).
    """
    looked_at = [files[place] for place in spread(len(files), REMOTE_PLACES)] if is_remote(files[0]) else list(files)
    pieces: list[Piece] = []
    schema: Any = None
    number, is_whole = 0, len(looked_at) == len(files)
    for file in looked_at:
        with open_raw(file) as stream:
            if not is_remote(file):  # there every message would cost a request
                refuse_large_batches(file, stream)
            reader = _arrow(file, stream)
            schema = schema or reader.schema
            _refuse_odd_columns(file, len(reader.schema.names), reader.schema.names)
            _refuse_other_columns(looked_at[0], schema.names, file, reader.schema.names)
            held = 0
            for batch in _record_batches(reader):
                if is_remote(file) and held > SAMPLE_BYTES:
                    is_whole = False
                    break
                pieces.append((file, number, batch))
                number, held = number + len(batch), held + written_bytes(batch)
    kept = _thinned(pieces, number)
    known = number if is_whole else total or number * len(files) // max(1, len(looked_at))
    return Read(rows=_dataset(kept, schema, files[0]), total=known, exact=is_whole or total is not None)


def _arrow(file: str, stream: Any) -> Any:
    import pyarrow as pa

    source = stream if is_remote(file) else pa.memory_map(file)
    try:
        return pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_file(source)


def _record_batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "get_batch"):
        return (reader.get_batch(index) for index in range(reader.num_record_batches))
    return iter(reader)


def _thinned(pieces: list[Piece], rows: int) -> list[Piece]:
    """Keep evenly spread rows, within what a sample may hold."""
    size = sum(written_bytes(batch) for _, _, batch in pieces)
    if size <= WHOLE_BYTES:
        for file, first, batch in pieces:
            _refuse_large_rows(file, first, batch)
        return pieces
    every = -(-rows // max(2, min(SCANNED_ROWS, SAMPLE_BYTES * rows // size)))
    kept = [
        (file, first + place, batch.slice(place, 1))
        for file, first, batch in pieces
        for place in range(-first % every, len(batch), every)
    ]
    for file, number, row in kept:
        _refuse_large_rows(file, number, row)
    return kept
