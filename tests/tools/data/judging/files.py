"""Data files for tests, written in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def write(folder: Path, format: str, rows: list[dict[str, Any]], name: str = "rows") -> str:
    """Write rows in a format, and return the file."""
    file = folder / f"{name}.{ {'json': 'jsonl', 'text': 'txt'}.get(format, format) }"
    if format == "json":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=3)
    else:
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    return str(file)


def lines(folder: Path, text: str | bytes, name: str = "rows.jsonl") -> str:
    """Write a file of text, and return it."""
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder / name)
