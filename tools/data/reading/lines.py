"""Text files line by line, in bounded memory: the first line that no reader could take is named with its number."""

from __future__ import annotations

import codecs
import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from ...errors import InputError
from ...wording import one_line
from .formats import MAX_COLUMNS, MAX_ROW_BYTES, WHOLE_BYTES, ending_of, open_text, shown

MAX_DEPTH = 64
"""A value that is nested deeper is refused: the readers below descend by recursion."""
MAX_CELLS = 50_000_000
"""More rows × fields are refused: Arrow keeps 4 bytes and more for each, even where a row lacks the field. A file of
`WHOLE_BYTES` whose rows name all of their fields stays below it."""
LIST_CHUNK = 2**20

MAGIC = {b"PAR1": ".parquet", b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"PK\x03\x04": ".zip"}
"""First bytes of files that are not what their name says."""


def check_text(file: str) -> None:
    """Read a text file, up to `WHOLE_BYTES` of it, as its reader will.

    Raises:
        InputError: It has no rows, or a line is no UTF-8, no JSON, or too large; the message has the line's number.
        OSError, EOFError, zlib.error, zstandard.ZstdError: It cannot be opened or decompressed.
    """
    name, ending = shown(file), ending_of(file)
    with open_text(file) as stream:
        head = _Head(stream)
        if ending == ".txt":
            rows = sum(1 for _ in decoded(name, lines_of(name, head)))
        elif ending in (".csv", ".tsv"):
            rows = sum(1 for _ in csv_rows(name, head, "\t" if ending == ".tsv" else ",")) - 1
        else:
            rows = _count_objects(name, head)
    if rows < 1:
        raise InputError(f"`{name}` has no rows.", hint="check what wrote it")


class _Head:
    """The start of a buffered stream: whole lines, up to about `WHOLE_BYTES`."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.bytes = stream, 0

    def readline(self, limit: int) -> bytes:
        line = self.stream.readline(limit) if self.bytes <= WHOLE_BYTES else b""
        self.bytes += len(line)
        return line

    def read(self, size: int) -> bytes:
        chunk = self.stream.read(size)
        self.bytes += len(chunk)
        return chunk


def lines_of(name: str, stream: Any, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line.

    Raises:
        InputError: A line is larger than `MAX_ROW_BYTES`.
    """
    number = first
    while line := stream.readline(MAX_ROW_BYTES + 1):
        if len(line) > MAX_ROW_BYTES:
            raise too_large(name, f"line {number}")
        yield number, line
        number += 1


def too_large(name: str, where: str) -> InputError:
    """Refuse a row over the limit."""
    return InputError(
        f"`{name}` {where} is larger than {MAX_ROW_BYTES >> 20} MiB, the most that ftagent takes as one row.",
        hint="remove it, or split it into several rows",
    )


