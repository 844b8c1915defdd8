"""Many questions to one OpenAI-compatible server: as many at a time as it has slots, each answer kept as it comes.

Answers go to a file, one JSON object a line, on the disk before the next question of that slot is asked. A killed
process loses the answers that were under way, and the next one asks only for what the file does not have.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..journal import cut_torn_line
from ..llama_cpp import call

Turns = list[dict[str, Any]]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How answers are decoded; the same for every model that is compared."""

    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request; the key names its line in the file."""

    key: str
    prompt: Turns | str
    """A chat, or plain text to go on with."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a server answered."""

    text: str
    stopped: bool
    """Whether it ended by itself or at a stop string, and not at the limit."""
    tokens: int


Judge = Callable[[Question, Told], dict[str, Any]]


def complete(url: str, question: Question, decoding: Decoding) -> Told:
    """Ask once, over `/v1/chat/completions` or `/v1/completions`.

    Raises:
        ToolError: The server refuses the question, or does not answer.
    """
    body: dict[str, Any] = {
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "seed": question.seed,
        "stop": list(decoding.stop),
    }
    if isinstance(question.prompt, str):
        answer = call(url, "/v1/completions", body | {"prompt": question.prompt})
        text = answer["choices"][0]["text"]
    else:
        answer = call(url, "/v1/chat/completions", body | {"messages": question.prompt})
        text = answer["choices"][0]["message"].get("content") or ""
    return Told(
        text=text,
        stopped=answer["choices"][0]["finish_reason"] == "stop",
        tokens=answer["usage"]["completion_tokens"],
    )


def answer_all(
    url: str,
    questions: Sequence[Question],
    decoding: Decoding,
    *,
    file: Path,
    slots: int,
    judge: Judge,
    on_progress: OnProgress,
) -> dict[str, dict[str, Any]]:
    """Ask what the file does not have yet, and return every question's line by its key.

    Args:
        url: The server.
        questions: All of them; those whose key has a line are not asked again.
        decoding: How to decode.
        file: Where the lines go; appended to.
        slots: How many questions the server answers at a time.
        judge: Called with each answer, in the thread that asked; what it returns is kept in the line.
        on_progress: Called with the number of lines there are, and of all.

    Raises:
        ToolError: The server failed; the lines so far are kept.
    """
    known = read_lines(file)
    missing = [question for question in questions if question.key not in known]
    lock = threading.Lock()

    def ask(question: Question) -> None:
        told = complete(url, question, decoding)
        line = {"key": question.key, "text": told.text, "tokens": told.tokens, "stopped": told.stopped}
        line |= judge(question, told)
        with lock:
            append_line(file, line)
            known[question.key] = line
            on_progress(sum(q.key in known for q in questions), len(questions))

    if missing:
        _in_threads(ask, missing, slots)
    return {question.key: known[question.key] for question in questions}


def _in_threads(ask: Callable[[Question], None], questions: Iterable[Question], slots: int) -> None:
    """Ask in as many threads as there are slots; a failure or an interruption ends it, and nothing more is begun."""
    is_over = threading.Event()

    def ask_until_over(question: Question) -> None:
        if not is_over.is_set():
            try:
                ask(question)
            except BaseException:
                is_over.set()
                raise

    with ThreadPoolExecutor(slots) as pool:
        try:
            for future in as_completed([pool.submit(ask_until_over, question) for question in questions]):
                future.result()
        finally:
            is_over.set()


def append_line(file: Path, line: dict[str, Any]) -> None:
    """Append one object as a line, and wait for the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        out.write(json.dumps(line).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a file by their keys, and cut one that a killed process left half written."""
    cut_torn_line(file)
    return {line["key"]: line for line in iterate_lines(file)}


def iterate_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines; nothing where there is no file."""
    if file.exists():
        for line in file.read_bytes().splitlines():
            yield json.loads(line)
