"""Pages of Parquet files, whose headers say how large they become: those that take too much memory are never read.

A reader holds a page of each column at once, packed and unpacked, and a column's dictionary beside it. Headers are in
Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md); their
fields are those of `PageHeader` (https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).
"""

from __future__ import annotations

from typing import Any

from ...errors import InputError
from .formats import is_remote, shown

MAX_PAGES_BYTES = 512 * 2**20
"""More is refused. What else is held takes about 300 MiB (measured), and 1 GiB is the bound for all of it.

Rows of 166 kB, a thousand to a page, as in open-r1/codeforces-cots, take about 220 MiB."""
HEADER_BYTES = 256
MAX_HEADER_BYTES = 16 * 2**20
"""A longer header is damaged; Arrow's own limit is the same."""
MAX_DEPTH = 16
DICTIONARY_PAGE = 2

BOOLEANS, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 12


def refuse_large_pages(file: str, stream: Any, index: int, group: Any) -> None:
    """Refuse a row group of which reading would hold more than `MAX_PAGES_BYTES`.

    Of a file on the Hub, where every header costs a request, those of small row groups are not looked at.

    Args:
        file: The file, for the message.
        stream: Its bytes.
        index: The number of the row group.
        group: The row group's metadata, as pyarrow has it.

    Raises:
        InputError: Its pages are too large.
    """
    if is_remote(file) and group.total_byte_size <= MAX_PAGES_BYTES:
        return
    held = sum(_held(stream, group.column(place)) for place in range(group.num_columns))
    if held > MAX_PAGES_BYTES:
        name = shown(file)
        raise InputError(
            f"`{name}` has pages in row group {index} that take {held >> 20} MiB of memory at once; ftagent reads up to"
            f" {MAX_PAGES_BYTES >> 20} MiB.",
            hint='write it with smaller pages, on a machine that can hold it: python -c "import pyarrow.parquet as pq;'
            f" pq.write_table(pq.read_table('{name}'), 'small-{name}', write_batch_size=16)\"",
        )


def _held(stream: Any, column: Any) -> int:
    """Return the bytes that are held while the pages of a column are read one after the other.

    Where a header makes no sense, that is for the reader to say: the column counts as one page, as large as the footer
    calls it.
    """
    try:
        return _largest(stream, column)
    except ValueError:
        return column.total_compressed_size + column.total_uncompressed_size


def _largest(stream: Any, column: Any) -> int:
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    end = start + column.total_compressed_size
    dictionary = largest = 0
    while start < end:
        kind, unpacked, packed, length = _page(stream, start, end)
        if kind == DICTIONARY_PAGE:
            dictionary = max(dictionary, unpacked)
        largest = max(largest, unpacked if column.compression == "UNCOMPRESSED" else packed + unpacked)
        start += length + packed
    return dictionary + largest


def _page(stream: Any, start: int, end: int) -> tuple[int, int, int, int]:
    """Return the kind of a page, its bytes unpacked and packed, and the bytes of its header."""
    size = HEADER_BYTES
    while size <= MAX_HEADER_BYTES:
        stream.seek(start)
        content = stream.read(min(size, end - start))
        try:
            header = _Compact(content)
            kind, unpacked, packed = map(header.struct().get, (1, 2, 3))
        except IndexError:
            if len(content) < size:
                break
            size *= 16
            continue
        if kind is None or unpacked is None or packed is None or min(unpacked, packed) < 0:
            break
        return kind, unpacked, packed, header.place
    raise ValueError(f"the header of the page at byte {start} is damaged")


class _Compact:
    """Bytes in Thrift's compact protocol, read from their start; past their end IndexError is raised."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def integer(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def skip_bytes(self, count: int) -> None:
        self.place += count
        if self.place > len(self.content):
            raise IndexError

    def struct(self, depth: int = 0) -> dict[int, int]:
        """Return the integers of a struct by the numbers of their fields; all else is skipped."""
        if depth > MAX_DEPTH:
            raise ValueError("the header of a page is nested too deep")
        found: dict[int, int] = {}
        field = 0
        while kind_and_delta := self.byte():
            kind, delta = kind_and_delta & 0x0F, kind_and_delta >> 4
            field = field + delta if delta else self.integer()
            if kind in INTEGERS:
                found[field] = self.integer()
            elif kind not in BOOLEANS:  # a field's flag lies in its kind
                self.skip(kind, depth)
        return found

    def skip(self, kind: int, depth: int) -> None:
        """Step over a value."""
        if kind in INTEGERS:
            self.varint()
        elif kind == BYTE or kind in BOOLEANS:
            self.skip_bytes(1)
        elif kind == DOUBLE:
            self.skip_bytes(8)
        elif kind == BINARY:
            self.skip_bytes(self.varint())
        elif kind == STRUCT:
            self.struct(depth + 1)
        elif kind in LISTS:
            head = self.byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self.varint()):
                self.skip(head & 0x0F, depth)
        else:
            raise ValueError(f"the header of a page holds a value of kind {kind}")
