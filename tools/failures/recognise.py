"""Reads one class of failure out of the end of a log, the exit code and the backend's reason; or none.

The last decisive error wins. What came before the last sign of a training that goes on cannot be why it ended, however
much it looks like an error: rows of a dataset print what they like. An exception counts where Python printed its
traceback, with what it was raised from; if nobody knows it, nothing before it is guessed at. Only classes that tend to
follow from others (a process that died, peers that lost each other) send the reader further back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..facts import Failure, Stage
from ..wording import one_line, without_secrets
from .kinds import FailureClass
from .table import BY_NAME, CLASSES

EVIDENCE_LINES = 6
EVIDENCE_CHARS = 300
MESSAGE_LINES = 12
"""Of an exception; what follows is other output."""
ASKED_TO_END = frozenset({-9, -15, 137, 143})
"""Exit codes of a script that something else ended: no exception of its own did."""

# What a training prints while it goes on: a log of transformers, and the line of our own scripts before the first step.
ALIVE = re.compile(r"\{'(loss|eval_loss|train_runtime)': |\d+ rows to train on with [1-9]")
_PREFIX = re.compile(r"^(\x1b\[[\d;]*m)*(\[(rank|default)\d+\]:\s?)?")
_COLOUR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_BAR = re.compile(r"^.*\|\s*\d+/\d+ \[[^\]]*\]\s*(?=Traceback \(most recent call last\))")
_TRACEBACK = re.compile(r"(╭.*)?Traceback \(most recent call last\)")
_FRAME = re.compile(r"[ │╰]")
_CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """How a job ended, in its own words."""

    stage: Stage
    exit_code: int | None = None
    """Negative: the number of the signal; None where the backend does not say."""
    reason: str = ""
    """The backend's, or the rule's that ended it."""
    tail: Sequence[str] = ()
    """The end of the log, oldest line first."""


@dataclass(kw_only=True)
class _Raised:
    """One traceback: where it starts, its frames, and the exception with its message."""

    at: int
    chained: bool
    """Whether it was raised from, or while handling, the one before it."""
    frames: list[str] = field(default_factory=list)
    message: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Found:
    entry: FailureClass
    at: int
    lines: Sequence[str]


def recognise(end: JobEnd) -> Failure | None:
    """Return the class of a failure with the lines that show it, or None where the job did not fail or nobody knows."""
    if end.stage not in ("failed", "timed_out") or (end.stage == "failed" and end.exit_code == 0):
        return None
    found = _in_reason(end) or _in_log(end) or _in_exit_code(end)
    if found is None:
        return None
    entry = found.entry
    lines = [one_line(without_secrets(line), EVIDENCE_CHARS) for line in found.lines[:EVIDENCE_LINES]]
    return Failure(name=entry.name, words=entry.words, evidence=tuple(filter(None, lines)), advice=entry.advice)


def _in_reason(end: JobEnd) -> _Found | None:
    if end.stage == "timed_out":
        return _Found(entry=BY_NAME["timeout"], at=0, lines=[end.reason])
    entry = next((entry for entry in CLASSES if entry.matches("reason", end.reason)), None)
    return _Found(entry=entry, at=0, lines=[end.reason]) if entry else None


def _in_exit_code(end: JobEnd) -> _Found | None:
    entry = next((entry for entry in CLASSES if end.exit_code in entry.exits), None)
    if entry is None:
        return None
    return _Found(entry=entry, at=0, lines=[end.reason or f"exit code {end.exit_code}", *end.tail[-1:]])


def _in_log(end: JobEnd) -> _Found | None:
    """Return the last decisive error of the log."""
    lines = _since_last_life([_plain(line) for line in end.tail])
    said = list(_said(lines))
    raised = [] if end.exit_code in ASKED_TO_END else list(_tracebacks(lines))
    weak: _Found | None = None
    while raised or said:
        chain = _last_chain(raised)
        if said and (not chain or said[-1].at > chain[-1].at):
            found: _Found | None = said.pop()
        else:
            found = _of_chain(chain)
            del raised[-len(chain) :]
        if found is None:
            return None  # an error that nobody knows: neither an earlier one nor what followed from it is why it ended
        if not found.entry.weak:
            return found
        weak = found
    return weak


def _plain(line: str) -> str:
    """Return a line without colours, the rank that printed it, and a progress bar that was cut off by a traceback."""
    return _BAR.sub("", _PREFIX.sub("", _COLOUR.sub("", line)))


def _since_last_life(lines: list[str]) -> list[str]:
    alive = max((at for at, line in enumerate(lines) if ALIVE.match(line)), default=-1)
    return lines[alive + 1 :]


def _said(lines: list[str]) -> Iterator[_Found]:
    """Yield what lines beside tracebacks say, in their order."""
    for at, line in enumerate(lines):
        entry = next((entry for entry in CLASSES if entry.matches("said", line)), None)
        if entry:
            yield _Found(entry=entry, at=at, lines=lines[at : at + 3])


def _tracebacks(lines: list[str]) -> Iterator[_Raised]:
    """Yield every traceback with its exception, in their order."""
    current: _Raised | None = None
    chained = False
    for at, line in enumerate(lines):
        if _TRACEBACK.match(line):
            if current is not None and current.message:
                yield current
            current = _Raised(at=at, chained=chained)
            chained = False
        elif line in _CHAINED:
            chained = True
        elif current is not None and not current.message and _FRAME.match(line):
            current.frames.append(line)
        elif current is not None and not chained and len(current.message) < MESSAGE_LINES:
            current.message.append(line)
    if current is not None and current.message:
        yield current


def _last_chain(raised: list[_Raised]) -> list[_Raised]:
    """Return the last exception with those that it came from, oldest first."""
    start = len(raised) - 1
    while start > 0 and raised[start].chained:
        start -= 1
    return raised[max(0, start) :]


def _of_chain(chain: list[_Raised]) -> _Found | None:
    """Return what the outermost known exception of a chain shows; a wrapper only where what it wraps is unknown."""
    found = [_of_exception(one) for one in reversed(chain)]
    known = [one for one in found if one is not None]
    telling = [one for one in known if not (one.entry.weak or one.entry.wraps)]
    return next(iter(telling or known), None)


def _of_exception(one: _Raised) -> _Found | None:
    message = "\n".join(one.message)
    stack = "\n".join([*one.frames, *one.message])
    for entry in CLASSES:
        if entry.matches("raised", message) and (not entry.frames or entry.matches("frames", stack)):
            return _Found(entry=entry, at=one.at, lines=[*one.frames[-2:], *one.message])
    return None
