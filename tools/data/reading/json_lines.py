"""JSON lines as Arrow batches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from .formats import refuse_wide
from .lines import check_object, decoded, parse


class JsonLines:
    """JSON lines of one file as batches. What holds now text, now something else, is kept as JSON text there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: set[str] = set()

    def batches(self, chunk: list[tuple[int, bytes]]) -> Iterator[Any]:
        import pyarrow as pa

        text = b"".join(line for _, line in chunk)
        self._rows(chunk[:1])  # Arrow takes long over a million columns
        try:
            text.decode()
            table = self._table(text)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            table = self._mended(chunk, error)
        yield from table.combine_chunks().to_batches()

    def _table(self, text: bytes) -> Any:
        """Parse lines in one block, so that they have one schema, and anew where what Arrow guessed does not hold."""
        import pyarrow as pa
        import pyarrow.json as paj

        read = paj.ReadOptions(use_threads=False, block_size=len(text) + 1)
        table = paj.read_json(pa.BufferReader(text), read_options=read)
        refuse_wide(table.schema.names)
        schema = pa.schema([pa.field(column.name, _settled(column.type)) for column in table.schema])
        if schema == table.schema and _holds(table):
            return table
        told = paj.ParseOptions(explicit_schema=schema)
        return paj.read_json(pa.BufferReader(text), read_options=read, parse_options=told)

    def _rows(self, lines: list[tuple[int, bytes]]) -> list[Any]:
        rows: list[Any] = []
        for number, line in decoded(self.name, lines):
            if line.strip():
                rows.append(parse(self.name, number, line.strip(), is_last=not line.endswith("\n")))
                check_object(self.name, f"line {number}", rows[-1], self.fields)
        return rows

    def _mended(self, chunk: list[tuple[int, bytes]], error: Exception) -> Any:
        """Find the line that is at fault; where none is, write what Arrow cannot unify as JSON text.

        Raises:
            InputError: A line is malformed; the message has its number.
        """
        import pyarrow as pa

        rows = self._rows(chunk)
        while mixed := re.search(r"Column\(/(.*)\) changed from", str(error)):
            for row in rows:
                _as_text(row, mixed[1].split("/"))
            try:
                return self._table("".join(json.dumps(row) + "\n" for row in rows).encode())
            except pa.ArrowInvalid as next_error:
                if str(next_error) == str(error):  # a name with a slash in it
                    break
                error = next_error
        raise ValueError(f"lines {chunk[0][0]} to {chunk[-1][0]}: {error}") from error


def _holds(table: Any) -> bool:
    """Whether an inferred table is whole: pyarrow 26 loses nulls that begin a list whose type it has yet to learn."""
    import pyarrow as pa

    try:
        table.validate()
    except pa.ArrowInvalid:
        return False
    return True


def _settled(kind: Any) -> Any:
    """Return an inferred type with strings in place of times, which nobody meant, and of nulls, which lists lose."""
    import pyarrow as pa

    if pa.types.is_temporal(kind) or pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_settled(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, _settled(part.type)) for part in kind])
    return kind


def _as_text(value: Any, path: list[str]) -> None:
    """Replace what stands at `path` in a row (`[]` for the items of a list) with its JSON text."""
    step, rest = path[0], path[1:]
    if isinstance(value, list) and step == "[]":
        keys: Iterable[Any] = range(len(value))
    else:
        keys = [step] if isinstance(value, dict) and step in value else ()
    for key in keys:
        if rest:
            _as_text(value[key], rest)
        elif value[key] is not None and not isinstance(value[key], str):
            value[key] = json.dumps(value[key], ensure_ascii=False)
