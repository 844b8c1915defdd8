"""The example service over real HTTP: events stream, a quote waits for its answer, a run is ended by its client."""

from __future__ import annotations

import json
import runpy
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from ftagent.tools.facts import JobReport
from ftagent.tools.run import Run, find_run
from ftagent.tools.stopping import pause

from ..agent import instant
from ..agent.instant import REQUEST, instant_tools

__all__ = ["instant_tools"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "service.py"


@pytest.fixture
def client(workdir: Path) -> Iterator[httpx.Client]:
    """A client of the service, which works in the test's folder."""
    app = runpy.run_path(str(EXAMPLE))["app"]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as one:
        yield one
    server.should_exit = True
    thread.join()


def _events(client: httpx.Client, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    with client.stream("GET", f"/runs/{number}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))


def _start(client: httpx.Client, **request: Any) -> int:
    return client.post("/runs", json=request).raise_for_status().json()["run"]


def test_a_quote_waits_until_a_client_answers_and_the_stream_tells_the_whole_way(client: httpx.Client) -> None:
    number = _start(client, instruction=REQUEST)
    assert client.post(f"/runs/{number}/approval", json={"approved": "perhaps"}).status_code == 422
    kinds = []
    for kind, data in _events(client, number):
        kinds.append(kind)
        if kind == "quote":
            assert data["reserve_usd"] == 0
            assert client.post(f"/runs/{number}/approval", json={"approved": True}).status_code == 200
    assert kinds[-2:] == ["ended", "end"] and "evaluate_model" in kinds
    assert client.post(f"/runs/{number}/approval", json={"approved": True}).status_code == 409
    assert [kind for kind, _ in _events(client, number)] == kinds, "a late client hears everything"


def test_a_declined_quote_and_a_bad_request_end_their_streams_with_an_error(client: httpx.Client) -> None:
    number = _start(client, instruction=REQUEST)
    for kind, data in _events(client, number):
        if kind == "quote":
            client.post(f"/runs/{number}/approval", json={"approved": False})
        if kind == "error":
            assert data["data"]["code"] == "needs_approval"
    assert [kind for kind, _ in _events(client, number)][-2:] == ["error", "end"]
    assert client.get("/runs/99/events").status_code == 404
    assert [kind for kind, _ in _events(client, _start(client, instruction="make it better"))] == [
        "step",
        "error",
        "end",
    ]


def test_a_client_ends_a_run(client: httpx.Client, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(run: Run) -> JobReport:
        """Wait.

        Args:
            run: The run.
        """
        pause(600)
        return instant.monitor_job(run)

    # What was submitted is no real job; ending it is the backend's business, and tested there.
    monkeypatch.setattr("ftagent.agent.endings.end_work", lambda run: run)
    instant.install(monkeypatch, monitor_job=waits)
    number = _start(client, instruction=REQUEST)
    for kind, data in _events(client, number):
        if kind == "quote":
            client.post(f"/runs/{number}/approval", json={"approved": True})
        if (kind, data.get("data", {}).get("tool")) == ("step", "monitor_job"):
            assert client.delete(f"/runs/{number}").json() == {"cancelled": True}
    assert find_run(workdir).status == "cancelled"
