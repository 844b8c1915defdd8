"""The journal: an append-only file of events, one fsynced line a fact, and whoever listens to it.

What the events add up to is the business of `tools/run/`. A journal starts in memory and takes a folder when
`Journal.settle` is called, so that a request that never was possible leaves nothing behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import UnreadableJournal, UserError
from .facts import (
    Answer,
    Approval,
    CheckpointSeries,
    DatasetReport,
    Ended,
    Evaluation,
    Export,
    Fact,
    GgufFile,
    HardwareChoice,
    Job,
    JobIntent,
    JobReport,
    LlmCall,
    Note,
    PreflightReport,
    Published,
    Reopened,
    Repair,
    Resumed,
    Schedule,
    ScheduleApproval,
    Script,
    SeriesScript,
    Spec,
)
from .settings import Settings
from .stopping import check
from .templates.lines import cut_torn_line
from .told import TOLD
from .wording import one_line

WHY_CHARS = 120

JOURNAL = "journal.jsonl"

# Journal kind -> the model of its payload. The kind of a tool's result is the tool's own name.
FACTS: dict[str, type[Fact]] = {
    "settings": Settings,
    "plan_run": Spec,
    "validate_dataset": DatasetReport,
    "pick_hardware": HardwareChoice,
    "write_script": Script,
    "preflight": PreflightReport,
    "approval": Approval,
    "job_intent": JobIntent,
    "submit_job": Job,
    "monitor_job": JobReport,
    "repair_run": Repair,
    "evaluate_model": Evaluation,
    "export_file": GgufFile,
    "published": Published,
    "export_gguf": Export,
    "schedule_approval": ScheduleApproval,
    "schedule_run": Schedule,
    "series_script": SeriesScript,
    "series": CheckpointSeries,
    "llm_call": LlmCall,
    "reopened": Reopened,
    "answer": Answer,
    "note": Note,
    "resumed": Resumed,
    "ended": Ended,
}
KIND_OF: dict[type[Fact], str] = {model: kind for kind, model in FACTS.items()}


class Event(BaseModel):
    """Something that happened in a run.

    A journalled event has a `seq`, counted from 0; a transient one (progress of a long step) has none and is gone
    when its listeners have heard it.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    seq: int | None
    at: datetime
    kind: str
    data: dict[str, Any]

    @property
    def payload(self) -> Fact:
        """The data with its types: a model of `FACTS` where the event was journalled, else one of `told.TOLD`."""
        return (TOLD if self.seq is None else FACTS)[self.kind].model_validate(self.data)


Listener = Callable[[Event], None]


class Journal:
    """An append-only file of events, with one writer and any number of listeners.

    Args:
        run_id: The run that the events belong to.
        folder: Where `journal.jsonl` lies; None keeps the events in memory until `settle`.
    """

    def __init__(self, run_id: str, folder: Path | None = None) -> None:
        self.run_id = run_id
        self.folder = folder
        self.listeners: list[Listener] = []
        self._events: list[Event] = []
        self._lock: Any = None
        if folder is not None:
            self._events = list(read_events(folder / JOURNAL))

    @property
    def events(self) -> tuple[Event, ...]:
        """All journalled events so far, oldest first."""
        return tuple(self._events)

    def append(self, fact: Fact) -> Event:
        """Write one fact, wait until the disk has it, then tell the listeners."""
        event = Event(
            run=self.run_id,
            seq=len(self._events),
            at=datetime.now(UTC),
            kind=KIND_OF[type(fact)],
            data=fact.model_dump(mode="json"),
        )
        if self.folder is not None:
            self.acquire()
            _write_lines(self.folder / JOURNAL, [event])
        self._events.append(event)
        self._announce(event)
        return event

    def tell(self, kind: str, **data: Any) -> None:
        """Tell the listeners something that is not worth a line, such as progress.

        Raises:
            Stopped: It is progress, and the work is to stop: between two lines of it nothing is half done.
        """
        if kind == "progress":
            check()
        self._announce(Event(run=self.run_id, seq=None, at=datetime.now(UTC), kind=kind, data=data))

    def settle(self, folder: Path) -> None:
        """Take `folder` as the journal's home and write down what was held in memory.

        Raises:
            OSError: The folder cannot be made or written; nothing half-made is left.
        """
        existed = folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.folder = folder
            self.acquire()
            _write_lines(folder / JOURNAL, self._events)
        except BaseException:
            self.release()
            self.folder = None
            if not existed:
                for leftover in folder.iterdir():
                    leftover.unlink()
                folder.rmdir()
            raise

    def acquire(self) -> None:
        """Become the only writer.

        Raises:
            UserError: Another process writes to this run.
        """
        from filelock import FileLock, Timeout

        if self._lock is not None or self.folder is None:
            return
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(
                f"another process is working on run `{self.run_id}`.",
                hint=f"look on with `ftagent watch {self.run_id}`, or end that process first",
            ) from None
        self._lock = lock
        self._events = list(read_events(self.folder / JOURNAL)) or self._events
        cut_torn_line(self.folder / JOURNAL)

    def release(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _announce(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a journal file; a torn last line counts as never written.

    Raises:
        UnreadableJournal: Another line is no event.
    """
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            event = Event.model_validate(json.loads(line.decode()))
        except ValueError as error:
            raise unreadable(path.parent, number, error) from error
        yield event


def unreadable(folder: Path, line: int, error: Exception) -> UnreadableJournal:
    """Return the error that says which line of a journal cannot be read, and why.

    Args:
        folder: Of the run.
        line: Its number, from 1.
        error: What reading it has raised.
    """
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    else:
        why = f"`{error.args[0]}` is unknown" if isinstance(error, KeyError) else getattr(error, "msg", str(error))
    return UnreadableJournal(
        f"run `{folder.name}` cannot be read: line {line} of its journal: {one_line(why, WHY_CHARS)}.",
        hint=f"it is damaged, or another version of ftagent wrote it; what the run made lies in `{folder}`",
    )


def _write_lines(path: Path, events: list[Event]) -> None:
    """Append events and wait for the disk; a failed write is taken back, so that no torn line stays."""
    payload = "".join(event.model_dump_json() + "\n" for event in events).encode()
    with path.open("ab") as file:
        start = file.tell()
        try:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, start)
            raise
