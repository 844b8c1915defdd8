"""JSON, CSV and text files: a sample of their lines, read by the reader that `datasets` has for them."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .formats import (
    decompressed,
    is_compressed,
    is_remote,
    open_raw,
    shown,
    size_of,
)
from .lines import check_object, csv_rows, decoded, json_items, lines_of, parse, starts_list
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

COUNTED_BYTES = 2_000_000_000
"""The lines of local files up to this size are counted, at about 1.5 GB a second; beyond it they are estimated."""
CHUNK = 2**20
ENDINGS = {"json": ".jsonl", "csv": ".csv", "text": ".txt"}


@dataclass(kw_only=True)
class Part:
    """What was read of one file."""

    file: str
    size: int
    lines: list[str] = field(default_factory=list)
    """Whole rows, as the reader takes them; the header of a CSV file is the first."""
    places: list[float] = field(default_factory=list)
    """For each row its number in the file, as an int or, where that is unknown, the share of bytes before it."""
    counted: int | None = None
    """All rows of the file."""
    read: int = 0
    """Bytes of the file that the rows took."""


def read_text(reader: str, options: dict[str, Any], files: Sequence[str], total: int | None) -> Read:
    """Read a sample of text files, as `datasets` would.

    Args:
        reader: `json`, `csv` or `text`.
        options: What the reader is told beside the files.
        files: All files of the split, in order.
        total: Rows of the split, where something else knows them.

    Raises:
        InputError: A line that was read is malformed or too large.
        datasets.exceptions.DatasetsError, OSError, ValueError: The reader refuses.
    """
    sizes = [size_of(file) for file in files]
    can_jump = reader != "csv" and not any(map(is_compressed, files)) and not _is_list(files[0], reader)
    small = WHOLE_REMOTE_BYTES if is_remote(files[0]) else 0
    if can_jump and sum(sizes) > small:
        parts = _jump(reader, files, sizes)
    else:
        parts = _heads(reader, options, files, sizes, whole=sum(sizes) <= small)
    is_exact = all(part.counted is not None for part in parts)
    numbers, known = _numbers(parts)
    rows = _loaded(reader, options, [part for part in parts if part.places])
    return Read(
        rows=numbered(rows, numbers if len(numbers) == len(rows) else range(len(rows))),
        total=max(known if is_exact else total or known, len(rows)),
        exact=is_exact or total is not None,
    )


def _numbers(parts: list[Part]) -> tuple[list[int], int]:
    """Return the numbers of the rows that were read, and how many rows there are in all."""
    row_bytes = max(1, sum(part.read for part in parts)) / max(1, sum(len(part.places) for part in parts))
    numbers: list[int] = []
    first = 0
    for part in parts:
        estimated = max(len(part.places) + 1, round(part.size / row_bytes))  # there is one more at least
        rows = estimated if part.counted is None else part.counted
        for place in part.places:
            number = first + (place if isinstance(place, int) else round(place * rows))
            numbers.append(max(number, numbers[-1] + 1 if numbers else 0))
        first += rows
    return numbers, first


def _loaded(reader: str, options: dict[str, Any], parts: list[Part]) -> Any:
    """Let the reader of `datasets` read the lines, so that they get the features that it gives them."""
    import datasets

    with tempfile.TemporaryDirectory(prefix="ftagent-") as scratch:
        files = []
        for index, part in enumerate(parts):
            file = Path(scratch, f"{index}{ENDINGS[reader]}")
            file.write_text("".join(part.lines), encoding="utf-8", newline="")
            files.append(str(file))
        return datasets.load_dataset(
            reader, data_files=files, split="train", cache_dir=scratch, keep_in_memory=True, **options
        )


def _is_list(file: str, reader: str) -> bool:
    with open_raw(file) as stream:
        return reader == "json" and starts_list(stream)


# --- from places all over the files -----------------------------------------------------------------------------------


def _jump(reader: str, files: Sequence[str], sizes: list[int]) -> list[Part]:
    """Read some lines at evenly spread places of all files together."""
    places = REMOTE_PLACES if is_remote(files[0]) else PLACES
    counts = not is_remote(files[0]) and sum(sizes) <= COUNTED_BYTES
    step = max(1, sum(sizes) // places)
    parts: list[Part] = []
    before = 0
    for file, size in zip(files, sizes, strict=True):
        offsets = [offset - before for offset in range(-(-before // step) * step, before + size, step)]
        breaks = _breaks(file, offsets, reader) if counts else [None] * (len(offsets) + 1)
        part = Part(file=file, size=size, counted=breaks[-1])
        with open_raw(file) as stream:
            for offset, line in zip(offsets, breaks, strict=False):
                if offset >= stream.tell():
                    _stretch(reader, part, stream, offset, line, places)
        parts.append(part)
        before += size
    return parts


def _breaks(file: str, offsets: list[int], reader: str) -> list[int | None]:
    """Return the lines that end before the byte before each offset, and all lines; None where some are no rows."""
    found: list[int | None] = []
    ends = [max(0, offset - 1) for offset in offsets]
    lines, last, blank = 0, b"", False
    with open_raw(file) as stream:
        for start, end in itertools.pairwise([0, *ends, size_of(file)]):
            for position in range(start, end, CHUNK):
                chunk = stream.read(min(CHUNK, end - position))
                lines += chunk.count(b"\n")
                blank = blank or b"\n\n" in chunk or b"\n\r\n" in chunk or (last == b"\n" and chunk[:1] == b"\n")
                last = chunk[-1:] or last
            found.append(lines)
    found[-1] = lines + (last not in (b"", b"\n"))
    return [None] * len(found) if blank and reader != "text" else found


def _stretch(reader: str, part: Part, stream: Any, offset: int, line: int | None, places: int) -> None:
    """Read the lines that start at an offset or behind it, as many as one of so many places may have."""
    name = shown(part.file) if line is not None else f"{shown(part.file)} from byte {offset}"
    stream.seek(max(0, offset - 1))
    lines = lines_of(name, stream, (line or 0) + 1)
    if offset:
        next(lines, None)
    size = 0
    for number, text in decoded(name, itertools.islice(lines, max(1, SCANNED_ROWS // places))):
        read = len(text.encode())
        if _is_row(reader, name, number, text):
            part.lines.append(text if text.endswith("\n") else text + "\n")
            part.places.append(number - 1 if line is not None else (stream.tell() - read) / part.size)
        size += read
        if size > SCANNED_CHARACTERS // places:
            break
    part.read += size


def _is_row(reader: str, name: str, number: int, text: str) -> bool:
    """Whether the line is a row, and not blank; refuse one that no reader could take."""
    if reader == "json" and text.strip():
        row = parse(name, number, text.strip(), is_last=not text.endswith("\n"))
        check_object(name, f"line {number}", row, set())
    return reader == "text" or bool(text.strip())


# --- from the start of some files -------------------------------------------------------------------------------------


def _heads(reader: str, options: dict[str, Any], files: Sequence[str], sizes: list[int], *, whole: bool) -> list[Part]:
    """Read the first rows of evenly spread files, or every row of all of them."""
    chosen = spread(len(files), len(files) if whole else REMOTE_PLACES)
    rows, characters = (None, sum(sizes)) if whole else (SCANNED_ROWS // len(chosen), SCANNED_CHARACTERS // len(chosen))
    parts = [Part(file=file, size=size) for file, size in zip(files, sizes, strict=True)]
    for part in (parts[place] for place in chosen):
        with open_raw(part.file) as raw, decompressed(raw, part.file) as stream:
            source = _rows(reader, options, part.file, stream)
            part.lines = list(itertools.islice(source, 1 if reader == "csv" else 0))
            size = 0
            for number, text in enumerate(itertools.islice(source, rows)):
                part.lines.append(text)
                part.places.append(number)
                size += len(text)
                if number and size > characters:
                    break
            part.counted = len(part.places) if next(source, None) is None else None
            part.read = raw.tell() if is_compressed(part.file) else len("".join(part.lines).encode())
    return parts


def _rows(reader: str, options: dict[str, Any], file: str, stream: Any) -> Iterator[str]:
    """Yield each row of a file as one piece of text, the header of a CSV file first."""
    name = shown(file)
    if reader == "csv":
        yield from (text for _, text in csv_rows(name, stream, options.get("sep") or options.get("delimiter") or ","))
        return
    if reader == "json" and starts_list(stream):
        yield from (json.dumps(row) + "\n" for row in json_items(name, stream))
        return
    for number, text in decoded(name, lines_of(name, stream)):
        if _is_row(reader, name, number, text):
            yield text if text.endswith("\n") else text + "\n"
