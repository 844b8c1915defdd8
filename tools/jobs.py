"""Starts and ends jobs, exactly one at a time, and only what was proven, approved and can be paid."""

from __future__ import annotations

from collections.abc import Sequence

from .backends import backend_of
from .backends.hf_inputs import upload_words
from .errors import BudgetExceeded, GateClosed
from .facts import HardwareChoice, Job, JobIntent, JobReport, Quote, Range, Script, Spec
from .gates import require
from .later_cost import later_purposes, part_of
from .later_watch import report_of
from .monitor import Watch
from .outlook import cost_cap, price_usd_per_hour
from .run import Run
from .script import script_is_unchanged
from .script_checks import same_data


def make_quote(run: Run) -> Quote:
    """Return what the job is expected to take, and the worst case that is reserved for it: price × timeout.

    Jobs that come after it, to evaluate and to export, are counted in, so that a person approves once.
    """
    spec, hardware, script = _settled(run)
    parts = tuple(part_of(run, purpose) for purpose in later_purposes(spec))
    reserve = price_usd_per_hour(run) * hardware.timeout_s / 3600
    return Quote(
        backend=spec.backend,
        flavor=hardware.flavor,
        script_sha256=script.sha256,
        hours=_sum([hardware.hours, *(part.hours for part in parts)]),
        cost_usd=_sum([hardware.cost_usd, *(part.cost_usd for part in parts)]),
        reserve_usd=reserve + sum(part.reserve_usd for part in parts),
        timeout_s=hardware.timeout_s,
        parts=parts,
        uploads=upload_words(run),
    )


def _sum(ranges: Sequence[Range]) -> Range:
    low, expected, high = (sum(getattr(one, name) for one in ranges) for name in ("low", "expected", "high"))
    return Range(low=low, expected=expected, high=high)


def submit_job(run: Run) -> Job:
    """Start the training job of this run, or find the one that was started before a crash.

    Returns the job's id, backend, flavor, attempt, timeout in seconds and log file. It needs a green preflight of this
    very script, an approval, and room under the cap for the worst case. A job that failed or timed out may be submitted
    again: it goes on from its last checkpoint.

    Args:
        run: The run, with its script proven and the job approved.

    Raises:
        GateClosed: Something is not settled, or `train.py` or its data was changed after its preflight.
        BudgetExceeded: What is spent and the worst case are more than the cap.
        ToolError: The job could not be started; nothing runs.
    """
    require("submit_job", run)
    spec, hardware, script = _settled(run)
    backend = backend_of(spec.backend)
    if (pending := _pending(run)) and (job := backend.find(run, pending)):
        return job  # we died between starting it and writing it down
    hold_to_script(run, script)
    hold_to_data(spec)
    hold_to_cap(run, make_quote(run))
    intent = _intent(run, hardware, script)
    if intent != run.intent:
        run = run.record(intent)
    return backend.submit(run, intent)


def cancel_job(run: Run) -> JobReport:
    """End the job with everything it started, and say how it stood and what it has cost.

    Returns the final state: the stage (cancelled, or how it had ended before), the steps that it made, and the money
    spent. It also works while another process follows the job, which then sees the end.

    Args:
        run: The run, with a job that has not ended.

    Raises:
        GateClosed: No job is running.
    """
    require("cancel_job", run)
    for step in run.later.values():
        if step.is_live and step.job is not None:
            backend = backend_of(step.job.backend)
            return report_of(run, step.job, backend.cancel(run, step.job), backend)
    assert run.job is not None
    backend_of(run.job.backend).cancel(run, run.job)
    return Watch(run).look()


def end_work(run: Run) -> Run:
    """End the job that this run started, if there is one, whether or not its start was written down.

    Returns the run with what was found and how it ended.
    """
    if (pending := _pending(run)) and (job := backend_of(pending.backend).find(run, pending)):
        run = run.record(job)
    if run.job is not None and run.job_is_live:
        run = run.record(cancel_job(run))
    return run


def status_now(run: Run) -> str:
    """Return the run's status, asking its backend where the journal cannot know how the job stands."""
    if run.job is None or not run.job_is_live:
        return run.status
    return backend_of(run.job.backend).status(run, run.job).stage.replace("_", " ")


def hold_to_cap(run: Run, quote: Quote) -> None:
    """Refuse a job whose worst case would go over the cap.

    Raises:
        BudgetExceeded: With the amounts, and the cap that would do.
    """
    cap = cost_cap(run)
    worst = run.cost_usd + quote.reserve_usd
    if cap is not None and worst > cap:
        raise BudgetExceeded(
            f"this job could cost ${quote.reserve_usd:.2f} on top of ${run.cost_usd:.2f} spent; the cap is ${cap:.2f}.",
            hint=f"raise the cap to at least ${worst:.2f} with --max-cost, or ask for less",
        )


def _settled(run: Run) -> tuple[Spec, HardwareChoice, Script]:
    if run.spec is None or run.hardware is None or run.script is None:
        raise GateClosed("there is no script that could be quoted or submitted.", hint="call write_script")
    return run.spec, run.hardware, run.script


def hold_to_script(run: Run, script: Script) -> None:
    """Refuse a script that is not, byte by byte, the one that preflight ran.

    Raises:
        GateClosed: It was changed, or removed.
    """
    if not script_is_unchanged(run):
        raise GateClosed(
            f"`{run.folder / script.path}` is not the script that preflight proved: it was changed or removed since.",
            hint="call write_script, then preflight",
        )


def hold_to_data(spec: Spec) -> None:
    """Refuse local data that is not, byte by byte, what was validated and approved.

    Raises:
        GateClosed: It was changed, or removed.
    """
    ref = spec.dataset_ref
    if ref is not None and ref.source != "hub" and not (check := same_data(ref)).ok:
        raise GateClosed(f"{check.detail}.", hint="start anew with the instruction")


def _pending(run: Run) -> JobIntent | None:
    """Return the intent of which nobody knows yet what came of it."""
    return run.intent if run.job is None else None


def _intent(run: Run, hardware: HardwareChoice, script: Script) -> JobIntent:
    """Return the pending intent if it still means this very job, else the next attempt's."""
    intent = JobIntent(
        backend=run.spec.backend if run.spec else "local",
        label=run.id,
        attempt=run.attempts + 1,
        script_sha256=script.sha256,
        flavor=hardware.flavor if run.spec and run.spec.backend != "local" else "",
        timeout_s=hardware.timeout_s,
    )
    pending = _pending(run)
    if pending is not None and pending == intent.model_copy(update={"attempt": pending.attempt}):
        return pending
    return intent
