from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.backends.local import LocalBackend
from ftagent.tools.data.reading.sources import resolve_dataset
from ftagent.tools.errors import BudgetExceeded, GateClosed, UserError
from ftagent.tools.facts import TERMINAL_STAGES, Job, JobIntent
from ftagent.tools.jobs import cancel_job, make_quote, submit_job
from ftagent.tools.monitor import monitor_job
from ftagent.tools.run import Run, find_run, refold
from ftagent.tools.settings import Settings

COUNT_STARTS = "open('starts', 'a').write('x')\n"
SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"


def submitted(run: Run) -> Run:
    """Submit and record, as the toolbox does."""
    job = submit_job(run)
    return refold(run.journal).record(job)


def ended(run: Run) -> Run:
    """Wait for the job's end and record it."""
    assert run.job is not None
    while LocalBackend().status(run, run.job).stage not in TERMINAL_STAGES:
        time.sleep(0.05)
    return run.record(monitor_job(run))


def kinds(run: Run) -> list[str]:
    return [event.kind for event in run.journal.events]


def test_the_intent_is_on_disk_before_anything_starts(
    prove: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prove("")

    def die(self: LocalBackend, run: Run, intent: JobIntent) -> Job:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalBackend, "submit", die)
    with pytest.raises(KeyboardInterrupt):
        submit_job(run)
    run.journal.release()
    again = find_run(run.settings.workdir)
    assert (kinds(again)[-1], again.intent and again.intent.label, again.job) == ("job_intent", run.id, None)


def test_a_crash_before_the_start_is_taken_up_by_the_same_attempt(
    prove: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prove(COUNT_STARTS)
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(LocalBackend, "submit", lambda *_: sys.exit(1))
        submit_job(run)
    run = ended(submitted(refold(run.journal)))
    assert kinds(run).count("job_intent") == 1
    assert run.job is not None
    assert run.job.attempt == 1
    assert (run.folder / "starts").read_text() == "x"


def test_a_crash_after_the_start_is_taken_up_by_the_job_that_runs(prove: Callable[..., Run]) -> None:
    run = prove(COUNT_STARTS)
    job = submit_job(run)  # and nobody writes it down
    again = submitted(refold(run.journal))
    assert again.job == job
    assert kinds(ended(again)).count("job_intent") == 1
    assert (run.folder / "starts").read_text() == "x"


def test_a_running_job_is_not_submitted_twice(prove: Callable[..., Run]) -> None:
    run = submitted(prove(SLEEP))
    with pytest.raises(GateClosed, match="unfinished job"):
        submit_job(run)


def test_a_failed_job_may_be_submitted_again_as_the_next_attempt(prove: Callable[..., Run]) -> None:
    run = ended(submitted(prove(COUNT_STARTS + "raise SystemExit(1)")))
    run = submitted(run)
    assert run.job is not None
    assert (run.job.attempt, run.report) == (2, None)
    assert ended(run).status == "failed"
    assert (run.folder / "starts").read_text() == "xx"


def test_a_script_that_was_changed_after_its_preflight_is_refused(prove: Callable[..., Run]) -> None:
    run = prove(COUNT_STARTS)
    (run.folder / "train.py").write_text(COUNT_STARTS + "# one more line\n")
    with pytest.raises(GateClosed, match="is not the script that preflight proved"):
        submit_job(run)
    (run.folder / "train.py").unlink()
    with pytest.raises(GateClosed, match=r"changed or removed"):
        submit_job(run)
    assert "job_intent" not in kinds(run)


def test_the_quote_reserves_the_price_of_the_whole_timeout(prove: Callable[..., Run]) -> None:
    quote = make_quote(prove("", timeout_s=5400, usd_per_hour=2.0))
    assert (quote.reserve_usd, quote.cost_usd.expected) == (3.0, 2.0)
    assert make_quote(prove("")).reserve_usd == 0


def test_a_job_whose_worst_case_is_over_the_cap_is_refused_before_its_intent(prove: Callable[..., Run]) -> None:
    run = prove("", timeout_s=5400, usd_per_hour=2.0, max_cost_usd=2.5)
    with pytest.raises(BudgetExceeded, match=r"could cost \$3.00 .* cap is \$2.50"):
        submit_job(run)
    assert "job_intent" not in kinds(run)


def test_a_job_on_the_hub_is_refused_where_there_is_no_hub(prove: Callable[..., Run]) -> None:
    run = prove("")
    assert run.spec is not None
    run = run.record(run.spec.model_copy(update={"backend": "hf-jobs"}))
    with pytest.raises(UserError, match="jobs run on the Hub"):
        submit_job(run)


def test_cancel_reports_the_end_and_its_cost(prove: Callable[..., Run]) -> None:
    run = submitted(prove(SLEEP, usd_per_hour=3600.0))
    time.sleep(1)
    report = cancel_job(run)
    assert (report.stage, report.health) == ("cancelled", "cancelled")
    assert report.cost_usd == pytest.approx(report.seconds, abs=0.1)
    with pytest.raises(GateClosed, match="no job is running"):
        cancel_job(run.record(report))


def test_cancel_of_a_job_that_ended_unseen_reports_that_end(prove: Callable[..., Run], until: Any) -> None:
    run = submitted(prove("raise SystemExit(3)"))
    assert run.job is not None
    job = run.job
    until(lambda: LocalBackend().status(run, job).stage == "failed")
    report = cancel_job(run)
    assert (report.stage, report.exit_code) == ("failed", 3)


def test_a_second_process_cancels_while_the_first_holds_the_journal(prove: Callable[..., Run]) -> None:
    run = submitted(prove(SLEEP))  # holds the journal's lock
    code = "from ftagent.tools import jobs, run; from pathlib import Path; import sys\n"
    code += "print(jobs.cancel_job(run.find_run(Path(sys.argv[1]))).stage)"
    command = [sys.executable, "-c", code, str(run.settings.workdir)]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert other.stdout == "cancelled\n"
    assert monitor_job(run).stage == "cancelled"


def test_data_that_changed_since_its_preflight_is_not_trained_on(prove: Callable[..., Run], rows: Path) -> None:
    run = prove(COUNT_STARTS)
    assert run.spec is not None
    found = resolve_dataset(str(rows), Settings())
    run = run.record(run.spec.model_copy(update={"dataset_ref": found}))
    with rows.open("a", encoding="utf-8") as file:
        file.write('{"messages": []}\n')
    with pytest.raises(GateClosed, match=r"has changed since it was planned .* start anew"):
        submit_job(run)
    assert not (run.folder / "starts").exists() and run.journal.events[-1].kind == "plan_run"
