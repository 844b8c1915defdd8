"""A step after the training as a job of its own: written, quoted, started once, followed, its results believed by hash.

`evaluate_model` and `export_gguf` say what programs are to be run (`tools/tasks.py`); where the training ran on Hugging
Face, they run there as well, in one script that brings them along. What is approved for the training states the price
of these jobs, too, so that a person is asked once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backends import Backend, JobState, backend_of
from .backends.hf_steps import results_folder
from .errors import ApprovalNeeded, ToolError
from .facts import JobIntent, JobReport, Purpose, Quote, QuotePart
from .failures.table import BY_NAME
from .jobs import hold_to_cap
from .later_asked import Asking, asking_of
from .later_cost import NAMES, part_of
from .later_script import write_later_script
from .later_watch import follow
from .run import Later, Run
from .tasks import Task, do_here

TRIES = 2
"""Jobs that one approval pays for: a second one where the first was lost to the place, such as by pre-emption."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What the programs of a step answered."""

    run: Run
    answers: dict[str, dict[str, Any]]
    left: Path | None = None
    """Where what they left beside their answers lies, if a job ran them."""
    job_id: str | None = None


def do_tasks(
    run: Run,
    purpose: Purpose,
    tasks: Mapping[str, Task],
    *,
    pins: tuple[str, ...] = (),
    asking: Asking | None = None,
) -> Done:
    """Run the programs of a step where the run's training ran, and return what they answer.

    Args:
        run: The run, trained.
        purpose: What the step is.
        tasks: Its programs, by the names of their answers.
        pins: Packages that a job needs beside those of `templates/step.py`.
        asking: What an evaluation has the models generate; see `part_of`.

    Raises:
        ToolError: A program failed, here or in its job.
        ApprovalNeeded: Nobody approved the job.
        BudgetExceeded: Its worst case would go over the cap.
    """
    if run.spec is None or run.spec.backend == "local":
        return Done(run=run, answers=do_here(run, purpose, tasks))
    script_sha256 = write_later_script(run, purpose, tasks, pins)
    run = _finished(run, purpose, script_sha256, asking)
    step, left = run.later[purpose], run.folder / results_folder(purpose)
    assert step.job is not None
    answers = {name: json.loads((left / f"{name}.json").read_text(encoding="utf-8")) for name in tasks}
    return Done(run=run, answers=answers, left=left, job_id=step.job.id)


# --- money ------------------------------------------------------------------------------------------------------------


def later_quote(run: Run, purpose: Purpose, given: Mapping[str, Any] | None = None) -> Quote | None:
    """Return what must still be approved before this step can start its job, or None where nothing must.

    Args:
        run: The run.
        purpose: What the step is.
        given: The arguments of its tool.
    """
    if run.spec is None or run.spec.backend == "local" or run.script is None:
        return None
    step = run.later.get(purpose, Later())
    if step.is_live or (step.report is not None and step.report.health == "done"):
        return None
    part = part_of(run, purpose, asking_of(run, given) if purpose == "evaluate" else None)
    return None if _is_covered(run, part) else _quote_of(run, part)


def _quote_of(run: Run, part: QuotePart) -> Quote:
    assert run.spec is not None and run.script is not None
    return Quote(backend=run.spec.backend, script_sha256=run.script.sha256, **part.model_dump(exclude={"reason"}))


def _is_covered(run: Run, part: QuotePart) -> bool:
    """Whether somebody approved this much money for this step, and it was not used up by former jobs of it."""
    own = run.later.get(part.purpose, Later()).approval
    allowed = [own.quote.reserve_usd] if own else []
    allowed += [p.reserve_usd for p in run.approval.quote.parts if p.purpose == part.purpose] if run.approval else []
    return _tries(run, part.purpose) < TRIES and any(part.reserve_usd <= usd + 1e-9 for usd in allowed)


def _tries(run: Run, purpose: Purpose) -> int:
    """Return how many jobs of this step were meant to be started since it was last approved."""
    tries = 0
    for event in run.journal.events:
        if event.kind == "approval" and _approves(event.data["quote"], purpose):
            tries = 0
        elif event.kind == "job_intent" and event.data.get("purpose") == purpose:
            tries += 1
    return tries


