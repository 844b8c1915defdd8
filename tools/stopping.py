"""Stops work from outside: another thread asks, and the work stops itself at its next safe place.

A safe place is one where nothing is half done: between two tools, between two looks at a job, at a line of progress,
and while a worker computes, which is ended. Starting a job has none. The work finds its `Stop` in a context variable,
so no tool passes it on; where nobody works under one, nothing here does anything.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from .errors import Stopped


class Stop:
    """One order to stop, which may be given from any thread, once or more often."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []
        self.keeps_job = True
        """Whether the job goes on without the work that followed it."""

    @property
    def is_asked(self) -> bool:
        """Whether the order was given."""
        return self._asked.is_set()

    def ask(self, *, keep_job: bool = True) -> None:
        """Give the order; one that ends the job outweighs one that keeps it."""
        with self._lock:
            self.keeps_job = self.keeps_job and keep_job
            self._asked.set()
            calls = list(self._calls)
        for call in calls:
            call()

    def wait(self, seconds: float) -> None:
        """Wait this long, or until the order is given."""
        self._asked.wait(seconds)

    @contextlib.contextmanager
    def calling(self, call: Callable[[], object]) -> Iterator[None]:
        """Have `call` called when the order is given meanwhile, or was given before."""
        with self._lock:
            self._calls.append(call)
            late = self._asked.is_set()
        if late:
            call()
        try:
            yield
        finally:
            with self._lock:
                self._calls.remove(call)


_CURRENT: ContextVar[Stop | None] = ContextVar("ftagent_stop", default=None)


def current() -> Stop | None:
    """Return the `Stop` that this work stands under."""
    return _CURRENT.get()


@contextlib.contextmanager
def working_under(stop: Stop) -> Iterator[None]:
    """Let what is called here stop when `stop` says so."""
    token = _CURRENT.set(stop)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def check() -> None:
    """Stop here, if that was asked for.

    Raises:
        Stopped: It was.
    """
    stop = current()
    if stop is not None and stop.is_asked:
        raise Stopped("the work was stopped from outside.", hint="`ftagent resume` goes on")


def pause(seconds: float) -> None:
    """Sleep, unless the work is to stop.

    Raises:
        Stopped: It is.
    """
    if (stop := current()) is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
        check()


@contextlib.contextmanager
def calling(call: Callable[[], object]) -> Iterator[None]:
    """Have `call` called if the work is to stop while it waits in here for something that does not ask by itself."""
    with stop.calling(call) if (stop := current()) else contextlib.nullcontext():
        yield
