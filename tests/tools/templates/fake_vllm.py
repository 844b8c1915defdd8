"""Stands in for the command `vllm`: takes its options, is not healthy at first, and echoes over vLLM's own routes.

    python fake_vllm.py NOTE serve MODEL --port N …

NOTE gets a line for each server and each request, so that a test sees what was asked of which model.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NOTE, COMMAND, MODEL, *OPTIONS = sys.argv[1:]
GIVEN = dict(zip(OPTIONS[::2], OPTIONS[1::2], strict=True))
looks = 0


def note(**told: Any) -> None:
    """Write one line."""
    with Path(NOTE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"model": Path(MODEL).name, **told}) + "\n")


class Handler(BaseHTTPRequestHandler):
    """What vLLM answers, as far as a client of ours asks it."""

    def do_GET(self) -> None:
        """Say how it is: ill the first two times."""
        global looks
        looks += self.path == "/health"
        if self.path == "/version":
            self.answer(200, {"version": "0.0.0"})
        else:
            self.answer(200 if looks > 2 else 503, None)

    def do_POST(self) -> None:
        """Echo."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body.get("prompt") or body["messages"][-1]["content"]
        note(asked=asked, served=body["model"])
        if "break" in asked and not Path(f"{NOTE}.broken").exists():
            Path(f"{NOTE}.broken").touch()
            self.answer(500, {"error": "out of something"})
            return
        text = f"{Path(MODEL).name} says {asked}"
        said = {"text": text} if "prompt" in body else {"message": {"content": text}}
        self.answer(200, {"choices": [said | {"finish_reason": "stop"}], "usage": {"completion_tokens": 3}})

    def answer(self, status: int, body: Any) -> None:
        """Send JSON, or nothing."""
        payload = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    note(command=COMMAND, options=GIVEN, has_token="HF_TOKEN" in os.environ, pid=os.getpid())
    ThreadingHTTPServer(("127.0.0.1", int(GIVEN["--port"])), Handler).serve_forever()
