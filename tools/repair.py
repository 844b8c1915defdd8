"""Answers a recognised failure with one bounded change, after which the way goes on: script, preflight, approval, job.

What the person stated, the method, model, dataset, length and epochs never change, and the rows of an optimizer step
stay as they are. Not covered: a failure that no class of `failures/table.py` knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .backends import backend_of
from .catalog import catalog
from .chosen import TIMEOUT_FLOOR_S, TIMEOUT_STEP_S
from .errors import ToolError
from .facts import Change, Failure, HardwareChoice, JobReport, Precision, Repair, Rung
from .failures.ladder import CHECKPOINTS_KEPT, drifted_pins, parameter, rungs_left
from .flavor import Flavor
from .gates import require
from .hardware import pick_hardware
from .metrics import pace, read_metrics
from .monitor import METRICS
from .outlook import total_steps
from .parameters import BY_PLANNER
from .rules import RECENT
from .run import Run
from .trained import CHECKPOINT

TIME_MARGIN = 1.5
"""Over what the steps that are left take at the pace that was seen: start, evaluations and saves come on top."""


def repair_run(run: Run) -> Repair:
    """Repair the run whose job failed for a known reason, by one bounded change, and say what it changes.

    Returns the class of the failure with the log lines that show it, what changes (old and new), and what the next job
    takes. Afterwards the way goes on with write_script or preflight, and the next job must be approved under the same
    cap. Nothing that the person stated is changed, nor the method, model, data, length or epochs. Where no change is
    left that would help, it says what a person must decide.

    Args:
        run: The run, with a job that failed or timed out.

    Raises:
        GateClosed: The job has not failed, nobody knows why it failed, or no repair is left for it.
    """
    require("repair_run", run)
    assert run.report is not None and run.report.failure is not None
    in_vain: list[str] = []
    for rung in rungs_left(run):
        try:
            step = STEPS[rung](run)
        except ToolError as error:
            in_vain.append(f"{rung.replace('_', ' ')}: {error.message}")
            continue
        if step.starts_anew:
            _put_checkpoints_aside(run)
        return _repair(run, run.report, run.report.failure, rung, step)
    return Repair(
        job_id=run.report.job_id,
        failure=run.report.failure,
        rung=None,
        words=f"no repair would help ({'; '.join(in_vain)}): {run.report.failure.advice}",
    )


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one rung does."""

    words: str
    changes: tuple[Change, ...] = ()
    hardware: HardwareChoice | None = None
    overrides: dict[str, float] | None = None
    rewrites: bool = False
    starts_anew: bool = False
    """Whether what the job left is no place to go on from; the script must then be rewritten, since it says so."""


def _repair(run: Run, report: JobReport, failure: Failure, rung: Rung, step: Step) -> Repair:
    hardware = step.hardware or run.hardware
    parameters = run.script.parameters if run.script and step.rewrites else ()
    return Repair(
        job_id=report.job_id,
        failure=failure,
        rung=rung,
        words=step.words,
        changes=step.changes,
        hardware=step.hardware,
        overrides=step.overrides or {},
        planned={p.name: p.value for p in parameters if p.reason == BY_PLANNER},
        rewrites=step.rewrites,
        starts_anew=step.starts_anew,
        hours=hardware.hours if hardware else None,
        cost_usd=hardware.cost_usd if hardware else None,
    )


# --- memory -----------------------------------------------------------------------------------------------------------


