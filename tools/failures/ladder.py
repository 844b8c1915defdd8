"""Which repairs a run has left: at most three, each rung of a class once, and nothing that the person stated."""

from __future__ import annotations

from collections.abc import Callable

from ..facts import Parameter, Rung
from ..run import Run
from ..versions import installed_version
from .table import BY_NAME

MOST_REPAIRS = 3
CHECKPOINTS_KEPT = "save_total_limit"


def rungs_left(run: Run) -> tuple[Rung, ...]:
    """Return what may still be done about the failure of this run's last job, in the order of its ladder.

    Whether it would help, and whether it fits, only `repair_run` finds out.
    """
    report = run.report
    if report is None or report.stage not in ("failed", "timed_out") or report.failure is None:
        return ()
    made = [repair for repair in run.repairs if repair.rung is not None]
    given_up = any(repair.job_id == report.job_id for repair in run.repairs if repair.rung is None)
    if len(made) >= MOST_REPAIRS or given_up or report.failure.name not in BY_NAME:
        return ()
    ladder = BY_NAME[report.failure.name].ladder
    used = [ladder.index(r.rung) for r in made if r.failure.name == report.failure.name and r.rung in ladder]
    return tuple(rung for rung in ladder[max(used, default=-1) + 1 :] if _POSSIBLE[rung](run))


def parameter(run: Run, name: str) -> Parameter | None:
    """Return one of the script's parameters."""
    return next((p for p in run.script.parameters if p.name == name), None) if run.script else None


def was_edited(run: Run) -> bool:
    """Whether somebody changed `train.py` by hand: writing it anew would undo that."""
    written = [event.data["sha256"] for event in run.journal.events if event.kind == "write_script"]
    return run.script is not None and run.script.sha256 != written[-1]


def drifted_pins(run: Run) -> list[tuple[str, str, str]]:
    """Return the packages that are installed in another version than the script pins: name, pinned, installed."""
    pins = [pin.split("==") for pin in run.script.pins] if run.script else []
    return [(name, pin, now) for name, pin in pins if (now := installed_version(name)) not in (None, pin)]


def _is_free(run: Run, *names: str) -> bool:
    """Whether the person stated none of these values."""
    return run.spec is not None and not {*run.spec.overrides.given(), *run.spec.stated} & {*names}


def _rewrites(holds: Callable[[Run], bool]) -> Callable[[Run], bool]:
    """A rung that writes the script anew leaves one alone that was edited by hand."""
    return lambda run: run.hardware is not None and run.script is not None and not was_edited(run) and holds(run)


def _trains_there(run: Run) -> bool:
    """Whether a training takes its memory where it was full: on a GPU, batches do not fill the machine's own."""
    failed_for = run.report.failure.name if run.report and run.report.failure else ""
    return failed_for != "host_memory" or run.hardware is None or run.hardware.gpus == 0


def _may_halve(run: Run) -> bool:
    stated = ("per_device_train_batch_size", "gradient_accumulation_steps")
    return run.hardware is not None and run.hardware.batch > 1 and _is_free(run, *stated) and _trains_there(run)


def _may_checkpoint(run: Run) -> bool:
    return run.hardware is not None and not run.hardware.checkpointing and _trains_there(run)


def _may_move(run: Run) -> bool:
    return run.spec is not None and run.spec.backend == "hf-jobs" and _is_free(run, "flavor")


def _keeps_several(run: Run) -> bool:
    kept = parameter(run, CHECKPOINTS_KEPT)
    return kept is not None and kept.value > 1


def _always(run: Run) -> bool:
    del run
    return True


_POSSIBLE: dict[Rung, Callable[[Run], bool]] = {
    "smaller_batch": _rewrites(_may_halve),
    "checkpointing": _rewrites(_may_checkpoint),
    "larger_flavor": _rewrites(_may_move),
    "more_time": _rewrites(_always),
    "lower_learning_rate": _rewrites(lambda run: _is_free(run, "learning_rate")),
    "full_precision": _rewrites(lambda run: run.hardware is not None and run.hardware.precision != "fp32"),
    "other_precision": _rewrites(lambda run: run.hardware is not None and run.hardware.precision != "fp32"),
    "fewer_checkpoints": _rewrites(_keeps_several),
    "again": _always,
    "from_start": _rewrites(_always),
    "rewrite": _rewrites(lambda run: bool(drifted_pins(run))),
}
