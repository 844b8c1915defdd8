"""A job's log, mirrored into a file of the run: no line lost, none twice, whatever breaks in between.

The server replays the whole log at each connection. What the file holds already is skipped by count; where the replay
does not begin like the file does (the server may keep the end of a long log only), by time. Each line of the file is
`<timestamp> <text>`, so the file alone says how far it has come, after a crash as well. Only one process mirrors at a
time, and holds a lock on the file for that; any other reads it.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

from .. import stopping
from ..errors import UserError
from ..wording import without_secrets
from .hf_client import http_error, is_transient

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FIRST_LINE = "===== Job started"
"""The server's own line at the head of every replay (HfApi.fetch_job_logs leaves it out, too)."""
KEEP_ALIVE_S = 30.0
"""Between the comments that the server sends into a silent stream."""
RECONNECT_S = 2.0
DRAINED_S = 5.0
"""Silence after which the replay of a finished job counts as whole, where the server keeps the stream open."""
LET_GO_S = 15.0
"""For another process to write the end of the log."""
FINISH_S = 120.0
"""For the whole log of a finished job."""


class TornStream(Exception):
    """The stream ended in order, in the middle of an event: a proxy cut it."""


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of a job's output."""

    timestamp: str
    """ISO 8601 in UTC, as the server has it."""
    text: str

    @property
    def time(self) -> datetime:
        """When it was printed."""
        return datetime.fromisoformat(self.timestamp)


Replay = Callable[[float], Generator[LogLine]]
"""Opens the log from its beginning; ends in order, or raises, also after so many seconds of silence."""


def replay(api: HfApi, namespace: str, job_id: str, silence_s: float) -> Generator[LogLine]:
    """Yield the job's log from its beginning, and what comes after it, until the server closes the stream.

    Raises:
        HTTPError: The connection broke, the server refused, or nothing came for `silence_s` seconds.
        TornStream: The stream ended in the middle of a line.
    """
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = f"{api.endpoint}/api/jobs/{namespace}/{job_id}/logs"
    headers = build_hf_headers(token=api.token)
    with get_session().stream("GET", url, headers=headers, timeout=silence_s) as response:
        if response.status_code != 200:
            response.read()
            hf_raise_for_status(response)
        for line in response.iter_lines():
            if line.startswith("data: {"):
                event = _event(line.removeprefix("data: "))
                if not event["data"].startswith(FIRST_LINE):
                    yield LogLine(timestamp=event["timestamp"], text=without_secrets(event["data"]).replace("\n", " "))


def _event(text: str) -> dict[str, str]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TornStream(f"the stream ended in the middle of {text[:60]}") from error


def read_lines(path: Path) -> list[LogLine]:
    """Return the lines of a mirrored log; a torn last one is left out."""
    if not path.exists():
        return []
    whole = path.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
    parts = (line.partition(" ") for line in whole)
    return [LogLine(timestamp=timestamp, text=text) for timestamp, _, text in parts]


class Reading(NamedTuple):
    """How one reading of the log went."""

    added: int
    """Lines that were new."""
    end: Literal["in order", "silence", "broken", "refused"]


@dataclass
class Held:
    """What a mirrored file says about how far it has come."""

    first: LogLine | None = None
    lines: int = 0
    last: str = ""
    """The newest timestamp."""
    at_last: int = 0
    """Lines that have it."""

    def add(self, line: LogLine) -> None:
        """Take one more line into account."""
        self.first = self.first or line
        self.lines += 1
        self.at_last = self.at_last + 1 if line.timestamp == self.last else 1
        self.last = line.timestamp

    def without(self, lines: Iterator[LogLine]) -> Iterator[LogLine]:
        """Yield of a replay only what the file does not hold yet."""
        count, last, at_last = self.lines, self.last, self.at_last
        starts_alike = True
        for number, line in enumerate(lines):
            if number == 0:
                starts_alike = line == self.first
            if starts_alike:
                is_old = number < count
            elif line.timestamp == last:
                is_old, at_last = at_last > 0, at_last - 1
            else:
                is_old = line.timestamp < last
            if not is_old:
                yield line


class LogMirror:
    """Keeps a file equal to a job's log, in a thread of its own.

    Args:
        source: Opens the log.
        path: The file; what it holds already is believed.
    """

    def __init__(self, source: Replay, path: Path) -> None:
        self._source = source
        self._path = path
        self._file: IO[bytes] | None = None
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._held = Held()

    def follow(self) -> None:
        """Begin to mirror in the background, unless that goes on already, here or in another process."""
        if self._file is None and not self._ended.is_set() and self._take_over():
            threading.Thread(target=self._keep_up, daemon=True, name=f"log-{self._path.name}").start()

    def finish(self) -> bool:
        """Mirror the whole log of a job that has ended, and let the file go; tell whether it can be called whole.

        A stream that ends in order may have been cut in order. So it is read until one reading from the first line to
        the last brings nothing new.
        """
        self._ended.set()
        until, is_whole = time.monotonic() + FINISH_S, False
        while self._file is None and not self._take_over():  # another process follows the job, and sees its end, too
            if time.monotonic() > until - FINISH_S + LET_GO_S:
                return False
            stopping.pause(RECONNECT_S)
        try:
            while not is_whole and time.monotonic() < until:
                reading = stopping.unless_stopped(lambda: self._read_once(DRAINED_S, by_thread=False))
                if reading.end == "refused":
                    break
                is_whole = reading.added == 0 and reading.end != "broken"
                stopping.pause(RECONNECT_S if reading.end == "broken" else 0)
        finally:
            self.close()
        return is_whole

    def close(self) -> None:
        """Let the file go; the thread ends with the next line that it gets."""
        self._ended.set()
        with self._writing:
            if self._file:
                self._file.close()
            self._file = None

    def _keep_up(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            reading = self._read_once(2.5 * KEEP_ALIVE_S, by_thread=True)
            pause = RECONNECT_S if reading.added else min(max(RECONNECT_S, 2 * pause), KEEP_ALIVE_S)

    def _read_once(self, silence_s: float, *, by_thread: bool) -> Reading:
        """Read the log from its beginning, and add what is new."""
        added = 0
        try:
            with closing(self._source(silence_s)) as lines:
                for line in self._held.without(lines):
                    if not self._add(line, by_thread=by_thread):
                        return Reading(added, "broken")
                    added += 1
        except TornStream:
            return Reading(added, "broken")
        except UserError:  # the token is gone
            return Reading(added, "refused")
        except http_error() as error:
            if not is_transient(error):
                return Reading(added, "refused")
            return Reading(added, "silence" if type(error).__name__ == "ReadTimeout" else "broken")
        return Reading(added, "in order")

    def _add(self, line: LogLine, *, by_thread: bool) -> bool:
        with self._writing:
            if self._file is None or (by_thread and self._ended.is_set()):
                return False
            self._file.write(f"{line.timestamp} {line.text}\n".encode())
            self._file.flush()
            self._held.add(line)
            return True

    def _take_over(self) -> bool:
        """Open the file and become the only one who writes to it; cut off what a crash left half written."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        os.ftruncate(file.fileno(), self._path.read_bytes().rfind(b"\n") + 1)
        self._held = Held()
        for line in read_lines(self._path):
            self._held.add(line)
        self._file = file
        return True