def decoded(name: str, lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line.

    Raises:
        InputError: A line is not UTF-8; the message has the byte.
    """
    for number, line in lines:
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            kind = next((kind for magic, kind in MAGIC.items() if number == 1 and line.startswith(magic)), None)
            raise InputError(
                f"`{name}` line {number} is not UTF-8: byte {line[error.start]:#x} at column {error.start + 1}.",
                hint=f"it looks like a {kind} file: name it so" if kind else "save the file as UTF-8",
            ) from error


# --- JSON -------------------------------------------------------------------------------------------------------------


def starts_list(stream: Any) -> bool:
    """Whether a buffered stream of JSON holds one list, rather than an object a line; nothing of it is consumed."""
    return stream.peek(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _count_objects(name: str, head: _Head) -> int:
    """Count the rows of a file with one object a line, or one list of objects."""
    if starts_list(head.stream):
        return sum(1 for _ in itertools.takewhile(lambda _: head.bytes <= WHOLE_BYTES, json_items(name, head)))
    fields: set[str] = set()
    rows = 0
    for number, line in decoded(name, lines_of(name, head)):
        if text := line.strip():
            check_object(name, f"line {number}", parse(name, number, text, is_last=not line.endswith("\n")), fields)
            rows += 1
    if rows and not fields:
        raise InputError(f"`{name}` has {rows} rows, all of them empty.", hint="check what wrote it")
    if rows * len(fields) > MAX_CELLS:
        raise InputError(
            f"`{name}` has {rows} rows of {len(fields)} fields, nearly all of them empty.",
            hint="keep what varies from row to row as a list, or as one JSON string",
        )
    return rows


def parse(name: str, number: int | None, text: str, *, is_last: bool = False) -> Any:
    """Return the value of one JSON line.

    Args:
        name: The file.
        number: The line, where it is known.
        text: What it says.
        is_last: No line break ends it: it may have been cut off.

    Raises:
        InputError: It is no JSON, or Python cannot hold it.
    """
    line = f"line {number}" if number else "one line"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if is_last and (error.pos >= len(text) or error.msg.startswith("Unterminated string")):
            raise InputError(
                f"`{name}` {line}, the last one, is cut off: {error.msg.removesuffix(' at')} at column {error.colno}.",
                hint="something may still be writing the file, or its download broke off",
            ) from error
        where = f"{line} is not JSON: {error.msg.removesuffix(' at')} at column {error.colno}"
    except (RecursionError, ValueError) as error:
        where = f"{line} cannot be read: {one_line(str(error), 120).rstrip('.')}"
    raise InputError(f"`{name}` {where}.", hint="mend or remove it; a file holds one JSON object a line")


def check_object(name: str, where: str, row: Any, fields: set[str]) -> None:
    """Refuse a row that is no object, is nested too deep, or brings the known fields above `MAX_COLUMNS`."""
    if not isinstance(row, dict):
        raise InputError(
            f"`{name}` {where} is {one_line(json.dumps(row)[:200])}, which is no object.",
            hint='each row is an object such as {"text": "…"}',
        )
    if not _gather(row, "", fields, MAX_DEPTH):
        raise InputError(
            f"`{name}` {where} is nested deeper than {MAX_DEPTH} levels.", hint="flatten it, or keep it as a string"
        )
    if len(fields) > MAX_COLUMNS:
        raise InputError(
            f"`{name}` has more than {MAX_COLUMNS} columns and fields, counted up to {where}.",
            hint="keep what varies from row to row as a list, or as one JSON string",
        )


def _gather(value: Any, path: str, fields: set[str], depth: int) -> bool:
    """Add the path of each key in `value` to `fields`; False where it is nested deeper than `depth`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            below = f"{path}.{key}"
            fields.add(below)
            if isinstance(inner, (dict, list)) and not (depth and _gather(inner, below, fields, depth - 1)):
                return False
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, (dict, list)) and not (depth and _gather(inner, path, fields, depth - 1)):
                return False
    return True


def json_items(name: str, stream: Any, text: str = "", line: int = 1) -> Iterator[Any]:
    """Yield the objects of a JSON list, while no more than one of them and a chunk are held.

    Args:
        name: The file.
        stream: Bytes that follow on `text`.
        text: What was read already.
        line: The line that it starts with.

    Raises:
        InputError: The list is malformed, or an item is no object or too large.
    """
    items = _Items(name, stream, text, line)
    items.take("[")
    fields: set[str] = set()
    while not items.ends():
        value = items.value()
        check_object(name, f"item {items.number}", value, fields)
        yield value


