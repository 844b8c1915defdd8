"""What a run tells its listeners, and the listeners that need no screen.

An event is `tools.journal.Event`: `{"run", "seq", "at", "kind", "data"}`; its `payload` is the data with its types.
Journalled kinds are those of `tools.journal.FACTS`, one for each fact that was settled, with the fact as data.
Transient kinds, those of `tools.told.TOLD`, have no `seq`:

    step        a tool was called                    {"tool"}
    progress    a long step is under way             {"step", …}: for training `step`, `loss`, `tokens_per_s`, …
    example     a row as the trainer sees it         {"row", "segments": [[text, whether it carries loss], …]}
    alert       a rule fired while a job runs        {"level", "rule", "text", "step"}
    said        words of the LLM beside its call     {"text"}
    asks        a person is asked to approve         {"text"}
    watched     `ftagent watch` saw a job's end      {"stage", "text"}
    error       the run stops here                   {"code", "message", "hint"}
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from ..tools.journal import Event, Listener
from ..tools.stopping import Stop, working_under


def json_lines(stream: TextIO) -> Listener:
    """Return a listener that writes each event as one JSON line."""

    def write(event: Event) -> None:
        stream.write(event.model_dump_json() + "\n")
        stream.flush()

    return write


def stream_events(work: Callable[[Listener], Any]) -> Iterator[Event]:
    """Run `work` in a thread of its own and yield the events that it tells, as they come.

    What `work` raises is raised here, after its last event. A stream that is left before its end, or interrupted,
    stops the work at its next safe place; a job that was started goes on.
    """
    stop = Stop()
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            with working_under(stop):
                work(events.put)
        except BaseException as error:  # noqa: BLE001 - handed over to the caller's thread, unchanged
            failure.append(error)
        finally:
            events.put(None)

    thread = threading.Thread(target=run, name="ftagent-run")
    thread.start()
    try:
        while (event := events.get()) is not None:
            yield event
    finally:
        stop.ask()
        thread.join()
    if failure:
        raise failure[0]
