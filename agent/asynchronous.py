"""The agent's work under asyncio: in a thread of its own, its events and its end handed over to the loop.

A task that is cancelled, or a stream that is left, stops the work at its next safe place (`tools/stopping.py`) and
waits for that, so that no thread goes on behind its caller's back. A job that was started goes on by itself.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import CancelledError
from typing import Any, Generic, TypeVar

from ..tools.journal import Event, Listener
from ..tools.stopping import Stop, calling, check, working_under

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread and return what it returns; cancelling stops it."""
    begun = _Begun(work)
    try:
        return await asyncio.shield(begun.done)
    finally:
        await begun.end()


async def stream_async(work: Callable[[Listener], Any]) -> AsyncGenerator[Event]:
    """Run `work` in a thread and yield the events that it tells; what it raises is raised after its last event."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell(event: Event | None) -> None:
        loop.call_soon_threadsafe(events.put_nowait, event)

    def told() -> None:
        try:
            work(tell)
        finally:
            tell(None)

    begun = _Begun(told)
    try:
        while (event := await events.get()) is not None:
            yield event
        await asyncio.shield(begun.done)
    finally:
        await begun.end()


class _Begun(Generic[T]):
    """Work that a thread of its own does under a `Stop` of its own."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self._loop.create_future()
        self._stop = Stop()
        self._thread = threading.Thread(target=self._run, args=[work], name="ftagent-run")
        self._thread.start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            with working_under(self._stop):
                result = work()
        except BaseException as error:  # noqa: BLE001 - handed over to the loop, unchanged
            self._loop.call_soon_threadsafe(self.done.set_exception, error)
        else:
            self._loop.call_soon_threadsafe(self.done.set_result, result)

    async def end(self) -> None:
        """Stop what is not done yet, and wait until the thread is gone, however often the waiting is cancelled."""
        self._stop.ask()
        again: asyncio.CancelledError | None = None
        while not self.done.done():
            try:
                await asyncio.wait([self.done])
            except asyncio.CancelledError as error:
                again = error
        self._thread.join()
        self.done.exception()  # looked at, so that asyncio does not complain of one that nobody awaits any more
        if again is not None:
            raise again


def awaited(asked: Any) -> Any:
    """Return a callable that a thread can call where `asked` may be a coroutine function; the loop runs it.

    What cannot be called, such as True or None, is returned as it is.
    """
    if not callable(asked):
        return asked
    loop = asyncio.get_running_loop()

    async def wait_for(answer: Awaitable[Any]) -> Any:
        return await answer

    def ask(*arguments: Any) -> Any:
        answer = asked(*arguments)
        if not inspect.isawaitable(answer):
            return answer
        future = asyncio.run_coroutine_threadsafe(wait_for(answer), loop)
        try:
            with calling(future.cancel):
                return future.result()
        except CancelledError:
            check()  # it was the work that was stopped
            raise

    ask.asks_a_person = getattr(asked, "asks_a_person", False)  # type: ignore[attr-defined]
    return ask
