"""Calls a person where one is needed, and at the end: by a command, a webhook, or the terminal's bell.

A listener like any other. What it cannot deliver it says once on stderr: a run never ends for the sake of a message.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import TextIO

from ..tools.facts import Ended, Repair
from ..tools.journal import FACTS, Event, Listener
from ..tools.settings import Settings
from ..tools.wording import without_secrets

TIMEOUT_S = 10.0
"""For a command or a server; the run waits for it."""

Way = Callable[[Event, str], None]


class Notifier:
    """Tells of every event that is for a person, by every way that the settings name.

    Args:
        settings: Which ways.
        stream: Where the bell rings, and where it is said that a way does not work.
    """

    def __init__(self, settings: Settings, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._failed: set[str] = set()
        self._ways: dict[str, Way] = {}
        if settings.notify_command:
            self._ways["notify_command"] = lambda _, text: _start(settings.notify_command or "", text)
        if settings.notify_url:
            self._ways["notify_url"] = lambda event, text: _post(settings.notify_url or "", event, text)
        if settings.notify_bell:
            self._ways["notify_bell"] = lambda *_: self._ring()

    def __call__(self, event: Event) -> None:
        """Tell of one event, if it is for a person."""
        if text := message_of(event):
            self.tell(event, text)

    def tell(self, event: Event, text: str) -> None:
        """Send these words about this event."""
        text = without_secrets(f"ftagent {event.run}: {text}")
        for name, way in self._ways.items():
            try:
                way(event, text)
            except (OSError, ValueError, HTTPException, subprocess.SubprocessError) as error:
                if name not in self._failed:
                    print(f"{name} does not work: {without_secrets(str(error))}", file=self._stream)
                self._failed.add(name)

    def _ring(self) -> None:
        self._stream.write("\a")
        self._stream.flush()


def notifiers(settings: Settings) -> list[Listener]:
    """Return the listener that calls a person, or none where the settings name no way."""
    named = settings.notify_command or settings.notify_url or settings.notify_bell
    return [Notifier(settings)] if named else []


def message_of(event: Event) -> str | None:
    """Return what a person should hear of this event, None where nobody is needed."""
    if event.kind in ("alert", "error"):
        return f"{event.data.get('rule') or event.data['code']}: {event.data.get('text') or event.data['message']}"
    if event.kind in ("asks", "watched"):
        return event.data["text"]
    match FACTS[event.kind].model_validate(event.data) if event.seq is not None else None:
        case Repair(rung=None) as repair:
            return f"a person must decide: {repair.words}"
        case Ended() as ended:
            return f"{ended.status.replace('_', ' ')}: {ended.reason}"
        case _:
            return None


def _start(command: str, text: str) -> None:
    subprocess.run([*shlex.split(command), text], check=True, timeout=TIMEOUT_S, capture_output=True)


def _post(url: str, event: Event, text: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"`{url}` is no http(s) URL")
    body = json.dumps({"run": event.run, "kind": event.kind, "text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):
        pass