class _Items:
    """A JSON list that is read piece by piece."""

    def __init__(self, name: str, stream: Any, text: str, line: int) -> None:
        self.name, self.stream, self.text, self.line = name, stream, text, line
        self.place, self.number, self.done = 0, 0, False
        self.decode = codecs.getincrementaldecoder("utf-8")().decode
        self.scan = json.JSONDecoder().raw_decode

    def more(self) -> bool:
        """Read a further chunk; False at the end of the file."""
        if self.done:
            return False
        self.line += self.text.count("\n", 0, self.place)
        chunk = self.stream.read(max(LIST_CHUNK, len(self.text) - self.place))
        self.done = not chunk
        try:
            self.text, self.place = self.text[self.place :] + self.decode(chunk, self.done), 0
        except UnicodeDecodeError as error:
            line = self.line + self.text.count("\n", self.place) + chunk.count(b"\n", 0, error.start)
            raise InputError(f"`{self.name}` near line {line} is not UTF-8.", hint="save the file as UTF-8") from error
        return True

    def peek(self) -> str:
        """Return the next character that is no space, or nothing at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in "\ufeff \t\r\n":
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.more():
                return ""

    def take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise self.malformed(f"`{wanted}` is missing" if self.peek() else "the file ends", self.place)
        self.place += 1

    def ends(self) -> bool:
        """Step to the next item; True behind the last one."""
        if self.peek() == "]":
            self.place += 1
            if rest := self.peek():
                raise self.malformed(f"`{rest}` follows the list", self.place)
            return True
        if self.number:
            self.take(",")
        self.number += 1
        return False

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self.scan(self.text, self.place)
            except json.JSONDecodeError as error:
                if len(self.text) - self.place > MAX_ROW_BYTES:
                    raise too_large(self.name, f"item {self.number}") from error
                if self._is_torn(error) and self.more():
                    continue
                raise self.malformed(error.msg.removesuffix(" at"), error.pos) from error
            except (RecursionError, ValueError) as error:
                raise self.malformed(one_line(str(error), 120).rstrip("."), self.place) from error
            if end == len(self.text) and self.more():  # a number could go on
                continue
            if end - self.place > MAX_ROW_BYTES:
                raise too_large(self.name, f"item {self.number}")
            self.place = end
            return value

    def _is_torn(self, error: json.JSONDecodeError) -> bool:
        """Whether more text could mend it: an open string, or an error within the last few characters."""
        return error.msg.startswith("Unterminated string") or error.pos > len(self.text) - 16

    def malformed(self, why: str, position: int) -> InputError:
        line = self.line + self.text.count("\n", 0, position)
        return InputError(
            f"`{self.name}` line {line} is not JSON: {why} in item {self.number}.",
            hint="mend it; the file holds one list of objects",
        )


# --- CSV --------------------------------------------------------------------------------------------------------------


def csv_rows(name: str, stream: Any, separator: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of each row of a CSV file, its header included.

    Raises:
        InputError: A row is too large, a quoted value has no end, or there are too many columns.
    """
    csv.field_size_limit(MAX_ROW_BYTES)  # the default of 128 KiB is less than a long answer
    taken = _Taken(name, stream)
    rows = csv.reader(taken, delimiter=separator)
    header: list[str] | None = None
    try:
        for row in rows:
            first, text = taken.row()
            if header is None and len(row) > MAX_COLUMNS:
                raise InputError(f"`{name}` has {len(row)} columns.", hint=f"ftagent takes {MAX_COLUMNS}")
            if row:
                header = header or row
                yield first, text
    except csv.Error as error:
        raise too_large(name, f"line {taken.first}") from error


class _Taken:
    """The lines of a CSV file, which remembers those of the present row."""

    def __init__(self, name: str, stream: Any) -> None:
        self.name, self.lines = name, decoded(name, lines_of(name, stream))
        self.first, self.text, self.size = 1, [], 0

    def __iter__(self) -> Iterator[str]:
        for number, line in self.lines:
            self.first = number if not self.text else self.first
            self.text.append(line)
            self.size += len(line)
            if self.size > MAX_ROW_BYTES:
                raise InputError(
                    f"`{self.name}` line {self.first} starts a row of more than {MAX_ROW_BYTES >> 20} MiB.",
                    hint="look for a quotation mark that is never closed",
                )
            yield line

    def row(self) -> tuple[int, str]:
        """Return first line and text of the row that was just completed."""
        text, self.text, self.size = "".join(self.text), [], 0
        return self.first, text
