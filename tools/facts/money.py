"""What a job may cost, and who allowed it."""

from __future__ import annotations

from .base import Fact, Purpose
from .hardware import Range


class QuotePart(Fact):
    """What a job is expected to take that comes after the training: an evaluation, or an export."""

    purpose: Purpose
    flavor: str
    hours: Range
    cost_usd: Range
    reserve_usd: float
    """Price × timeout."""
    timeout_s: int
    reason: str = ""


class Quote(Fact):
    """What a job is expected to take, and the worst case that is reserved."""

    backend: str
    purpose: Purpose = "train"
    flavor: str
    script_sha256: str
    hours: Range
    cost_usd: Range
    reserve_usd: float
    """Price × timeout."""
    timeout_s: int
    parts: tuple[QuotePart, ...] = ()
    """Jobs that come after it under the same approval; their hours, costs and reserves are counted in those above."""
    uploads: str = ""
    """What leaves this machine with the job, and where to."""


class Approval(Fact):
    """Somebody allowed one quote."""

    quote: Quote
    by: str
    """`--yes`, `person`, `callable`."""
