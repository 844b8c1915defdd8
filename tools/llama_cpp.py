"""llama.cpp as packages bring it: its converter, its quantiser and its server, each in a process of its own.

A crash in C++ ends that process and not ftagent. What none of the packages brings: the IQ quantisations, since the
quantiser takes no importance matrix (how the others get theirs: `templates/quantise.py`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, BinaryIO

from .bounds import BOUNDS
from .errors import InputError, ToolError
from .settings import Settings
from .templates import openai_client
from .templates.openai_client import ServerFailed
from .worker import WORKER_ENVIRONMENT, run_worker

# What the converter writes by itself, and what the quantiser makes of 16-bit weights (`llama_ftype` in llama.h).
CONVERTED = {"F32": "f32", "F16": "f16", "BF16": "bf16", "Q8_0": "q8_0"}
QUANTISED = {
    "Q4_0": 2,
    "Q4_1": 3,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_S": 11,
    "Q3_K_M": 12,
    "Q3_K_L": 13,
    "Q4_K_S": 14,
    "Q4_K_M": 15,
    "Q5_K_S": 16,
    "Q5_K_M": 17,
    "Q6_K": 18,
}
SHORT = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

CONVERT_TIMEOUT_S = 2 * 3600
LOAD_TIMEOUT_S = 300

# A line of llama.cpp's log (common/log.cpp): time, level, function, message.
LLAMA_CPP_ERROR = re.compile(r"[\d.]+ E (.+)")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a served model said, and whether it ended by itself."""

    text: str
    stopped: bool
    tokens_per_s: float | None


def known_quantisation(name: str) -> str:
    """Return the quantisation under llama.cpp's full name.

    Raises:
        InputError: llama.cpp has none of this name, or needs an importance matrix for it.
    """
    full = SHORT.get(name.upper(), name.upper())
    if full not in CONVERTED and full not in QUANTISED:
        raise InputError(
            f"`{name}` is no quantisation that can be made here.",
            hint=f"one of {', '.join([*CONVERTED, *QUANTISED])}",
        )
    return full


def convert(settings: Settings, model: Path, out: Path, quantisation: str, *, log: Path) -> None:
    """Convert a model folder to a GGUF file of one of the types in `CONVERTED`.

    Raises:
        ToolError: llama.cpp's converter does not know the architecture or the tokenizer, or is not installed.
    """
    request = {
        "model": str(model),
        "out": str(out),
        "type": CONVERTED[quantisation],
        "checkout": str(settings.llama_cpp) if settings.llama_cpp else None,
    }
    run_worker(settings, "convert.py", request, log=log, timeout_s=CONVERT_TIMEOUT_S)


def step_for(quantisation: str) -> dict[str, Any]:
    """Return how one quantisation is made, and the bounds that it must keep, as `templates/exported.py` reads it."""
    bounds = BOUNDS[quantisation]
    return {
        "name": quantisation,
        "convert": CONVERTED.get(quantisation),
        "ftype": QUANTISED.get(quantisation),
        "perplexity_ratio": bounds.perplexity_ratio,
        "agreement": bounds.agreement,
    }


@contextmanager
def serve(
    settings: Settings, gguf: Path, *, log: Path, context: int = 4096, slots: int = 1, timeout_s: float = LOAD_TIMEOUT_S
) -> Iterator[str]:
    """Serve a GGUF file over an OpenAI-compatible API on this machine, as long as the block lasts.

    Yields the base URL, such as `http://127.0.0.1:40011`; the chat endpoint is `/v1/chat/completions` below it. The
    server ends with the block, and with this process.

    Args:
        settings: Names the interpreter.
        gguf: The model.
        log: Where the server's output goes; appended to.
        context: Tokens of prompt and answer that one request may have.
        slots: Requests that are answered at the same time.
        timeout_s: How long loading may take.

    Raises:
        ToolError: The file does not load, or the server is not installed.
    """
    request = {"gguf": str(gguf), "context": context, "slots": slots}
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="ftagent-") as scratch,
        as_file(files("ftagent.tools.templates") / "serve.py") as script,
        log.open("ab") as log_file,
    ):
        request_file, answer_file = Path(scratch, "request.json"), Path(scratch, "answer.json")
        request_file.write_text(json.dumps(request), encoding="utf-8")
        process = subprocess.Popen(
            [settings.python, str(script), str(request_file), str(answer_file)],
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **WORKER_ENVIRONMENT},
        )
        try:
            yield _when_loaded(process, answer_file, gguf, log_file, timeout_s)
        finally:
            process.kill()
            process.communicate()


def _when_loaded(process: subprocess.Popen[bytes], answer: Path, gguf: Path, output: BinaryIO, timeout_s: float) -> str:
    start, deadline = output.tell(), time.monotonic() + timeout_s
    while not answer.exists():
        if process.poll() is not None:
            raise _could_not_serve(gguf, Path(output.name).read_bytes()[start:].decode(errors="replace"), output.name)
        if time.monotonic() > deadline:
            raise ToolError(f"llama.cpp did not load `{gguf.name}` within {timeout_s:g} s.", hint=f"read {output.name}")
        time.sleep(0.05)
    url = json.loads(answer.read_text(encoding="utf-8"))["url"]
    call(url, "/health")
    return url


def _could_not_serve(gguf: Path, output: str, log: str) -> ToolError:
    """Say why the server ended: the first error that llama.cpp logged, else the last line."""
    lines = [line for line in output.splitlines() if line.strip()] or ["no output"]
    errors = [found[1] for line in lines if (found := LLAMA_CPP_ERROR.match(line))]
    hint = "pip install 'ftagent[demo]'" if lines[-1].startswith("ModuleNotFoundError") else f"read {log}"
    return ToolError(f"llama.cpp could not serve `{gguf.name}`: {[*errors, lines[-1]][0]}", hint=hint)


def ask(url: str, prompt: list[dict[str, Any]] | str, *, max_tokens: int) -> Reply:
    """Ask a served model greedily: a chat through its chat template, plain text as it stands.

    Raises:
        ToolError: The server refuses the prompt, such as one that is longer than its context.
    """
    if isinstance(prompt, str):
        body = call(url, "/completion", {"prompt": prompt, "n_predict": max_tokens, "temperature": 0})
        text, stopped = body["content"], body["stop_type"] == "eos"
    else:
        request = {"messages": prompt, "max_tokens": max_tokens, "temperature": 0}
        body = call(url, "/v1/chat/completions", request)
        choice = body["choices"][0]
        text = choice["message"].get("content") or choice["message"].get("reasoning_content") or ""
        stopped = choice["finish_reason"] == "stop"
    return Reply(text=text.strip(), stopped=stopped, tokens_per_s=body.get("timings", {}).get("predicted_per_second"))


def call(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send one request to the server.

    Raises:
        ToolError: The server refuses the request, or does not answer.
    """
    try:
        return openai_client.call(url, path, body)
    except ServerFailed as error:
        raise ToolError(f"llama.cpp {error}") from error
