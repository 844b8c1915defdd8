"""Faults on demand: what goes wrong, on which request, scripted by the test.

    hub.faults.on("POST", "/api/jobs/*", Status(500))                      the first such request answers 500
    hub.faults.on("GET", "/api/jobs/*/logs", Cut(after_bytes=300), times=3)
    hub.faults.on("POST", "/api/jobs/*", Cut(), nth=2)                     done, but the answer is lost

A path is matched as a whole, `*` stands for anything. The nth matching request is hit, and the ones after it, `times`
in all. The request log tells what was asked: `hub.requests`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True, kw_only=True)
class Before:
    """Does something on the Hub just before the request is answered, such as losing a job: `hub.jobs.vanish`."""

    act: Callable[[str], object]
    """Gets the path."""


@dataclass(frozen=True)
class Status:
    """Refuses with a status instead of doing anything."""

    status: int
    message: str = "a fault on demand"
    retry_after_s: float | None = None
    """Sent as `Retry-After`, with a 429 or a 503."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Does what was asked, and breaks the connection after so many bytes of the answer's body.

    With 0 bytes not even the status arrives: the answer is lost. The connection breaks by a TCP `reset`, by a `close`
    in the middle of the body, or it stays and the body `end`s in order: so a proxy ends a long stream. They matter
    apart: `huggingface_hub` 1.33 resumes a download after a close, and gives up after a reset (`httpx.ReadError`).
    """

    after_bytes: int = 0
    by: Literal["reset", "close", "end"] = "reset"


@dataclass(frozen=True, kw_only=True)
class Refuse:
    """Breaks the connection before anything is done."""


@dataclass(frozen=True, kw_only=True)
class Slow:
    """Sends the answer's body in small pieces, with a pause before each."""

    piece_bytes: int = 64
    pause_s: float = 0.05


Action = Before | Status | Cut | Refuse | Slow


@dataclass(kw_only=True)
class Fault:
    """One scripted fault, and how often its request has come."""

    method: str
    path: str
    action: Action
    nth: int
    times: int
    seen: int = 0

    def hits(self, method: str, path: str) -> bool:
        """Count a request, and tell whether it is one to break."""
        if method != self.method or not fnmatchcase(path, self.path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times

    @property
    def fired(self) -> int:
        """How often it has struck."""
        return min(max(0, self.seen - self.nth + 1), self.times)


@dataclass
class Faults:
    """What a test has scripted, in order; the first that hits wins."""

    scripted: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, method: str, path: str, action: Action, *, nth: int = 1, times: int = 1) -> Fault:
        """Script a fault."""
        fault = Fault(method=method, path=path, action=action, nth=nth, times=times)
        with self._lock:
            self.scripted.append(fault)
        return fault

    def clear(self) -> None:
        """Let everything go well from now on."""
        with self._lock:
            self.scripted.clear()

    def strike(self, method: str, path: str) -> Action | None:
        """Return what goes wrong with this request; every fault that it matches counts it."""
        with self._lock:
            hit = [fault.action for fault in self.scripted if fault.hits(method, path)]
        return hit[0] if hit else None


class FaultyAnswers:
    """Puts the scripted faults between the app and the network, and notes every request.

    Args:
        app: What answers when nothing goes wrong.
        faults: What was scripted.
        note: Gets method, path and status of every request; no status where the connection broke before it.
    """

    def __init__(self, app: ASGIApp, faults: Faults, note: Callable[[str, str, int | None], None]) -> None:
        self.app = app
        self.faults = faults
        self.note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        action = self.faults.strike(method, path)
        status: list[int] = []

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and not status:
                status.append(message["status"])
                self.note(method, path, message["status"])
            await send(message)

        breaks = await self._answer(action, scope, receive, noted)
        if not status:
            self.note(method, path, None)
        if breaks:
            await _break(send, breaks)

    async def _answer(
        self, action: Action | None, scope: Scope, receive: Receive, send: Send
    ) -> Literal["reset", "close"] | None:
        """Answer as the fault wants it; tell how the connection is to be broken after that."""
        match action:
            case Status():
                await _refuse(action, send)
            case Refuse():
                return "reset"
            case Cut():
                await _cut(self.app, action, scope, receive, send)
                return None if action.by == "end" else action.by
            case Slow():
                await self.app(scope, receive, _slow(action, send))
            case Before():
                action.act(scope["path"])
                await self.app(scope, receive, send)
            case None:
                await self.app(scope, receive, send)
        return None


async def _refuse(action: Status, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-error-message", action.message.encode())]
    if action.retry_after_s is not None:
        headers.append((b"retry-after", b"%g" % action.retry_after_s))
    await send({"type": "http.response.start", "status": action.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": action.message}).encode()})


async def _cut(app: ASGIApp, action: Cut, scope: Scope, receive: Receive, send: Send) -> None:
    gone = asyncio.Event()
    left = action.after_bytes

    async def sent(message: Message) -> None:
        nonlocal left
        if gone.is_set():
            return
        if not action.after_bytes:
            gone.set()
            return
        body = message.get("body", b"")
        if message["type"] == "http.response.start" or len(body) < left:
            left -= len(body)
            await send(message)
            return
        await send({**message, "body": body[:left], "more_body": action.by != "end"})
        gone.set()

    async def received() -> Message:
        """Tell the app that the client is gone, as soon as it is: an endless stream ends by that."""
        asked = asyncio.ensure_future(receive())
        left_alone = asyncio.ensure_future(gone.wait())
        done, pending = await asyncio.wait({asked, left_alone}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return asked.result() if asked in done else {"type": "http.disconnect"}

    await app(scope, received, sent)


def _slow(action: Slow, send: Send) -> Send:
    async def sent(message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or not body:
            await send(message)
            return
        for start in range(0, len(body), action.piece_bytes):
            await asyncio.sleep(action.pause_s)
            piece = body[start : start + action.piece_bytes]
            is_last = start + len(piece) >= len(body)
            await send({**message, "body": piece, "more_body": not is_last or message.get("more_body", False)})

    return sent


async def _break(send: Any, by: Literal["reset", "close"]) -> None:
    """Break the connection below uvicorn: `send` is a method of its request cycle, which has the transport."""
    await asyncio.sleep(0.02)  # what was sent before leaves the machine first: a reset overtakes it
    cycle = send.__self__
    if by == "reset" and not cycle.transport.is_closing():  # a client that has left already has no socket here
        linger = struct.pack("ii", 1, 0)
        cycle.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    cycle.transport.abort()
    # uvicorn takes an app that returns earlier for a broken one; a body shorter than the cut was sent whole
    while not (cycle.disconnected or cycle.response_complete):
        await asyncio.sleep(0.001)
