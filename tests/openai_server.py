"""An OpenAI-compatible chat server on loopback whose answers a test decides."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(kw_only=True)
class Reply:
    """What the server answers to one request."""

    tool: str | None = None
    arguments: Any = field(default_factory=dict)
    content: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it stands, whatever it is."""
    wait_s: float = 0.0
    """Between two words of an answer that is streamed."""
    cut: bool = False
    """Whether the connection ends in the middle of the body."""


Script = Callable[[dict[str, Any]], Reply]


@dataclass
class OpenAiServer:
    """A running server and what it was asked."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    """Of each answered request, tools and all, by GPT-4's tokenizer."""


@contextmanager
def openai_server(script: Script) -> Iterator[OpenAiServer]:
    """Serve `script` on a free port of 127.0.0.1; it sees each request body and returns the reply."""
    served = OpenAiServer(url="")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.requests.append(body)
            reply = script(body)
            payload = reply.body if reply.body is not None else _payload(served, body, reply)
            if body.get("stream") and reply.status == 200 and reply.body is None:
                payload = _as_stream(json.loads(payload))
                reply.headers = {"Content-Type": "text/event-stream", **reply.headers}
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            sent = payload[: len(payload) // 2] if reply.cut else payload
            for part in sent.splitlines(keepends=True) if reply.wait_s else [sent]:
                self.wfile.write(part)
                time.sleep(reply.wait_s if part.strip() else 0.0)
            self.close_connection = reply.cut

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _payload(served: OpenAiServer, body: dict[str, Any], reply: Reply) -> bytes:
    if reply.status != 200:
        return json.dumps(_error(reply)).encode()
    prompts = [_prompt(request) for request in served.requests]
    cached = max((_same_beginning(prompts[-1], former) for former in prompts[:-1]), default=0)
    counted = len(_tokenizer().encode(prompts[-1], disallowed_special=()))
    served.prompt_tokens.append(counted)
    return json.dumps(_completion(body, reply, counted, counted * cached // len(prompts[-1]))).encode()


def _as_stream(completion: dict[str, Any]) -> bytes:
    """Return an answer as a provider streams it: a word an event, the usage last."""
    message = completion["choices"][0]["message"]
    deltas = [{"role": "assistant", "content": word + " "} for word in (message["content"] or "").split()]
    chunk = {"id": completion["id"], "object": "chat.completion.chunk", "created": 0, "model": completion["model"]}
    events = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({**chunk, "choices": [], "usage": completion["usage"]})
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


def _same_beginning(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _prompt(body: dict[str, Any]) -> str:
    """Return what a provider reads, in its order: tools, then messages."""
    return json.dumps(body.get("tools", [])) + "".join(f"{m['role']}: {m['content']}" for m in body["messages"])


@cache
def _tokenizer() -> Any:
    """Return GPT-4's tokenizer, as litellm's package brings it along."""
    from litellm.litellm_core_utils.default_encoding import encoding

    return encoding


def _completion(body: dict[str, Any], reply: Reply, prompt: int, cached: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.tool is not None:
        arguments = reply.arguments if isinstance(reply.arguments, str) else json.dumps(reply.arguments)
        call = {"id": "call_1", "type": "function", "function": {"name": reply.tool, "arguments": arguments}}
        message["tool_calls"] = [call]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if reply.tool else "stop"}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": 10,
            "total_tokens": prompt + 10,
            "prompt_tokens_details": {"cached_tokens": cached},
        },
    }


def _error(reply: Reply) -> dict[str, Any]:
    return {"error": {"message": reply.content or "no", "type": "error", "code": reply.status}}
