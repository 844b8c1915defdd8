"""A run that repeats itself: its price, who allowed it, and what fires it."""

from __future__ import annotations

from typing import Literal

from .base import Fact
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
    """The repository of each firing: this, a hyphen, and the id of the firing's job."""
    state: Literal["active", "suspended", "deleted"] = "active"
    source_job: str | None = None
    """For a webhook, the job of which each firing is a copy; it ended at once, without training."""
