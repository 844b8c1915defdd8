"""Rows that a Python function yields, written down once: from then on they are a Parquet file like any other."""

from __future__ import annotations

import errno
import itertools
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...errors import InputError, UserError
from ...files import sha256_of
from ...settings import Settings
from ...wording import one_line
from ..shaping.mappings import Row

BATCH_ROWS = 1_000


def write_rows(function: Callable[[], Iterable[Row]], name: str, settings: Settings) -> Path:
    """Call a function once, and keep the rows that it returns or yields as a Parquet file below the cache folder.

    Returns the file, whose name says what is in it: the same rows make the same file.

    Args:
        function: Takes nothing; each of its rows is a dict.
        name: What the dataset is called in the report.
        settings: The run's settings; they name the cache folder.

    Raises:
        InputError: A row is no dict, a column changes its type, or there are no rows.
        UserError: The cache folder cannot be written.
    """
    folder = settings.cache_dir / "rows"
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "rows"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            draft = Path(scratch, "rows.parquet")
            _write(function, name, draft)
            return draft.replace(folder / f"{stem}-{sha256_of(draft)[:12]}.parquet")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS) and not str(error.filename).startswith(str(folder)):
            raise  # the function's own
        raise UserError(
            f"the rows of `{one_line(name)}` cannot be written to `{folder}`: {error.strerror}.",
            hint="free some space, or set FTAGENT_CACHE_DIR",
        ) from error


def _write(function: Callable[[], Iterable[Row]], name: str, file: Path) -> None:
    """Write batches as they come, then all of them under the one schema that they add up to."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pieces: list[Path] = []
    schemas: list[Any] = []
    rows = iter(function())
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        table = _table(batch, name, BATCH_ROWS * len(pieces))
        pieces.append(file.with_suffix(f".{len(pieces)}"))
        schemas.append(table.schema)
        pq.write_table(table, pieces[-1])
    if not pieces:
        raise InputError(f"the function of `{one_line(name)}` yields no rows.", hint="let it yield dicts")
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"the rows of `{one_line(name)}` change a type: {one_line(str(error), 200)}.", hint="give a column one type"
        ) from error
    with pq.ParquetWriter(file, schema) as writer:
        for piece in pieces:
            writer.write_table(_widened(pq.read_table(piece), schema))


def _table(batch: list[Any], name: str, first: int) -> Any:
    import pyarrow as pa

    for place, row in enumerate(batch, first):
        if not isinstance(row, dict):
            raise InputError(
                f"row {place} of `{one_line(name)}` is {one_line(repr(row)[:200])}, which is no dict.",
                hint='each row is a dict such as {"text": "…"}',
            )
    columns = dict.fromkeys(key for row in batch for key in row)
    try:
        return pa.table({str(column): pa.array([row.get(column) for row in batch]) for column in columns})
    except pa.ArrowException as error:
        raise InputError(
            f"rows {first} to {first + len(batch) - 1} of `{one_line(name)}` make no table:"
            f" {one_line(str(error), 200)}.",
            hint="give a column one type, of text, numbers, lists or dicts",
        ) from error


def _widened(table: Any, schema: Any) -> Any:
    """Return the table with every column of the schema."""
    import pyarrow as pa

    names = set(table.column_names)
    return pa.table(
        [
            table[field.name].cast(field.type) if field.name in names else pa.nulls(len(table), field.type)
            for field in schema
        ],
        schema=schema,
    )
