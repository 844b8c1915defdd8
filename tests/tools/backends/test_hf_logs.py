from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ftagent.tools.backends import hf_logs
from ftagent.tools.backends.hf_client import http_error
from ftagent.tools.backends.hf_logs import LogLine, LogMirror, read_lines
from hypothesis import given
from hypothesis import strategies as st

Until = Callable[[Callable[[], object]], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_logs, "RECONNECT_S", 0.01)


def log(count: int, *, per_ms: int = 3) -> list[LogLine]:
    """Lines of which several have the same time, and several the same text."""
    return [LogLine(timestamp=f"2026-01-01T00:00:{n // per_ms:02}.000Z", text=f"line {n % 4}") for n in range(count)]


class Broken(http_error()):  # of httpx, or of httpx2 under huggingface_hub 2
    """A connection that broke, or a refusal."""


class Server:
    """Replays a log, each time cut as it is told; None stands for the whole."""

    def __init__(self, lines: list[LogLine], *cuts: int | None, forgets: int = 0) -> None:
        self.lines = lines
        self.cuts: Iterator[int | None] = iter(cuts)
        self.forgets = forgets
        self.readings = 0

    def __call__(self, silence_s: float) -> Generator[LogLine]:
        cut = next(self.cuts, None)
        self.readings += 1
        for number, line in enumerate(self.lines[self.forgets if self.readings > 1 else 0 :]):
            if number == cut:
                raise Broken("reset")
            yield line


def texts(path: Path) -> list[str]:
    return [line.text for line in read_lines(path)]


@given(cuts=st.lists(st.integers(0, 20), max_size=6), count=st.integers(0, 20))
def test_wherever_the_stream_breaks_each_line_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], count: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "train.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf_logs, "RECONNECT_S", 0)
        assert LogMirror(Server(log(count), *cuts), path).finish()
    assert read_lines(path) == log(count)


def test_a_server_that_forgot_the_beginning_repeats_nothing(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    server = Server(log(20), 10, forgets=5)
    assert LogMirror(server, path).finish()
    assert read_lines(path) == log(20)


def test_what_a_crash_left_half_written_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    assert LogMirror(Server(log(9)), path).finish()
    path.write_bytes(path.read_bytes()[:-4])
    assert read_lines(path) == log(8)
    assert LogMirror(Server(log(12)), path).finish()
    assert read_lines(path) == log(12)


def test_only_one_writes_and_the_other_reads(tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_logs, "LET_GO_S", 0.05)
    path = tmp_path / "train.log"
    first, second = LogMirror(Server(log(5)), path), LogMirror(Server(log(5)), path)
    first.follow()
    until(lambda: len(read_lines(path)) == 5)
    second.follow()
    assert not second.finish()
    assert first.finish()
    assert read_lines(path) == log(5)


def test_the_log_grows_while_it_is_followed(tmp_path: Path, until: Until) -> None:
    path, server = tmp_path / "train.log", Server([])
    mirror = LogMirror(server, path)
    mirror.follow()
    for n in range(1, 6):
        server.lines = log(n)
        until(lambda n=n: len(read_lines(path)) == n)
    mirror.close()
    server.lines = log(9)
    time.sleep(0.1)
    assert read_lines(path) == log(5)


def test_a_refusal_ends_it_and_is_told(tmp_path: Path) -> None:
    def refuse(silence_s: float) -> Generator[LogLine]:
        error = Broken("no such job")
        error.response = SimpleNamespace(status_code=404)  # type: ignore[attr-defined]
        raise error
        yield

    assert not LogMirror(refuse, tmp_path / "train.log").finish()


def test_a_log_with_foreign_letters_and_bars_comes_through(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    line = LogLine(timestamp="2026-01-01T00:00:00.000Z", text="1/3\r2/3\rgrüße \u2028 done")
    assert LogMirror(Server([line]), path).finish()
    assert read_lines(path) == [line]
