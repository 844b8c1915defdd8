"""How a job stands or ended, as far as it can be believed: exit code 0 needs evidence, a failure needs a cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .backends import JobState
from .facts import TERMINAL_STAGES, Failure, Health, Stage
from .failures.recognise import JobEnd, recognise
from .rules import Rule
from .run import Run
from .trained import CHECKPOINT

RESULT = "result.json"
OUT_OF_TIME = 4
"""The script's exit code when it saved and stopped shortly before its timeout (`tools/templates/base.py`)."""
WEIGHTS = ("adapter_model.safetensors", "model*.safetensors")

Tail = Callable[[], list[str]]
"""Fetches the end of the job's log, which may be far away."""


def verdict(run: Run, state: JobState, findings: dict[Rule, str], tail: Tail) -> tuple[Stage, Health, str]:
    """Return the stage, the health and the reason, as far as they can be believed.

    Args:
        run: The run of the job.
        state: What its backend says.
        findings: The rules that hold, and what each says.
        tail: Fetches the end of its log.
    """
    has_ended, may_end = state.stage in TERMINAL_STAGES, run.settings.cancel_hopeless
    grave = {rule: text for rule, text in findings.items() if not has_ended or (may_end and rule.level == "error")}
    if grave:
        worst = min(grave, key=lambda rule: rule.level)  # "error" comes before "warn"
        return ("failed" if has_ended else state.stage), worst.health, grave[worst]
    match state.stage:
        case "completed":
            if missing := _missing_evidence(run.folder, state):
                return "failed", "failed", missing
            return "completed", "done", "the training ran to its end"
        case "cancelled":
            return "cancelled", "cancelled", state.reason
        case "timed_out":
            return "timed_out", "timed_out", state.reason
        case "failed" if state.exit_code == OUT_OF_TIME:
            return "timed_out", "timed_out", "it saved a checkpoint and stopped, as its time was almost over"
        case "failed":
            return "failed", "failed", _why_it_failed(state, tail())
        case _:
            return state.stage, "healthy", state.reason or f"it has been {state.stage} for {state.seconds:.0f} s"


def failure_of(state: JobState, stage: Stage, findings: dict[Rule, str], tail: Tail) -> Failure | None:
    """Return why a job failed, where that is known: by the rule that ended it, its backend, or its log.

    Args:
        state: What its backend says.
        stage: The stage that is believed.
        findings: The rules that hold, and what each says.
        tail: Fetches the end of its log.
    """
    if stage not in ("failed", "timed_out"):
        return None
    ended_by = next((text for rule, text in findings.items() if rule.level == "error"), None)
    return recognise(JobEnd(stage=stage, exit_code=state.exit_code, reason=ended_by or state.reason, tail=tail()))


def read_result(folder: Path) -> dict[str, Any]:
    """Return what the script wrote as its result."""
    return json.loads((folder / RESULT).read_text(encoding="utf-8"))


def _missing_evidence(folder: Path, state: JobState) -> str | None:
    """Say what is missing for believing that a script with exit code 0 has trained."""
    result = folder / RESULT
    started = state.started_at.timestamp() if state.started_at else 0.0
    if not result.exists() or result.stat().st_mtime < started:
        return f"the script ended without an error, but wrote no {RESULT}"
    if not any(next((folder / CHECKPOINT).glob(pattern), None) for pattern in WEIGHTS):
        return f"the script ended without an error, but {CHECKPOINT}/ holds no weights"
    return None


def _why_it_failed(state: JobState, tail: list[str]) -> str:
    """Say why in the script's own words, or else in the backend's."""
    raised = _raised(tail)
    if raised and (state.exit_code or 0) > 0:
        return raised
    return state.reason + (f"; its last line: {tail[-1]}" if tail else "")


def _raised(tail: list[str]) -> str | None:
    """Return the line that names the exception of the last traceback; more may have been printed after it."""
    starts = [number for number, line in enumerate(tail) if line.startswith("Traceback (most recent call last)")]
    after = tail[starts[-1] + 1 :] if starts else []
    return next((line for line in after if not line.startswith(" ")), None)
