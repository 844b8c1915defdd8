"""How a job on Hugging Face stands, in our words: stage, exit code, seconds, reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..facts import Stage
from . import JobState

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

STAGES: dict[str, Stage] = {
    "SCHEDULING": "queued",
    "RUNNING": "running",
    "COMPLETED": "completed",
    "ERROR": "failed",
    "CANCELED": "cancelled",
    "DELETED": "cancelled",
}
_EXIT_CODE = re.compile(r"exit code:? *(\d+)", re.IGNORECASE)
_TIMEOUT = re.compile(r"time(d )?out", re.IGNORECASE)


def state_of(info: JobInfo) -> JobState:
    """Return the Hub's words as ours; a stage that is not known yet is none of the last ones."""
    message = info.status.message or ""
    stage = STAGES.get(str(info.status.stage), "running" if info.started_at else "queued")
    exit_code = 0 if stage == "completed" else _exit_code(message)
    if stage == "failed" and exit_code is None and _TIMEOUT.search(message):
        stage = "timed_out"
    return JobState(
        stage=stage,
        started_at=info.started_at,
        seconds=_seconds(info),
        exit_code=exit_code,
        reason=_reason(stage, message, info),
    )


def _exit_code(message: str) -> int | None:
    """Return the exit code that a status message names; a shell tells of a signal as 128 and its number."""
    if not (found := _EXIT_CODE.search(message)):
        return None
    code = int(found[1])
    return 128 - code if code > 128 else code


def _seconds(info: JobInfo) -> float:
    """Return how long the job has run, by the server's own count where it gives one."""
    if info.durations is not None and info.durations.running_secs is not None:
        return float(info.durations.running_secs)
    if info.started_at is None:
        return 0.0
    return max(0.0, ((info.finished_at or datetime.now(UTC)) - info.started_at).total_seconds())


def _reason(stage: Stage, message: str, info: JobInfo) -> str:
    if stage == "queued" and info.created_at:
        waited_s = (datetime.now(UTC) - info.created_at).total_seconds()
        return f"it has been waiting for {info.flavor} for {waited_s:.0f} s{f': {message}' if message else ''}"
    if stage in ("queued", "running", "completed"):
        return ""
    said = {"cancelled": "it was cancelled", "timed_out": "it ran longer than its limit"}.get(stage, "it failed")
    return f"{said}: {message}" if message else said