def smaller_batch(run: Run) -> Step:
    """Halve the rows that are computed at once and double the accumulation: a step keeps its rows."""
    former = _hardware(run)
    least = 2 if run.spec and run.spec.method == "kto" else 1  # KTO holds a row against its neighbour
    sizes = [size for size in range(least, former.batch // 2 + 1) if former.batch % size == 0]
    if not sizes:
        raise ToolError(f"a batch of {former.batch} cannot be halved.")
    accumulation = former.accumulation * former.batch // sizes[-1]
    chosen = _refit(run, batch=sizes[-1], accumulation=accumulation)
    return _hardware_step(former, chosen, "the batch is halved and accumulated twice as often", "batch", "accumulation")


def checkpointing(run: Run) -> Step:
    """Compute activations twice instead of keeping them."""
    former = _hardware(run)
    chosen = _refit(run, checkpointing=True)
    return _hardware_step(former, chosen, "activations are computed twice instead of kept", "checkpointing")


def larger_flavor(run: Run) -> Step:
    """Take the cheapest flavor with as many GPUs and more of the memory that was full."""
    former = _hardware(run)
    of_gpu = former.gpus > 0 and (run.report is None or not _failed_for(run, "host_memory"))
    here = next((flavor for flavor in catalog().flavors if flavor.name == former.flavor), None)
    if here is None:
        raise ToolError(f"`{former.flavor}` is no flavor that can be rented.")
    larger = [f for f in catalog().flavors if f.gpus == former.gpus and _room(f, of_gpu) > _room(here, of_gpu)]
    for flavor in sorted(larger, key=lambda flavor: (flavor.usd_per_hour, _room(flavor, of_gpu))):
        try:
            chosen = _refit(run, flavor=flavor.name, precision=None)
        except ToolError:
            continue  # too dear, or lacking something else: the next one may do
        return _hardware_step(former, chosen, "a flavor with more memory is taken", "flavor", "precision")
    raise ToolError(f"no flavor with more memory than `{former.flavor}` stays within the limits.")


def _room(flavor: Flavor, of_gpu: bool) -> float:
    return flavor.gpu.memory_gib if of_gpu and flavor.gpu else flavor.memory_gib


def _failed_for(run: Run, name: str) -> bool:
    return run.report is not None and run.report.failure is not None and run.report.failure.name == name


# --- time, numbers, disk ----------------------------------------------------------------------------------------------


def more_time(run: Run) -> Step:
    """Go on from the last checkpoint, with a limit that the steps which are left need at the pace that was seen."""
    assert run.report is not None
    former = _hardware(run)
    points = read_metrics(run.folder / METRICS)
    steps_per_s, total = pace(points[-RECENT:]), total_steps(run, points)
    if not steps_per_s or total is None:
        raise ToolError(f"in {run.report.seconds:.0f} s no two steps were logged: more time would be a guess.")
    saved = _saved_step(run)
    needed_s = TIME_MARGIN * (total - saved) / steps_per_s
    timeout_s = max(former.timeout_s, TIMEOUT_FLOOR_S, math.ceil(needed_s / TIMEOUT_STEP_S) * TIMEOUT_STEP_S)
    timeout_s = _within_stated_hours(run, timeout_s, needed_s)
    return Step(
        words=f"it goes on from step {saved} of {total}, with a limit of {timeout_s} s",
        changes=(Change(name="timeout_s", old=former.timeout_s, new=timeout_s),),
        hardware=former.model_copy(update={"timeout_s": timeout_s}),
        rewrites=True,  # the script, too, looks at its clock, and would stop at the old limit
    )


def _within_stated_hours(run: Run, timeout_s: int, needed_s: float) -> int:
    """Return the limit, cut to what is left of the hours that the person allowed.

    Raises:
        ToolError: The steps that are left need more.
    """
    if run.spec is None or run.spec.max_hours is None:
        return timeout_s
    spent = {e.data["job_id"]: e.data["seconds"] for e in run.journal.events if e.kind == "monitor_job"}
    left_s = run.spec.max_hours * 3600 - sum(spent.values())
    if needed_s > left_s:
        raise ToolError(f"about {needed_s:.0f} s are needed, and {max(0, left_s):.0f} s of the allowed hours are left.")
    return min(timeout_s, int(left_s))


def _saved_step(run: Run) -> int:
    """Return the step that the next job goes on from, 0 where nothing was saved."""
    return backend_of(run.spec.backend if run.spec else "local").saved_step(run)


def lower_learning_rate(run: Run) -> Step:
    """Start anew at half the learning rate: a checkpoint would bring the old one back with its schedule."""
    former = parameter(run, "learning_rate")
    if former is None:
        raise ToolError("the script has no learning rate.")
    change = Change(name="learning_rate", old=former.value, new=former.value / 2)
    return Step(
        words="the training starts anew at half the learning rate",
        changes=(change,),
        overrides={change.name: change.new},
        rewrites=True,
        starts_anew=True,
    )


def full_precision(run: Run) -> Step:
    """Start anew in float32, where numbers do not overflow at 65,504."""
    step = _precision_step(run, "fp32", "the training starts anew in full precision")
    return Step(words=step.words, changes=step.changes, hardware=step.hardware, rewrites=True, starts_anew=True)


def other_precision(run: Run) -> Step:
    """Take a precision that older hardware computes."""
    former = _hardware(run)
    wanted: Precision = "fp16" if former.precision == "bf16" and former.gpus else "fp32"
    return _precision_step(run, wanted, f"{former.precision} gives way to {wanted}")


def _precision_step(run: Run, precision: Precision, words: str) -> Step:
    return _hardware_step(_hardware(run), _refit(run, precision=precision), words, "precision")


def fewer_checkpoints(run: Run) -> Step:
    """Keep one checkpoint instead of several."""
    kept = parameter(run, CHECKPOINTS_KEPT)
    if kept is None:
        raise ToolError("the script does not say how many checkpoints it keeps.")
    change = Change(name=kept.name, old=kept.value, new=1)
    return Step(words="one checkpoint is kept at a time", changes=(change,), overrides={change.name: 1}, rewrites=True)


# --- the same job ----------------------------------------------------------------------------------------------------


def again(run: Run) -> Step:
    """Start the same job once more; it goes on from its last checkpoint."""
    saved = _saved_step(run)
    return Step(words=f"the same job goes on from step {saved}" if saved else "the same job is started once more")


def from_start(run: Run) -> Step:
    """Start the same job without the checkpoint that it could not read."""
    del run
    return Step(words="the checkpoints are put aside, and the training starts anew", rewrites=True, starts_anew=True)


def rewrite(run: Run) -> Step:
    """Write the script anew for the versions that are installed now."""
    changes = tuple(Change(name=name, old=old, new=new) for name, old, new in drifted_pins(run))
    return Step(words="the script is written for the versions that are installed now", changes=changes, rewrites=True)


STEPS: dict[Rung, Callable[[Run], Step]] = {
    "smaller_batch": smaller_batch,
    "checkpointing": checkpointing,
    "larger_flavor": larger_flavor,
    "more_time": more_time,
    "lower_learning_rate": lower_learning_rate,
    "full_precision": full_precision,
    "other_precision": other_precision,
    "fewer_checkpoints": fewer_checkpoints,
    "again": again,
    "from_start": from_start,
    "rewrite": rewrite,
}


# --- what they share --------------------------------------------------------------------------------------------------


def _hardware(run: Run) -> HardwareChoice:
    if run.hardware is None:
        raise ToolError("no hardware is chosen.", hint="call pick_hardware")
    return run.hardware


def _refit(run: Run, *, accumulation: int | None = None, **changed: object) -> HardwareChoice:
    """Return the hardware as it was but for what is changed, after its memory, time and price were worked out anew.

    Accumulation and epochs are carried over, since a planner may have chosen other ones than the rules would.

    Raises:
        ToolError: It does not fit, or breaks a limit.
    """
    former = _hardware(run)
    fixed = {
        name: getattr(former, name)
        for name in ("flavor", "adapter", "precision", "batch", "max_length", "checkpointing")
    }
    picked = pick_hardware(run, **{**fixed, **changed})
    kept = {"accumulation": accumulation or former.accumulation, "epochs": former.epochs}
    return picked.model_copy(update={**kept, "timeout_s": max(picked.timeout_s, former.timeout_s)})


def _hardware_step(former: HardwareChoice, chosen: HardwareChoice, words: str, *names: str) -> Step:
    values = ((name, getattr(former, name), getattr(chosen, name)) for name in names)
    changes = tuple(Change(name=name, old=old, new=new) for name, old, new in values if old != new)
    return Step(words=words, changes=changes, hardware=chosen, rewrites=True)


def _put_checkpoints_aside(run: Run) -> None:
    """Rename the checkpoint folder, so that the next job finds none and a person still does."""
    folder = run.folder / CHECKPOINT
    if folder.exists():
        folder.rename(folder.with_name(f"{CHECKPOINT}-before-repair-{len(run.repairs) + 1}"))
