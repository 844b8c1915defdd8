"""The answer to a failed job."""

from __future__ import annotations

from typing import Any

from .base import Fact, Rung
from .hardware import HardwareChoice, Range
from .job import Failure


class Change(Fact):
    """One value that a repair changes."""

    name: str
    old: Any
    new: Any


class Repair(Fact):
    """The answer to one failure: one bounded change, after which the run goes on; or that there is none."""

    job_id: str
    """The job that failed."""
    failure: Failure
    rung: Rung | None
    """None where nothing that may be changed would help: then a person must decide."""
    words: str
    """What is done, or why nothing is, in one sentence."""
    changes: tuple[Change, ...] = ()
    hardware: HardwareChoice | None = None
    """The choice from now on, where it changes."""
    overrides: dict[str, Any] = {}
    """Values of the script that the repair sets, from now on."""
    planned: dict[str, Any] = {}
    """Values of the script that a planner had set, and that stay."""
    rewrites: bool = False
    """Whether the script must be written anew."""
    starts_anew: bool = False
    """Whether the next job must not go on from what the last one left."""
    hours: Range | None = None
    """What the next job takes; None where there is none."""
    cost_usd: Range | None = None
