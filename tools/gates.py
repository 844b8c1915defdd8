"""Which tool is legal when: one table, read by the tools themselves and by the toolbox that offers them.

A prompt asks; a gate refuses. Each tool calls `require` first, so no planner and no face gets around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import GateClosed
from .facts import TERMINAL_STAGES
from .failures.ladder import rungs_left
from .run import Run


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition that a tool stands on."""

    holds: Callable[[Run], bool]
    reason: str
    hint: str


def _gate(holds: Callable[[Run], bool], reason: str, hint: str) -> Gate:
    return Gate(holds=holds, reason=reason, hint=hint)


def _approves_a_proven_script(run: Run) -> bool:
    """Whether a person approved a schedule of the training's script, or of the one that evaluates checkpoints."""
    approval, proven = run.schedule_approval, {script.sha256 for script in (run.script, run.series) if script}
    return approval is not None and approval.by == "person" and approval.quote.script_sha256 in proven


def _preflight_is_of_this_script(run: Run) -> bool:
    return run.script is not None and run.preflight is not None and run.preflight.script_sha256 == run.script.sha256


PLANNED = _gate(lambda run: run.spec is not None, "the run has no plan", "call plan_run")
DECIDED = _gate(
    lambda run: run.spec is not None and not run.spec.questions,
    "a person must decide first",
    "answer the plan's questions in the instruction",
)
DATA = _gate(
    lambda run: run.dataset is not None and run.dataset.verdict != "refused",
    "the dataset is not validated",
    "call validate_dataset",
)
HARDWARE = _gate(lambda run: run.hardware is not None, "no hardware is chosen", "call pick_hardware")
SCRIPT = _gate(lambda run: run.script is not None, "there is no script", "call write_script")
PROVEN = _gate(
    lambda run: _preflight_is_of_this_script(run) and run.preflight is not None and run.preflight.ok,
    "there is no green preflight of this very script",
    "call preflight",
)
APPROVED = _gate(
    lambda run: (
        run.approval is not None and run.script is not None and run.approval.quote.script_sha256 == run.script.sha256
    ),
    "nobody approved this job",
    "run with --yes, or answer the question in a terminal",
)
REMOTE = _gate(
    lambda run: run.spec is not None and run.spec.backend == "hf-jobs",
    "only what runs on Hugging Face Jobs can be repeated: this machine is not always there",
    "plan the run with --backend hf-jobs",
)
SCHEDULE_APPROVED = _gate(
    _approves_a_proven_script,
    "no person approved a schedule of this script, and nothing else can",
    "call schedule_run in a terminal, and answer its question",
)
NO_LIVE_JOB = _gate(
    lambda run: run.job is None or not run.job_is_live,
    "an unfinished job of this run exists",
    "call monitor_job, or cancel_job",
)
JOB = _gate(lambda run: run.job is not None, "there is no job", "call submit_job")
NO_JOB = _gate(
    lambda run: run.job is None and run.intent is None,
    "a job of this plan was started",
    "plan a new run: call plan_run without one",
)
LIVE_JOB = _gate(
    lambda run: run.job is not None and (run.job_is_live or any(s.is_live and s.job for s in run.later.values())),
    "no job is running",
    "call show_run",
)
REPAIRABLE = _gate(
    lambda run: bool(rungs_left(run)),
    "no job failed for a reason that is known and has a repair left",
    "call show_run: it says what a person should decide",
)
TRAINED = _gate(
    lambda run: run.report is not None and run.report.health == "done",
    "the training has not completed",
    "call monitor_job",
)

GATES: dict[str, tuple[Gate, ...]] = {
    "plan_run": (NO_JOB,),
    "validate_dataset": (PLANNED, DECIDED),
    "pick_hardware": (PLANNED, DECIDED, DATA),
    "write_script": (PLANNED, DATA, HARDWARE),
    "preflight": (SCRIPT,),
    "submit_job": (SCRIPT, PROVEN, APPROVED, NO_LIVE_JOB),
    "monitor_job": (JOB,),
    "repair_run": (REPAIRABLE,),
    "cancel_job": (LIVE_JOB,),
    "evaluate_model": (TRAINED,),
    "export_gguf": (TRAINED,),
    "schedule_run": (REMOTE, SCRIPT, PROVEN, SCHEDULE_APPROVED),
}


def closed_gate(tool: str, run: Run, *, but: frozenset[Gate] = frozenset()) -> Gate | None:
    """Return the first gate of `tool` that does not hold, or None when the tool is legal.

    Args:
        tool: The tool's name.
        run: The run that it would work on.
        but: Gates that somebody else will see to, such as the approval that is asked for at the call.
    """
    return next((gate for gate in GATES[tool] if gate not in but and not gate.holds(run)), None)


def require(tool: str, run: Run, *, but: frozenset[Gate] = frozenset()) -> None:
    """Raise unless `tool` is legal now; `but` are gates that the caller sees to itself.

    Raises:
        GateClosed: With the reason, and the tool that opens the gate.
    """
    if gate := closed_gate(tool, run, but=but):
        raise closed(tool, gate)


def closed(tool: str, gate: Gate) -> GateClosed:
    """Return the refusal of a tool at a gate."""
    return GateClosed(f"{tool} is not legal now: {gate.reason}.", hint=gate.hint)


def next_tool(run: Run) -> str | None:
    """Return the step that the way expects next, or None when all that was asked for is done or cannot be."""
    if run.ended is not None:
        return None
    if run.spec is None:
        return "plan_run"
    if run.spec.questions:
        return None
    if run.dataset is None or run.dataset.verdict == "refused":
        return "validate_dataset"
    if run.hardware is None:
        return "pick_hardware"
    if run.script is None:
        return "write_script"
    if not _preflight_is_of_this_script(run):
        return "preflight"
    if run.preflight is None or not run.preflight.ok:
        return None
    if run.job is None:
        return "submit_job"
    if run.report is None or run.report.stage not in TERMINAL_STAGES:
        return "monitor_job"
    if run.report.health != "done":
        return "repair_run" if REPAIRABLE.holds(run) else None
    if "evaluate" in run.spec.targets and run.evaluation is None:
        return "evaluate_model"
    if {"export", "publish"} & {*run.spec.targets} and run.export is None:
        return "export_gguf"
    if "schedule" in run.spec.targets and not run.schedules:
        return "schedule_run"
    return None
