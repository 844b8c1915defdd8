"""How one more fact changes a run; a run is its journal folded from the first line to the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..facts import (
    TERMINAL_STAGES,
    Answer,
    Approval,
    CheckpointSeries,
    DatasetReport,
    Ended,
    Evaluation,
    Export,
    Fact,
    GgufFile,
    HardwareChoice,
    Job,
    JobIntent,
    JobReport,
    LlmCall,
    Note,
    PreflightReport,
    Published,
    Purpose,
    Reopened,
    Repair,
    Resumed,
    Schedule,
    ScheduleApproval,
    Script,
    SeriesScript,
    Spec,
)
from ..journal import FACTS, Event
from ..settings import Settings
from .later import Later

if TYPE_CHECKING:
    from .state import Run

FILLS: dict[type[Fact], str] = {
    Settings: "settings",
    Spec: "spec",
    DatasetReport: "dataset",
    HardwareChoice: "hardware",
    Script: "script",
    PreflightReport: "preflight",
    Approval: "approval",
    JobIntent: "intent",
    Job: "job",
    JobReport: "report",
    Evaluation: "evaluation",
    Export: "export",
    ScheduleApproval: "schedule_approval",
    SeriesScript: "series",
    CheckpointSeries: "checkpoints",
    Ended: "ended",
}
"""Facts of which the latest counts, and the field of a run that holds it."""
ADDS: dict[type[Fact], str] = {Repair: "repairs", LlmCall: "llm_calls", Answer: "answers", Note: "notes"}
"""Facts of which all count."""
REPLACES: dict[type[Fact], tuple[str, str]] = {
    GgufFile: ("files", "quantisation"),
    Published: ("published", "repo_id"),
    Schedule: ("schedules", "id"),
}
"""Facts of which the latest of each name counts: the field of a run, and where the fact has its name."""

_ON_HARDWARE = ("script", "preflight", "approval", "schedule_approval")
STANDS_ON: dict[str, tuple[str, ...]] = {
    "pick_hardware": _ON_HARDWARE,
    "validate_dataset": ("hardware", *_ON_HARDWARE),
    "plan_run": ("dataset", "hardware", *_ON_HARDWARE),
}
"""What stands on a step, and is gone when the step is settled anew."""


def fold(run: Run, event: Event) -> Run:
    """Return `run` after one more event.

    A new script makes an old preflight and approval worthless, since both belong to the script's hash.
    """
    fact = FACTS[event.kind].model_validate(event.data)
    if purpose := _later_purpose(fact):
        return run.model_copy(update={"later": run.later | {purpose: _stepped(run.later.get(purpose, Later()), fact)}})
    return run.model_copy(update=_kept(run, fact) | _consequences(run, fact))


def _kept(run: Run, fact: Fact) -> dict[str, Any]:
    """Return the field that holds a fact, with the fact in it."""
    kind = type(fact)
    if kind in FILLS:
        return {FILLS[kind]: fact}
    if kind in ADDS:
        return {ADDS[kind]: (*getattr(run, ADDS[kind]), fact)}
    if kind in REPLACES:
        field, name = REPLACES[kind]
        others = (one for one in getattr(run, field) if getattr(one, name) != getattr(fact, name))
        return {field: (*others, fact)}
    if kind in (Reopened, Resumed):  # they change other facts only
        return {}
    raise TypeError(f"no rule folds {kind.__name__}")


def _consequences(run: Run, fact: Fact) -> dict[str, Any]:
    """Return what a fact changes beside the field that holds it."""
    match fact:
        case Script():
            return dict.fromkeys(("preflight", "approval", "schedule_approval"))
        case JobIntent():
            return {"attempts": run.attempts + 1, **_without_job(run)}
        case Repair():
            return _repaired(run, fact)
        case Schedule(state="deleted"):  # whoever wants it again must be asked again
            return {"schedule_approval": None}
        case Reopened():
            return dict.fromkeys(STANDS_ON[fact.step])
        case Resumed():
            return _taken_up(run, fact)
        case _:
            return {}


def _later_purpose(fact: Fact) -> Purpose | None:
    """Return which step after the training a fact belongs to, if any."""
    match fact:
        case Approval():
            purpose = fact.quote.purpose
        case JobIntent() | Job() | JobReport():
            purpose = fact.purpose
        case _:
            return None
    return None if purpose == "train" else purpose


def _stepped(step: Later, fact: Fact) -> Later:
    """Return a step after one more fact of its own."""
    change: dict[str, Any] = {FILLS[type(fact)]: fact}
    if isinstance(fact, JobIntent):
        change |= {"attempts": step.attempts + 1, "job": None, "report": None, "earlier_usd": step.cost_usd}
    return step.model_copy(update=change)


def _taken_up(run: Run, fact: Resumed) -> dict[str, Any]:
    """Forget what stands in the way of a new try; what was done stays done."""
    change: dict[str, Any] = {"ended": None}
    edited = run.script is not None and fact.script_sha256 not in (None, run.script.sha256)
    if run.script is not None and edited:
        change |= {"script": run.script.model_copy(update={"sha256": fact.script_sha256})}
        change |= {"preflight": None, "approval": None}
    if run.preflight is not None and not run.preflight.ok:
        change["preflight"] = None
    failed = run.report is not None and run.report.stage in TERMINAL_STAGES and run.report.health != "done"
    if failed and (edited or not fact.keeps_failure):
        change |= {"intent": None, "approval": None, **_without_job(run)}
    return change


def _repaired(run: Run, fact: Repair) -> dict[str, Any]:
    """Make room for the next job; what a repair changes must be proven and approved like the first."""
    if fact.rung is None:
        return {}
    change: dict[str, Any] = {"hardware": fact.hardware or run.hardware}
    change |= dict.fromkeys(("preflight", "approval", "intent", *(["script"] if fact.rewrites else [])))
    return change | _without_job(run)


def _without_job(run: Run) -> dict[str, Any]:
    """Make room for another job; what the former one has cost stays spent."""
    spent = run.report.cost_usd if run.report is not None else 0.0
    return {"job": None, "report": None, "earlier_usd": run.earlier_usd + spent}
