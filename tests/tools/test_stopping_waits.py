"""Work that waits for somebody else is stopped at once: a Hub that never answers, a pause between tries, a log."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from ftagent.tools.backends.hf_client import patiently
from ftagent.tools.backends.hf_logs import LogMirror, replay
from ftagent.tools.errors import Stopped
from ftagent.tools.stopping import Stop, shielded, unless_stopped, working_under
from huggingface_hub import HfApi

SOON_S = 5.0
"""Far below every timeout that is waited for here, and far above what stopping takes on a busy machine."""


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _stopped_after(work: Callable[[], object], pause_s: float = 0.3) -> float:
    """Do the work, have it stopped from another thread, and return how many seconds the stop took."""
    stop, asked = Stop(), []

    def ask() -> None:
        asked.append(time.monotonic())
        stop.ask()

    timer = threading.Timer(pause_s, ask)
    timer.start()
    with working_under(stop), pytest.raises(Stopped):
        work()
    return time.monotonic() - asked[0]


def test_a_hub_that_never_answers_is_given_up(silent: str) -> None:
    api = HfApi(endpoint=silent, token="hf_none")
    assert _stopped_after(lambda: patiently(lambda: api.model_info("a/b", timeout=60), "read")) < SOON_S


def test_a_pause_between_two_tries_ends(silent: str) -> None:
    refused = httpx.Response(503, headers={"Retry-After": "60"}, request=httpx.Request("GET", silent))

    def busy() -> None:
        raise httpx.HTTPStatusError("busy", request=refused.request, response=refused)

    assert _stopped_after(lambda: patiently(busy, "read")) < SOON_S


def test_the_end_of_a_log_is_not_waited_for_and_the_file_is_let_go(silent: str, tmp_path: Path) -> None:
    api = HfApi(endpoint=silent, token="hf_none")
    path = tmp_path / "train.log"
    mirror = LogMirror(lambda silence_s: replay(api, "me", "job", 60.0), path)
    assert _stopped_after(mirror.finish) < SOON_S
    again = LogMirror(lambda _: (line for line in ()), path)
    assert again.finish()  # which takes the file over first


def test_what_must_come_to_its_end_does_and_an_error_arrives_as_it_was() -> None:
    stop = Stop()
    stop.ask()
    with working_under(stop):
        with shielded():
            assert unless_stopped(lambda: 3) == 3
        with pytest.raises(Stopped):
            unless_stopped(lambda: time.sleep(60))
    with working_under(Stop()), pytest.raises(ZeroDivisionError):
        unless_stopped(lambda: 1 // 0)
