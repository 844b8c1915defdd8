"""Follows the job of a step after the training: tells what it prints, and judges how it ended."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from .backends import Backend, JobState, backend_of
from .backends.hf_steps import WrongResults
from .catalog import catalog
from .facts import TERMINAL_STAGES, Alert, Failure, Health, Job, JobReport, Purpose
from .failures.recognise import JobEnd, recognise
from .failures.table import BY_NAME
from .outlook import waiting_s
from .rules import LONGEST_WAIT_S, Outlook, Watched, waits_too_long
from .run import Run
from .stopping import pause
from .worker import PROGRESS

POLL_S = 1.0
TAIL_LINES = 200


def follow(run: Run, purpose: Purpose) -> Run:
    """Follow the job to its end, and return the run with its report; an interruption leaves it running."""
    job = run.later[purpose].job
    assert job is not None
    backend = backend_of(job.backend)
    is_told = False
    while (state := backend.status(run, job)).stage not in TERMINAL_STAGES:
        _tell(run, job, state, backend)
        is_told = is_told or _tell_of_waiting(run, job, state)
        pause(POLL_S)
    return run.record(report_of(run, job, state, backend))


def _tell_of_waiting(run: Run, job: Job, state: JobState) -> bool:
    """Let those who wait know that the job gets no machine, if it does not; tell whether they were told."""
    outlook = Outlook(waiting_s=waiting_s(job, state), flavor=job.flavor)
    text = waits_too_long(Watched(points=[], now=datetime.now(UTC), outlook=outlook), limit_s=LONGEST_WAIT_S)
    if text is not None:
        run.journal.tell("alert", **Alert(level="warn", rule="waits_for_hardware", text=text).model_dump())
    return text is not None


def _tell(run: Run, job: Job, state: JobState, backend: Backend) -> None:
    """Let those who wait know the last line of the log, or that there is none yet."""
    lines = backend.log_tail(run, job, 1)
    told: dict[str, Any] = {"text": lines[0] if lines else state.reason or f"the job is {state.stage}"}
    if lines and lines[0].startswith(PROGRESS):
        told = json.loads(lines[0].removeprefix(PROGRESS))
    run.journal.tell("progress", **{"step": job.purpose, "seconds": state.seconds, "job": job.id, **told})


def report_of(run: Run, job: Job, state: JobState, backend: Backend) -> JobReport:
    """Bring home what the job left, and return how it ended; results that are not its own make it a failed one."""
    wrong = ""
    try:
        backend.collect(run, job, state)
    except WrongResults as error:
        wrong = error.message.rstrip(".")
    failure = None if wrong or state.stage == "completed" else _failure(run, job, state, backend)
    stage = "failed" if wrong else state.stage
    return JobReport(
        job_id=job.id,
        purpose=job.purpose,
        stage=stage,
        health="failed" if wrong else _health(state, failure),
        reason=wrong or _reason(state, failure),
        seconds=round(state.seconds, 1),
        cost_usd=_price(job) * state.seconds / 3600,
        exit_code=state.exit_code,
        failure=failure,
    )


def _failure(run: Run, job: Job, state: JobState, backend: Backend) -> Failure | None:
    tail = backend.log_tail(run, job, TAIL_LINES)
    return recognise(JobEnd(stage=state.stage, exit_code=state.exit_code, reason=state.reason, tail=tail))


def _health(state: JobState, failure: Failure | None) -> Health:
    if failure is not None:
        return BY_NAME[failure.name].health
    endings: dict[str, Health] = {"completed": "done", "cancelled": "cancelled", "timed_out": "timed_out"}
    return endings.get(state.stage, "failed")


def _reason(state: JobState, failure: Failure | None) -> str:
    return (
        "its results are here, and their hashes hold"
        if state.stage == "completed"
        else (failure.words if failure else state.reason)
    )


def _price(job: Job) -> float:
    return next((f.usd_per_hour for f in catalog().flavors if f.name == job.flavor), 0.0)
