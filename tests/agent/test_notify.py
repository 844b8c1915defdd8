"""Messages to a person: by real commands, over real HTTP on loopback, and never at the cost of a run."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.cli import main
from ftagent.agent.notify import Notifier, message_of
from ftagent.tools.facts import Ended
from ftagent.tools.journal import Event
from ftagent.tools.settings import Settings

from .instant import REQUEST, instant_tools

__all__ = ["instant_tools"]


def event(kind: str, seq: int | None = None, **data: Any) -> Event:
    return Event(run="20260101-000000-0000", seq=seq, at=datetime.now(UTC), kind=kind, data=data)


ALERT = event("alert", level="error", rule="loss_not_finite", text="train/loss is NaN", step=4)
ENDED = event("ended", 9, **Ended(status="completed", reason="all is there").model_dump())


class Hook(HTTPServer):
    """A webhook's receiver."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.answer = 204
        super().__init__(("127.0.0.1", 0), Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Receiver(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def test_a_webhook_gets_the_run_the_kind_and_the_words(hook: Hook) -> None:
    notifier = Notifier(Settings(notify_url=hook.url))
    notifier(ALERT)
    notifier(event("progress", step=3, loss=1.0))
    notifier(ENDED)
    text = "ftagent 20260101-000000-0000: loss_not_finite: train/loss is NaN"
    assert hook.received[0] == {"run": "20260101-000000-0000", "kind": "alert", "text": text}
    assert [message["kind"] for message in hook.received] == ["alert", "ended"]
    assert hook.received[1]["text"].endswith("completed: all is there")


def test_a_command_gets_the_words_as_one_argument(tmp_path: Path) -> None:
    said = tmp_path / "said"
    code = f"import sys; open({str(said)!r}, 'a').write(sys.argv[1])"
    Notifier(Settings(notify_command=f'"{sys.executable}" -c "{code}"'))(
        event("error", code="approval", message="it `needs` $(an) approval; 'now'", hint="")
    )
    assert said.read_text() == "ftagent 20260101-000000-0000: approval: it `needs` $(an) approval; 'now'"


def test_the_bell_rings_in_the_terminal() -> None:
    terminal = io.StringIO()
    Notifier(Settings(notify_bell=True), terminal)(ENDED)
    assert terminal.getvalue() == "\a"


def test_a_secret_in_a_message_stays_here(hook: Hook) -> None:
    secret = "hf_" + "a" * 34
    Notifier(Settings(notify_url=hook.url))(event("error", code="tool", message=f"token {secret} refused", hint=""))
    assert secret not in json.dumps(hook.received)
    assert "refused" in hook.received[0]["text"]


@pytest.mark.parametrize(
    "settings",
    [
        {"notify_url": "http://127.0.0.1:9/nobody"},
        {"notify_url": "ftp://example.org"},
        {"notify_url": "http://[broken"},
        {"notify_command": "no-such-command-anywhere"},
        {"notify_command": 'an "open quote'},
        {"notify_command": f"{sys.executable} -c raise(SystemExit(3))"},
    ],
)
def test_a_way_that_fails_is_told_once_and_tried_again(settings: dict[str, Any]) -> None:
    terminal = io.StringIO()
    notifier = Notifier(Settings(**settings, notify_bell=True), terminal)
    notifier(ALERT)
    notifier(ENDED)
    assert terminal.getvalue().count("does not work") == 1
    assert terminal.getvalue().count("\a") == 2


def test_a_server_that_fails_once_still_gets_the_end(hook: Hook) -> None:
    hook.answer = 500
    notifier = Notifier(Settings(notify_url=hook.url), io.StringIO())
    notifier(ALERT)
    hook.answer = 204
    notifier(ENDED)
    assert [message["kind"] for message in hook.received] == ["alert", "ended"]


def test_a_run_calls_at_its_end_and_where_it_needs_an_approval(
    workdir: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTAGENT_NOTIFY_URL", hook.url)
    assert main([REQUEST]) == 3
    assert "needs an approval" in hook.received[-1]["text"]
    assert main(["resume", "--yes"]) == 0
    assert hook.received[-1]["kind"] == "ended"


def test_a_run_arrives_though_nobody_can_be_called(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FTAGENT_NOTIFY_COMMAND", "no-such-command-anywhere")
    assert main([REQUEST, "--yes"]) == 0
    assert capsys.readouterr().err.count("notify_command does not work") == 1


def test_what_needs_nobody_says_nothing() -> None:
    assert message_of(event("step", tool="preflight")) is None
    assert message_of(event("note", 1, text="all is well")) is None
