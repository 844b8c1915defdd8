"""Why a reader refused text files: the column that changes its type, or that some file lacks, with file and line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ...wording import one_line
from .formats import open_text, shown
from .lines import csv_rows, decoded, json_items, lines_of, starts_list

SEARCHED_ROWS = 1_000_000


class Found(NamedTuple):
    """A row and where it stands."""

    file: str
    where: str
    row: dict[str, Any]


def conflict_in(reader: str, options: dict[str, Any], files: Sequence[str]) -> str:
    """Return the first conflict between rows, in words; nothing where there is none.

    Args:
        reader: `json` or `csv`; other files have no conflicts that can be found here.
        options: What the reader is told beside the files.
        files: All files.

    Raises:
        InputError: A line is malformed.
    """
    if reader not in ("json", "csv"):
        return ""
    kinds: dict[str, tuple[str, str]] = {}
    columns: dict[str, set[str]] = {}
    for file, where, row in _rows(reader, options, files):
        columns.setdefault(file, set()).update(row)
        for path, kind in _kinds(row, reader):
            known, there = kinds.setdefault(path, (kind, where))
            if kind != known:
                return f"column `{one_line(path, 80)}` holds {known} in {there} and {kind} in {where}"
    return _lacking(columns)


def _lacking(columns: dict[str, set[str]]) -> str:
    (first, known), *others = columns.items() or [("", set())]
    for file, names in others:
        if added := sorted(names - known):
            return f"`{shown(file)}` has a column `{one_line(added[0])}` that `{shown(first)}` has not"
    return ""


def _rows(reader: str, options: dict[str, Any], files: Sequence[str]) -> Iterator[Found]:
    left = SEARCHED_ROWS
    for file in files:
        name = shown(file)
        with open_text(file) as stream:
            for where, row in _csv(name, stream, options) if reader == "csv" else _json(name, stream):
                yield Found(file, f"`{name}` {where}", row)
                left -= 1
                if not left:
                    return


def _json(name: str, stream: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if starts_list(stream):
        yield from ((f"item {item}", row) for item, row in enumerate(json_items(name, stream), 1))
    for number, text in decoded(name, lines_of(name, stream)):
        if text.strip():
            yield f"line {number}", json.loads(text)


def _csv(name: str, stream: Any, options: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    separator = options.get("sep") or options.get("delimiter") or ","
    header: list[str] = []
    for number, text in csv_rows(name, stream, separator):
        values = next(csv.reader(text.splitlines(keepends=True), delimiter=separator))
        if header:
            yield f"line {number}", dict(zip(header, values, strict=False))
        else:
            header = values


def _kinds(value: Any, reader: str, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each path in a value with the kind of what stands there; null has none."""
    match value:
        case dict():
            if path:
                yield path, "an object"
            for key, inner in value.items():
                yield from _kinds(inner, reader, f"{path}.{key}" if path else key)
        case list():
            yield path, "a list"
            for inner in value:
                yield from _kinds(inner, reader, f"{path}[]")
        case str() if reader == "csv":
            if value:
                yield path, "a number" if _is_number(value) else "text"
        case str():
            yield path, "text"
        case bool():
            yield path, "true or false"
        case int() | float():
            yield path, "a number"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
