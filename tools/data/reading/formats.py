"""Data files by their endings: which reader of `datasets` takes them, how their bytes are opened, and how big a row is.

Files are named as `datasets` names them: a path on this machine, or an `hf://datasets/…` address.
"""

from __future__ import annotations

import gzip
import io
import itertools
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ...errors import InputError
from ...wording import one_line

# File ending -> what `datasets.load_dataset` is told.
FORMATS: dict[str, dict[str, Any]] = {
    ".jsonl": {"path": "json"},
    ".json": {"path": "json"},
    ".csv": {"path": "csv"},
    ".tsv": {"path": "csv", "sep": "\t"},
    ".parquet": {"path": "parquet"},
    ".arrow": {"path": "arrow"},
    ".txt": {"path": "text"},
}
COMPRESSIONS = (".gz", ".zst")
BINARY = (".parquet", ".arrow")
"""Endings of formats that are compressed inside, if at all."""

REMOTE = "hf://"

WHOLE_BYTES = 64_000_000
"""Files up to this size, decompressed, are read from end to end."""
MAX_ROW_BYTES = 16 * 2**20
"""A larger row is refused: TRL takes 73 s and 7 GB for one of 50 MB (measured)."""
MAX_COLUMNS = 1_000
"""More columns, or fields inside them, are refused: Arrow keeps each of them for each row."""
MAX_EXPANSION = 250
"""A file that expands by more is refused: text shrinks to a fifth, a page of zeros to a thousandth (gzip's limit)."""
NEAR_BYTES = 64_000_000
"""Files on the Hub up to this size together are read whole for a run that trains on them: some 250 requests."""
READ_AHEAD_BYTES = 2**18
"""How much of a file on the Hub one request fetches."""


def ending_of(file: str | Path) -> str | None:
    """Return the file's ending without its compression, or None where `FORMATS` does not know it."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(file).suffixes]
    outer = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else None
    ending = suffixes[-1] if suffixes else ""
    return ending if ending in FORMATS and not (outer and ending in BINARY) else None


def endings() -> str:
    """Say which files ftagent reads."""
    return f"{', '.join(FORMATS)}, those of text also as {' and '.join(COMPRESSIONS)}"


def is_remote(file: str) -> bool:
    """Whether the file lies on the Hub."""
    return file.startswith(REMOTE)


def is_compressed(file: str) -> bool:
    """Whether the file has to be decompressed from its start."""
    return file.lower().endswith(COMPRESSIONS)


def size_of(file: str) -> int:
    """Return the file's size in bytes, as it lies there."""
    if not is_remote(file):
        return Path(file).stat().st_size
    with unbroken():
        return _hub().size(file)


def are_near(files: Sequence[str]) -> bool:
    """Whether reading every byte of the files is cheap: they lie here, or are no more than `NEAR_BYTES`."""
    sizes = (size_of(file) for file in files if is_remote(file))
    try:
        return all(read <= NEAR_BYTES for read in itertools.accumulate(sizes))
    except OSError:  # a Hub that does not answer is far away
        return False


@contextmanager
def unbroken() -> Iterator[None]:
    """Turn what the Hub's client raises when a connection breaks off into what a disk raises.

    Raises:
        ConnectionError: With the reason.
    """
    from httpx import HTTPError

    try:
        yield
    except HTTPError as error:
        if isinstance(error, OSError):  # an answer of the Hub
            raise
        raise ConnectionError(f"the Hub broke off ({type(error).__name__}: {error})") from error


@contextmanager
def open_raw(file: str) -> Iterator[IO[bytes]]:
    """Open the bytes of a file as they lie there; a file on the Hub is read by ranges."""
    if not is_remote(file):
        with Path(file).open("rb") as stream:
            yield stream
        return
    with unbroken(), _hub().open(file, "rb", block_size=READ_AHEAD_BYTES) as stream:
        yield io.BufferedReader(stream)  # fsspec's own readline has no limit


@contextmanager
def open_text(file: str) -> Iterator[IO[bytes]]:
    """Open the bytes of a text file, decompressed."""
    with open_raw(file) as raw, decompressed(raw, file) as stream:
        yield stream


@contextmanager
def decompressed(raw: IO[bytes], file: str) -> Iterator[IO[bytes]]:
    """Decompress a stream as the name of its file asks for; refuse one that expands absurdly while it is read."""
    if file.lower().endswith(".gz"):
        yield io.BufferedReader(_Expanding(gzip.GzipFile(fileobj=raw), raw, file))
    elif file.lower().endswith(".zst"):
        import zstandard

        stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        try:
            yield io.BufferedReader(_Expanding(stream, raw, file))
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
    else:
        yield raw


class _Expanding(io.RawIOBase):
    """A decompressing stream that stops at a bomb."""

    def __init__(self, stream: Any, raw: IO[bytes], file: str) -> None:
        self.stream, self.raw, self.file, self.bytes = stream, raw, file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self.stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self.bytes += len(chunk)
        if self.bytes > MAX_ROW_BYTES and self.bytes > MAX_EXPANSION * self.raw.tell():
            raise InputError(
                f"`{shown(self.file)}` expands to more than {MAX_EXPANSION} times its size.",
                hint="no text does that: check what wrote it",
            )
        return len(chunk)


def shown(file: str) -> str:
    """Return the name of a file, as it stands in a message."""
    return one_line(PurePosixPath(file).name, 80)


def _hub() -> Any:
    from huggingface_hub import HfFileSystem

    return HfFileSystem()


def compute() -> Any:
    """Return Arrow's functions; they are made at import, and type checkers know few of them."""
    import pyarrow.compute

    return pyarrow.compute


def refuse_wide(paths: Sized) -> None:
    """Refuse more columns, or fields inside them, than `MAX_COLUMNS`."""
    if len(paths) > MAX_COLUMNS:
        raise InputError(
            f"the rows have more than {MAX_COLUMNS} columns and fields.",
            hint="keep what varies from row to row as a list, or as one JSON string",
        )
