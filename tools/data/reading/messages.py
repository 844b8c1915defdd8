"""Record batches of Arrow files, whose messages say how large they become: those that take too much are never read.

A reader holds a record batch whole, packed and unpacked. The messages before their bodies are FlatBuffers
(https://github.com/apache/arrow/blob/main/format/Message.fbs, `Message` and `RecordBatch`), laid one behind the other
(https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format).
"""

from __future__ import annotations

import struct
from typing import Any

from ...errors import InputError
from .formats import shown

MAX_BATCH_BYTES = 256 * 2**20
"""More is refused: a scan holds one record batch and the next one, and 1 GiB is the bound for all that is held."""
MAX_MESSAGE_BYTES = 16 * 2**20
MAGIC = b"ARROW1"
CONTINUES = 0xFFFFFFFF
DICTIONARY, RECORDS = 2, 3
"""Kinds of messages with a body."""
DATA_OF_DICTIONARY = 1
"""The field of a dictionary's message in which its record batch lies."""


def refuse_large_batches(file: str, stream: Any) -> None:
    """Refuse a file of which reading would hold a record batch of more than `MAX_BATCH_BYTES`.

    Args:
        file: The file, for the message.
        stream: Its bytes, at their start; it is left there.

    Raises:
        InputError: A record batch is too large.
        ValueError: A message is damaged.
    """
    place = 8 if stream.read(len(MAGIC)) == MAGIC else 0
    try:
        while place is not None:
            place = _checked(file, stream, place)
    except struct.error as error:
        raise ValueError(f"the message at byte {place} is damaged") from error
    stream.seek(0)


def _checked(file: str, stream: Any, place: int) -> int | None:
    """Check the message at a place, and return where the next one starts; None behind the last one."""
    stream.seek(place)
    head = stream.read(8)
    if len(head) < 4:
        return None
    size, start = struct.unpack_from("<I", head)[0], place + 4
    if size == CONTINUES:  # since Arrow 0.15
        size, start = struct.unpack_from("<i", head, 4)[0], place + 8
    if size == 0:
        return None
    if not 0 < size <= MAX_MESSAGE_BYTES:
        raise ValueError(f"the message at byte {place} is damaged")
    stream.seek(start)
    message = _Table.root(stream.read(size))
    body, body_bytes = start + size, message.number("<q", 3)
    held = body_bytes + _unpacked(stream, message, body)
    if body_bytes < 0 or held < body_bytes:
        raise ValueError(f"the message at byte {place} is damaged")
    if held > MAX_BATCH_BYTES:
        raise InputError(
            f"`{shown(file)}` has a record batch that takes {held >> 20} MiB of memory; ftagent reads up to"
            f" {MAX_BATCH_BYTES >> 20} MiB.",
            hint="write it with fewer rows a batch (`max_chunksize` of pyarrow's `write_table`), or as Parquet",
        )
    return body + body_bytes


def _unpacked(stream: Any, message: _Table, body: int) -> int:
    """Return what the body of a message is unpacked to; 0 where it is not packed."""
    kind, header = message.number("<B", 1), message.table(2)
    if kind == DICTIONARY and header:
        header = header.table(DATA_OF_DICTIONARY)
    if kind not in (DICTIONARY, RECORDS) or header is None or header.table(3) is None:
        return 0
    unpacked = 0
    for offset, length in header.pairs(2):
        if length >= 8:
            stream.seek(body + offset)
            unpacked += max(0, struct.unpack("<q", stream.read(8))[0])  # -1: this buffer is not packed
    return unpacked


class _Table:
    """A table of a FlatBuffer; what lies outside of the buffer raises `struct.error`."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content, self.place = content, place

    @classmethod
    def root(cls, content: bytes) -> _Table:
        return cls(content, struct.unpack_from("<I", content)[0])

    def _field(self, number: int) -> int | None:
        """Return where a field lies; None where it has its default."""
        fields = self.place - self._read("<i", self.place)
        offset = self._read("<H", fields + 4 + 2 * number) if 4 + 2 * number < self._read("<H", fields) else 0
        return self.place + offset if offset else None

    def _read(self, form: str, place: int) -> int:
        if place < 0:
            raise struct.error("a place before the buffer")
        return struct.unpack_from(form, self.content, place)[0]

    def number(self, form: str, number: int) -> int:
        """Return a number; 0 where it is left out."""
        field = self._field(number)
        return 0 if field is None else self._read(form, field)

    def table(self, number: int) -> _Table | None:
        """Return the table in a field."""
        field = self._field(number)
        return None if field is None else _Table(self.content, field + self._read("<I", field))

    def pairs(self, number: int) -> list[tuple[int, int]]:
        """Return a list of structs of two 64-bit numbers."""
        field = self._field(number)
        if field is None:
            return []
        place = field + self._read("<I", field)
        count = self._read("<I", place)
        if 16 * count > len(self.content):
            raise struct.error("a list longer than the buffer")
        return [struct.unpack_from("<qq", self.content, place + 4 + 16 * item) for item in range(count)]
