"""A job from the intent to start it to its end, and why it failed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from .base import Fact, Health, Purpose, Stage


class JobIntent(Fact):
    """Written before anything is submitted, so that a crash never leads to a second job."""

    backend: str
    purpose: Purpose = "train"
    label: str
    attempt: int
    """Counted for each purpose."""
    script_sha256: str
    flavor: str = ""
    timeout_s: int


class Job(Fact):
    """A job that exists."""

    id: str
    backend: str
    purpose: Purpose = "train"
    flavor: str
    label: str
    attempt: int
    script_sha256: str
    submitted_at: datetime
    timeout_s: int
    log: str
    """Log file, relative to the run folder."""
    url: str | None = None


class Alert(Fact):
    """Something that was noticed while the job ran."""

    level: Literal["info", "warn", "error"]
    rule: str
    text: str
    step: int | None = None


class Failure(Fact):
    """Why a job ended, as far as the end of its log and its backend tell."""

    name: str
    """The class, one of `tools/failures/table.py`."""
    words: str
    """What happened, as a sentence without its full stop."""
    evidence: tuple[str, ...]
    """The lines that show it, cut to size, without secrets."""
    advice: str
    """What a person should do where no repair is left."""


class Course(Fact):
    """How a number went: the means of the first and of the last tenth of its points."""

    label: str
    first: float
    last: float


class JobReport(Fact):
    """How a job stands, or how it ended."""

    job_id: str
    purpose: Purpose = "train"
    stage: Stage
    health: Health
    reason: str
    seconds: float
    step: int | None = None
    first_loss: float | None = None
    """Mean training loss of the first tenth of the points."""
    last_loss: float | None = None
    """Mean training loss of the last tenth."""
    leading: Course | None = None
    """The number that leads the method, where that is not its loss."""
    tokens_per_s: float | None = None
    peak_memory_gib: float | None = None
    cost_usd: float = 0.0
    exit_code: int | None = None
    failure: Failure | None = None
    """Set where a job failed for a reason that is known."""
    alerts: tuple[Alert, ...] = ()
    result: dict[str, Any] = {}
    """The script's own `result.json`."""

    @property
    def course(self) -> Course | None:
        """The course of the number that leads the method, None before anything was logged."""
        if self.leading is not None or self.first_loss is None or self.last_loss is None:
            return self.leading
        return Course(label="loss", first=self.first_loss, last=self.last_loss)
