"""Real jobs that are cancelled or left from outside: none is orphaned, and the journal says how it stands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from ftagent.agent.loop import FineTuneAgent, RunResult
from ftagent.agent.toolbox import Toolbox
from ftagent.tools.jobs import end_work, status_now, submit_job
from ftagent.tools.run import Run, find_run

from ..tools.conftest import Prove, prove, until

__all__ = ["prove", "until"]

TRAINS_LONG = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def training(prove: Prove) -> Run:
    """A run whose script is proven and approved, and trains for ten minutes."""
    run = prove(TRAINS_LONG, timeout_s=900)
    run.journal.release()
    return run


def _begun(run: Run) -> bool:
    log = run.folder / "train.log"
    return log.exists() and "begun" in log.read_text(encoding="utf-8")


def _is_live(run: Run) -> bool:
    return status_now(find_run(run.settings.workdir)) == "running"


def test_cancel_from_another_thread_ends_the_job_and_the_journal_says_so(
    training: Run, until: Callable[[Callable[[], object]], None]
) -> None:
    agent = FineTuneAgent(approve=True, workdir=training.settings.workdir)
    results: list[RunResult] = []
    thread = threading.Thread(target=lambda: results.append(agent.resume()))
    thread.start()
    until(lambda: _begun(training))
    assert _is_live(training)
    agent.cancel()
    thread.join(20)
    (result,) = results
    assert not result.ok and result.run.status == "cancelled"
    run = find_run(training.settings.workdir)
    assert run.report is not None and run.report.stage == "cancelled" and not run.job_is_live
    assert [event.kind for event in run.journal.events][-2:] == ["monitor_job", "ended"]
    agent.cancel()  # nothing is worked on: nothing happens


def test_a_cancelled_task_leaves_the_job_and_cancel_finds_it_again(
    training: Run, until: Callable[[Callable[[], object]], None]
) -> None:
    agent = FineTuneAgent(approve=True, workdir=training.settings.workdir)

    async def give_up() -> None:
        task = asyncio.create_task(agent.aresume())
        await asyncio.to_thread(until, lambda: _begun(training))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    run = find_run(training.settings.workdir)
    assert _is_live(run) and run.ended is None and run.notes[-1].text.startswith("Stopped from outside; job ")
    end_work(run)
    assert not _is_live(run)


def test_a_job_whose_start_was_never_written_down_is_ended_too(
    training: Run, until: Callable[[Callable[[], object]], None]
) -> None:
    """As if the process had been stopped between the start and the journal's next line."""
    training.journal.acquire()
    submit_job(training)
    training.journal.release()
    run = find_run(training.settings.workdir)
    assert run.job is None and run.intent is not None
    until(lambda: _begun(training))
    ended = end_work(run)
    assert ended.report is not None and ended.report.stage == "cancelled"


def test_a_planner_may_end_a_job_that_it_has_seen_running_and_no_other(
    training: Run, until: Callable[[Callable[[], object]], None]
) -> None:
    training.journal.acquire()
    toolbox = Toolbox(training, request="fine-tune it", decide=True)
    assert "cancel_job" not in toolbox.legal()
    toolbox.call("submit_job", {})
    assert "cancel_job" not in toolbox.legal()
    until(lambda: _begun(training))
    toolbox.call("monitor_job", {"wait_s": 0})
    assert toolbox.legal()[-2:] == ("monitor_job", "cancel_job")
    toolbox.call("cancel_job", {})
    assert toolbox.run.report is not None and toolbox.run.report.stage == "cancelled"
    assert "cancel_job" not in toolbox.legal() and toolbox.expected() is None
    training.journal.release()
