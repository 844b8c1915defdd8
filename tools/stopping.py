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
from concurrent.futures import Future, InvalidStateError
from contextvars import ContextVar, copy_context
from typing import TypeVar

from .errors import Stopped

T = TypeVar("T")


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


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Let what is called here come to its end: making what costs money, and ending it, has no safe place."""
    token = _CURRENT.set(None)
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
        raise _stopped()


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


def unless_stopped(call: Callable[[], T]) -> T:
    """Return what `call` returns, or give up on it when the work is to stop: who is asked may never answer.

    Args:
        call: Asks and changes nothing here: its thread is left behind, and ends by its own timeout.

    Raises:
        Stopped: The work is to stop.
    """
    if (stop := current()) is None:
        return call()
    done: Future[T] = Future()
    context = copy_context()  # whose work it is goes with it
    threading.Thread(target=context.run, args=[_settle, done, call], name="ftagent-asks", daemon=True).start()
    with stop.calling(lambda: _fail(done, _stopped())):
        return done.result()


def _settle(done: Future[T], call: Callable[[], T]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed over to who waits, unchanged
        _fail(done, error)
    else:
        with contextlib.suppress(InvalidStateError):  # nobody waits any more
            done.set_result(result)


def _fail(done: Future[T], error: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):  # it is settled
        done.set_exception(error)


def _stopped() -> Stopped:
    return Stopped("the work was stopped from outside.", hint="`ftagent resume` goes on")


def _if_waited_for(settle: Callable[[], None]) -> None:
    """Settle what nobody else settled before."""
    with contextlib.suppress(InvalidStateError):
        settle()


@contextlib.contextmanager
def calling(call: Callable[[], object]) -> Iterator[None]:
    """Have `call` called if the work is to stop while it waits in here for something that does not ask by itself."""
    with stop.calling(call) if (stop := current()) else contextlib.nullcontext():
        yield
