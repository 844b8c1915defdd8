"""A Hub that answers every request alike: enough for a client to fail as it does on the real one."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[str, int, dict[str, str]]
"""A pattern for `METHOD /path`, the status, and headers; a header `body` is the body, `cut` breaks the connection."""


class CannedHub:
    """A context manager around a server on loopback.

    Args:
        answers: The first whose pattern is found in `METHOD /path` is given; without any, 404.
    """

    def __init__(self, answers: Sequence[Answer]) -> None:
        handler = type("Handler", (_Handler,), {"answers": tuple(answers)})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> CannedHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    answers: tuple[Answer, ...]
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        asked = f"{self.command} {self.path}"
        status, headers = next(((s, h) for pattern, s, h in self.answers if re.search(pattern, asked)), (404, {}))
        message = headers.get("x-error-message", "")
        body = headers.get("body", json.dumps({"error": message})).encode()
        self.send_response(status)
        for name, value in headers.items():
            if name not in ("body", "cut"):
                self.send_header(name, value)
        self.send_header("x-request-id", "Root=1-made")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body) + 1000 if "cut" in headers else len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = "cut" in headers

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the client's words are what counts."""
