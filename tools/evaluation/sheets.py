"""What a harness asks of base and tuned model, and what they said: the same, wherever they are asked.

A harness states its questions (`sheets`) and makes comparisons of the answers (`part`). In between somebody asks:
`models.py` on this machine, `in_job.py` in a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..run import Run
from ..templates.openai_client import Decoding, Judge, Question, Told
from .part import Part

ModelName = Literal["base", "tuned"]
Templates = tuple[str | None, str | None]
"""The chat templates of base and tuned model."""
Lines = dict[str, dict[str, Any]]
"""A line for each question, by its key: `text`, `tokens`, `stopped`, and what the judge made of them."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Questions to one of both models, decoded in one way."""

    model: ModelName
    name: str
    """In names of files: what is asked, and how."""
    what: str
    """For those who wait."""
    questions: Sequence[Question]
    decoding: Decoding
    context: int
    """Tokens of prompt and answer that one question may have."""
    judge: Judge
    """Called with each answer, on this machine."""
    made_by: tuple[Any, ...]
    """Everything that a line depends on beside the model and its server."""
    is_shared: bool = False
    """Whether the base's lines may serve other runs."""

    @property
    def title(self) -> str:
        """What tells it from all other sheets of an evaluation."""
        return f"{self.model}-{self.name}"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What both models have answered."""

    lines: Mapping[str, Lines]
    """By the titles of the sheets."""
    served: str
    """What served them, for a report."""

    def to(self, sheet: Sheet) -> Lines:
        """Return the lines of a sheet."""
        return self.lines[sheet.title]


class Harness(Protocol):
    """Something that is measured by questions."""

    @property
    def is_stated(self) -> bool:
        """Whether a person wants it, and not only the rows call for it."""
        ...

    def sheets(self, templates: Templates) -> Sequence[Sheet]:
        """Return what is to be asked of models with these chat templates."""
        ...

    def part(self, run: Run, said: Said, templates: Templates) -> Part:
        """Return what the answers show."""
        ...


def not_judged(question: Question, told: Told) -> dict[str, Any]:
    """Keep the answer alone."""
    return {}
