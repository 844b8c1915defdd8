"""Many questions to one OpenAI-compatible server: as many at a time as it has slots, each answer kept as it comes.

Answers go to a file, one JSON object a line, on the disk before the next question of that slot is asked. A killed
process loses the answers that were under way, and the next one asks only for what the file does not have.

ftagent asks with it on this machine, and jobs bring it along to ask there: it needs `lines.py`, and no package.
"""

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

if __package__:
    from .lines import append_line, read_lines
else:  # in a job, beside it
    from lines import append_line, read_lines

MODEL = "model"
"""What every server calls the one model that it serves."""
ANSWER_TIMEOUT_S = 300

Turns = list[dict[str, Any]]
OnProgress = Callable[[int, int], None]


class ServerFailed(Exception):
    """A server refused a request, or did not answer."""


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


Say = Callable[[Question], Told]
Judge = Callable[[Question, Told], dict[str, Any]]


def call(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send one request, past any proxy that the environment names: the server is on this machine.

    Returns what it answers, an empty object where it answers nothing.

    Raises:
        ServerFailed: The server refuses the request, or does not answer.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers={"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_TIMEOUT_S) as response:
            return json.loads(response.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise ServerFailed(f"answered {path} with {error.code}: {error.read().decode()[:500]}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ServerFailed(f"did not answer {path}: {error}") from error


def complete(url: str, question: Question, decoding: Decoding) -> Told:
    """Ask once, over `/v1/chat/completions` or `/v1/completions`.

    Raises:
        ServerFailed: The server refuses the question, or does not answer.
    """
    body: dict[str, Any] = {
        "model": MODEL,
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


def ask_server(url: str, decoding: Decoding) -> Say:
    """Return what answers a question by asking a server."""
    return partial(complete, url, decoding=decoding)


def answer_all(
    say: Say, questions: Sequence[Question], *, file: Path, slots: int, judge: Judge, on_progress: OnProgress
) -> dict[str, dict[str, Any]]:
    """Ask what the file does not have yet, and return every question's line by its key.

    Args:
        say: Answers one question, such as `ask_server`; called in as many threads as there are slots.
        questions: All of them; those whose key has a line are not asked again.
        file: Where the lines go; appended to.
        slots: How many questions are answered at a time.
        judge: Called with each answer, in the thread that asked; what it returns is kept in the line.
        on_progress: Called with the number of lines there are, and of all.

    Raises:
        ServerFailed: The server failed; the lines so far are kept.
    """
    known = read_lines(file)
    missing = [question for question in questions if question.key not in known]
    lock = threading.Lock()

    def ask(question: Question) -> None:
        told = say(question)
        line = line_of(question, told) | judge(question, told)
        with lock:
            append_line(file, line)
            known[question.key] = line
            on_progress(sum(q.key in known for q in questions), len(questions))

    if missing:
        _in_threads(ask, missing, slots)
    return {question.key: known[question.key] for question in questions}


def line_of(question: Question, told: Told) -> dict[str, Any]:
    """Return an answer as it is kept."""
    return {"key": question.key, "text": told.text, "tokens": told.tokens, "stopped": told.stopped}


def told_in(line: dict[str, Any]) -> Told:
    """Return the answer that a line keeps."""
    return Told(text=line["text"], stopped=line["stopped"], tokens=line["tokens"])


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
