"""A run that repeats itself: its price, who allowed it, and what fires it."""

from __future__ import annotations

from typing import Literal

from .base import Fact
from .evaluation import Comparison
from .spec import Trigger


class ScheduleQuote(Fact):
    """What a schedule may cost: firings × the worst case of one, which is price × timeout."""

    trigger: Trigger
    flavor: str
    script_sha256: str
    timeout_s: int
    once_usd: float
    """The worst case of one firing."""
    firings_a_month: float | None
    """None for a webhook: nobody knows how many commits come."""
    month_usd: float | None
    """The worst case of an average month."""


class ScheduleApproval(Fact):
    """A person allowed one schedule; nobody else can."""

    quote: ScheduleQuote
    by: str


class Schedule(Fact):
    """A run that is repeated on Hugging Face Jobs, or was."""

    id: str
    """Of the scheduled job, or of the webhook."""
    trigger: Trigger
    namespace: str
    label: str
    """By which it is found again."""
    flavor: str
    script_sha256: str
    pushes_to: str
    """Of a training, the repository of each firing: this, a hyphen, and the id of the firing's job. Of an evaluation,
    where the results go."""
    state: Literal["active", "suspended", "deleted"] = "active"
    source_job: str | None = None
    """For a webhook, the job of which each firing is a copy; it ended at once, without training."""


class SeriesScript(Fact):
    """The script that evaluates new checkpoints, as it ran here once on a tiny one."""

    path: str
    sha256: str
    repository: str
    """Whose checkpoints it looks for, and where its results go."""
    new: int
    """Checkpoints that were there when it was proven."""
    means: dict[str, float]
    """What it measured of the tiny one."""
    seconds: float
    log: str


class SeriesPoint(Fact):
    """One checkpoint, as a firing has found it."""

    label: str
    """Its commit's title, its tag, its branch or its folder."""
    step: int | None
    repository: str
    revision: str
    folder: str
    at: str
    """When it was pushed."""
    job: str | None
    """The firing that measured it."""
    rows_sha256: str
    """The held-out rows; only checkpoints on the same ones can be compared."""
    comparison: Comparison | None
    """Beside the base model; None where the checkpoint is broken, or the base was not measured yet."""
    broken: str = ""


class CheckpointSeries(Fact):
    """All checkpoints that were evaluated so far, oldest first."""

    repository: str
    points: tuple[SeriesPoint, ...]
