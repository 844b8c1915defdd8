"""How a run goes on: taken up, reopened, asked about, noted, paid for, ended."""

from __future__ import annotations

from typing import Literal

from .base import Fact


class Ended(Fact):
    """How the run came to its end."""

    status: Literal["completed", "failed", "cancelled", "timed_out", "dry_run"]
    reason: str = ""


class Resumed(Fact):
    """Somebody took the run up again; what had failed may be tried anew."""

    script_sha256: str | None
    """Hash of `train.py` as it lies on disk now; a script that was edited by hand must pass preflight again."""
    keeps_failure: bool = False
    """Whether a failed job stays what it is, since its repair comes next."""


class LlmCall(Fact):
    """One call of the planner's LLM, booked when it was made."""

    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None when the provider's price is not known."""
    cached_tokens: int = 0
    """Of the prompt, those that the provider had in its cache."""
    call: str | None = None
    """The tool that was called; None where the reply was no call."""
    valid: bool | None = None
    """Whether the tool was legal and its arguments of its types; None in journals from before this was noted."""
    mended: bool = False
    """Whether the call was read from a reply that was not quite one."""


class Reopened(Fact):
    """A step is settled anew, before any job: what stood on it is to be done anew, too."""

    step: Literal["plan_run", "validate_dataset", "pick_hardware"]


class Answer(Fact):
    """What the person answered when the planner asked."""

    question: str
    answer: str


class Note(Fact):
    """Something worth keeping that settles nothing: a retry, a rail that took over, a refusal."""

    text: str
    code: str = ""
