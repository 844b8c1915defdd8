"""What listeners are told beside the facts: one model for the data of each transient kind of event."""

from __future__ import annotations

from pydantic import ConfigDict

from .facts import Alert, Fact

PLANNER = "planner"
"""The step in which an LLM is asked what comes next."""


class StepBegun(Fact):
    """A tool was called."""

    tool: str


class Progress(Fact):
    """A long step is under way; which of these are there depends on the step, and a step may tell more."""

    model_config = ConfigDict(frozen=True, extra="allow")

    step: int | str | None = None
    """In words; while a job trains, the training's own step."""
    text: str | None = None
    done: int | None = None
    total: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    fraction: float | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    cost_usd: float | None = None
    cost_usd_left: float | None = None


class Example(Fact):
    """One row as the trainer sees it."""

    row: int
    segments: tuple[tuple[str, bool], ...]
    """Text, and whether it carries loss."""


class Said(Fact):
    """The planner's LLM said something beside its call: what it makes of what it saw, and what it is about to do."""

    text: str


class Asks(Fact):
    """A person is asked to approve."""

    text: str


class Watched(Fact):
    """Somebody who looked on saw the job's end."""

    stage: str
    text: str


class Failed(Fact):
    """The run stops here."""

    code: str
    message: str
    hint: str


TOLD: dict[str, type[Fact]] = {
    "step": StepBegun,
    "progress": Progress,
    "example": Example,
    "alert": Alert,
    "said": Said,
    "asks": Asks,
    "watched": Watched,
    "error": Failed,
}
"""Transient kind -> the model of its data."""
