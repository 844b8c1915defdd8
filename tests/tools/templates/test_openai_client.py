"""Answers survive whatever ends the process that asks, and nothing is asked twice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.templates.lines import read_lines
from ftagent.tools.templates.openai_client import (
    Decoding,
    Question,
    ServerFailed,
    Told,
    answer_all,
    ask_server,
    complete,
)

QUESTIONS = [Question(key=str(n), prompt=f"{n}?") for n in range(12)]


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible server that echoes, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0
        self.broken_at: int | None = None
        self.seconds = 0.02
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.asked.append(body)
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            is_broken = server.broken_at is not None and len(server.asked) > server.broken_at
        time.sleep(server.seconds)
        with server.lock:
            server.at_once -= 1
        text = f"echo {body.get('prompt') or body['messages'][-1]['content']}"
        message = {"text": text} if "prompt" in body else {"message": {"content": text}}
        answer = {"choices": [{**message, "finish_reason": "stop"}], "usage": {"completion_tokens": 2}}
        self.send_response(500 if is_broken else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def _answer(server: Server, file: Path, slots: int = 4, told: list[tuple[int, int]] | None = None) -> dict[str, Any]:
    return answer_all(
        ask_server(server.url, Decoding(max_tokens=5)),
        QUESTIONS,
        file=file,
        slots=slots,
        judge=lambda question, told: {"is_echo": told.text == f"echo {question.prompt}"},
        on_progress=lambda done, total: told.append((done, total)) if told is not None else None,
    )


def test_as_many_are_asked_at_a_time_as_there_are_slots(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    lines = _answer(server, tmp_path / "a.jsonl", slots=3, told=told)
    assert server.most_at_once == 3
    assert list(lines) == [question.key for question in QUESTIONS]
    assert all(line["is_echo"] for line in lines.values())
    assert sorted(told) == [(n, 12) for n in range(1, 13)]


def test_chats_and_plain_text_go_to_their_own_endpoints_with_the_same_decoding(server: Server) -> None:
    decoding = Decoding(max_tokens=7, stop=("x",), temperature=0.8, top_p=0.9)
    chat = Question(key="1", prompt=[{"role": "user", "content": "hi"}], seed=3)
    assert complete(server.url, chat, decoding) == Told(text="echo hi", stopped=True, tokens=2)
    complete(server.url, Question(key="1", prompt="hi", seed=3), decoding)
    settings = [{k: v for k, v in body.items() if k not in ("messages", "prompt")} for body in server.asked]
    model = {"model": "model"}
    assert (
        settings[0]
        == settings[1]
        == model | {"max_tokens": 7, "temperature": 0.8, "top_p": 0.9, "seed": 3, "stop": ["x"]}
    )


def test_a_server_that_fails_costs_no_answer_that_was_there(server: Server, tmp_path: Path) -> None:
    server.broken_at = 5
    with pytest.raises(ServerFailed, match="with 500"):
        _answer(server, tmp_path / "a.jsonl", slots=1)
    assert len(server.asked) == 6  # none is begun after the failure
    server.broken_at = None
    assert len(_answer(server, tmp_path / "a.jsonl", slots=1)) == 12
    assert len(server.asked) == 6 + 7


def test_a_line_that_was_left_half_written_is_asked_again(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    _answer(server, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b"{") + 9])
    assert len(_answer(server, file)) == 12
    assert len(server.asked) == 13
    assert len(read_lines(file)) == 12


def test_a_killed_process_goes_on_where_it_was(
    server: Server, tmp_path: Path, until: Callable[[Callable[[], object]], None]
) -> None:
    file, server.seconds = tmp_path / "a.jsonl", 0.2
    code = f"""
from pathlib import Path
from ftagent.tools.templates.lines import read_lines
from ftagent.tools.templates.openai_client import *
questions = [Question(key=str(n), prompt=f"{{n}}?") for n in range(12)]
answer_all(ask_server({server.url!r}, Decoding(max_tokens=5)), questions,
           file=Path({str(file)!r}), slots=1, judge=lambda *_: {{}}, on_progress=lambda *_: None)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: file.exists() and file.read_bytes().count(b"\n") >= 3)
    process.kill()
    process.wait()
    kept, before = len(read_lines(file)), len(server.asked)
    assert 3 <= kept < 12
    lines = answer_all(
        ask_server(server.url, Decoding(max_tokens=5)),
        QUESTIONS,
        file=file,
        slots=1,
        judge=lambda *_: {},
        on_progress=lambda *_: None,
    )
    assert len(lines) == 12
    assert len(server.asked) - before == 12 - kept