def _approves(quote: Mapping[str, Any], purpose: Purpose) -> bool:
    return quote.get("purpose") == purpose or any(part["purpose"] == purpose for part in quote.get("parts", ()))


# --- one job ----------------------------------------------------------------------------------------------------------


def _finished(run: Run, purpose: Purpose, script_sha256: str, asking: Asking | None) -> Run:
    """Return the run with this step's job done: done before, followed to its end, or started now.

    Raises:
        ToolError: It failed.
    """
    while True:
        step = run.later.get(purpose, Later())
        is_same = step.intent is not None and step.intent.script_sha256 == script_sha256
        if is_same and step.report is not None and step.report.health == "done":
            _bring_home(run, purpose)
            return run
        if step.is_live and not is_same and step.job is not None:
            raise ToolError(
                f"the {NAMES[purpose]} job {step.job.id} still runs, and does something else than what is asked for.",
                hint=f"`ftagent cancel {run.id}` ends it",
            )
        run = _with_job(run, purpose, script_sha256, asking)
        run = follow(run, purpose)
        report = run.later[purpose].report
        assert report is not None
        if report.health != "done" and not (_may_go_again(report) and _tries(run, purpose) < TRIES):
            raise _failed(run, purpose, report)


def _bring_home(run: Run, purpose: Purpose) -> None:
    """Fetch the results of a job that is done, where they are not here, as on another machine."""
    job, report = run.later[purpose].job, run.later[purpose].report
    assert job is not None and report is not None
    if not (run.folder / results_folder(purpose)).is_dir():
        _backend(run).collect(run, job, JobState(stage=report.stage, seconds=report.seconds))


def _with_job(run: Run, purpose: Purpose, script_sha256: str, asking: Asking | None) -> Run:
    """Return the run with a job of this step: the live one, the one that was started before a crash, or a new one.

    Raises:
        ApprovalNeeded: Nobody approved it.
        BudgetExceeded: Its worst case would go over the cap.
        ToolError: It could not be started.
    """
    step, backend = run.later.get(purpose, Later()), _backend(run)
    if step.is_live and step.job is not None:
        return run
    if step.is_live and step.intent is not None and (job := backend.find(run, step.intent)):
        return run.record(job)  # we died between starting it and writing it down
    part = part_of(run, purpose, asking)
    intent = JobIntent(
        backend=backend.name,
        purpose=purpose,
        label=run.id,
        attempt=step.attempts + 1,
        script_sha256=script_sha256,
        flavor=part.flavor,
        timeout_s=part.timeout_s,
    )
    if step.is_live and step.intent == (pending := intent.model_copy(update={"attempt": step.attempts})):
        return run.record(backend.submit(run, pending))
    if not _is_covered(run, part):
        raise ApprovalNeeded(
            f"the {NAMES[purpose]} runs as a job on `{part.flavor}` (at most ${part.reserve_usd:.2f}), and nobody "
            "approved it.",
            hint=f"`ftagent resume {run.id} --yes`, or answer the question in a terminal",
        )
    hold_to_cap(run, _quote_of(run, part))
    run = run.record(intent)
    return run.record(backend.submit(run, intent))


def _may_go_again(report: JobReport) -> bool:
    """Whether the same job may well succeed: it was lost to the place where it ran."""
    return report.failure is not None and BY_NAME[report.failure.name].ladder[:1] == ("again",)


def _failed(run: Run, purpose: Purpose, report: JobReport) -> ToolError:
    job = run.later[purpose].job
    log = f"{run.folder / job.log}" if job else ""
    advice = report.failure.advice if report.failure else f"read {log}"
    return ToolError(
        f"the {NAMES[purpose]} job {report.job_id} ended as {report.stage.replace('_', ' ')}: {report.reason}.",
        hint=f"{advice}; `ftagent resume {run.id}` tries it again",
    )


def _backend(run: Run) -> Backend:
    assert run.spec is not None
    return backend_of(run.spec.backend)
