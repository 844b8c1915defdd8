"""Inside another program: many runs side by side, asyncio, approvals of every kind, and an end from outside."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.loop import FineTuneAgent, RunResult
from ftagent.tools.errors import ApprovalNeeded, InputError, UserError
from ftagent.tools.facts import PreflightReport, Spec
from ftagent.tools.journal import Event, read_events
from ftagent.tools.run import Run, find_run, list_runs
from ftagent.tools.stopping import pause
from ftagent.tools.told import StepBegun

from . import instant
from .instant import REQUEST, instant_tools
from .test_loop import WAY

__all__ = ["instant_tools"]

MANY = 100
EXPERIMENTS = 10


def test_a_hundred_dry_runs_side_by_side_share_nothing_and_lose_no_event(
    workdir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heard: list[list[Event]] = [[] for _ in range(MANY)]
    results: list[RunResult | None] = [None] * MANY
    together = threading.Barrier(MANY)

    def work(number: int) -> None:
        agent = FineTuneAgent(dry_run=True, workdir=workdir, listeners=[heard[number].append])
        together.wait()
        request = REQUEST.replace("rows.jsonl", f"rows-{number % EXPERIMENTS}.jsonl")
        results[number] = agent.run(f"{request}, seed {number}")

    threads = [threading.Thread(target=work, args=[number]) for number in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (result, events) in enumerate(zip(results, heard, strict=True)):
        assert result is not None and result.ok
        assert result.run.spec is not None and result.run.spec.overrides.seed == number
        journalled = [event for event in events if event.seq is not None]
        assert [event.kind for event in journalled] == [*WAY[:5], "ended"]
        assert {event.run for event in events} == {result.run.id}
        assert list(read_events(result.run.folder / "journal.jsonl"))[1:] == journalled
    runs = list_runs(workdir)
    assert len({run.folder for run in runs}) == MANY
    reports = {path.stem: path.read_text(encoding="utf-8") for path in workdir.glob("training_reports/*.md")}
    assert len(reports) == EXPERIMENTS
    # The last to write has seen what all others wrote.
    assert all(f"## Run {run.id}: planned\n\nA dry run" in reports[run.folder.parent.name] for run in runs)
    assert capfd.readouterr().out == ""


def test_every_event_has_its_types(workdir: Path) -> None:
    payloads = [event.payload for event in FineTuneAgent(approve=True).stream(REQUEST)]
    assert [p.tool for p in payloads if isinstance(p, StepBegun)][:2] == ["plan_run", "validate_dataset"]
    assert [p.dataset for p in payloads if isinstance(p, Spec)] == ["rows.jsonl"]
    with pytest.raises(ApprovalNeeded):
        for event in FineTuneAgent().stream(REQUEST):
            assert event.payload.model_dump(mode="json", exclude_unset=True) == event.data or event.seq is not None


# --- asyncio ----------------------------------------------------------------------------------------------------------


def test_the_async_twins_do_as_their_siblings_and_await_an_approval_that_is_a_coroutine(workdir: Path) -> None:
    asked: list[str] = []

    async def decide(quote: Any) -> bool:
        await asyncio.sleep(0)
        asked.append(quote.flavor)
        return len(asked) > 1

    async def story() -> None:
        agent = FineTuneAgent(approve=decide)
        with pytest.raises(ApprovalNeeded, match="declined"):
            await agent.arun(REQUEST)
        assert (await agent.aresume()).ok
        assert [e.kind async for e in agent.astream(REQUEST) if e.seq is not None] == WAY

    asyncio.run(story())
    assert asked == ["local"] * 3


def test_a_coroutine_that_nobody_awaits_approves_nothing(workdir: Path) -> None:
    async def decide(quote: Any) -> bool:
        return True

    with pytest.raises(UserError, match="arun"):
        FineTuneAgent(approve=decide).run(REQUEST)
    assert find_run(workdir).job is None


def test_an_approval_that_never_comes_does_not_hold_a_cancelled_task(workdir: Path) -> None:
    async def story() -> None:
        asked = asyncio.Event()

        async def decide(quote: Any) -> bool:
            asked.set()
            await asyncio.sleep(3600)
            return True

        task = asyncio.create_task(FineTuneAgent(approve=decide).arun(REQUEST))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert _threads() == []
    run = find_run(workdir)
    assert run.job is None and run.ended is None and run.notes[-1].code == "stopped"


def test_what_goes_wrong_in_the_thread_is_raised_in_the_task(workdir: Path) -> None:
    with pytest.raises(InputError, match="names no model"):
        asyncio.run(FineTuneAgent().arun("make it better"))


def test_a_stream_that_is_left_stops_the_work(workdir: Path) -> None:
    for _ in FineTuneAgent(approve=True).stream(REQUEST):
        break
    assert _threads() == []

    async def leave() -> None:
        stream = FineTuneAgent(approve=True).astream(REQUEST)
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(leave())
    assert _threads() == []
    assert all(run.job is None for run in list_runs(workdir))


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ftagent-run"]


def test_a_step_that_waits_is_ended_and_done_anew_on_resume(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(run: Run) -> PreflightReport:
        """Wait.

        Args:
            run: The run.
        """
        pause(600)
        return instant.preflight(run)

    instant.install(monkeypatch, preflight=waits)
    agent = FineTuneAgent(approve=True)
    threading.Timer(0.5, agent.cancel).start()
    result = agent.run(REQUEST)
    assert result.run.status == "cancelled" and result.run.preflight is None
    assert "cancelled" in (result.report or workdir).read_text(encoding="utf-8")
    instant.install(monkeypatch)
    assert FineTuneAgent(approve=True).resume().ok


def test_a_cancelled_sweep_begins_no_other_run(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = FineTuneAgent(approve=True)

    def cancelled(run: Run) -> PreflightReport:
        """Wait.

        Args:
            run: The run.
        """
        agent.cancel()
        pause(600)
        return instant.preflight(run)

    instant.install(monkeypatch, preflight=cancelled)
    sweep = agent.sweep(REQUEST, ["rank 8", "rank 64"])
    assert sweep.left_out == {"rank 64": "the work was stopped from outside"}
    assert [run.status for run in list_runs(workdir)] == ["cancelled"]
