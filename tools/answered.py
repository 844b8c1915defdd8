"""What a person answered to a plan's questions, laid over what the instruction said: the later word holds."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from .facts import Answer, Overrides
from .words import Reading, read_words

PLAIN = ("method", "backend", "budget_usd", "max_hours", "trigger", "subset", "split")
"""Fields of a reading that an answer replaces; model and dataset are the instruction's, or the planner's arguments."""


def with_answers(reading: Reading, answers: Sequence[Answer]) -> Reading:
    """Return the reading after the answers: what they say replaces what was said, and answered questions are gone.

    Args:
        reading: What the instruction said; it is changed.
        answers: The person's answers, oldest first. One that says nothing which can be read leaves its question open.
    """
    for answer in answers:
        if _answers_value(reading, answer) or _answers_words(reading, answer):
            reading.questions = [question for question in reading.questions if question != answer.question]
    return reading


def _answers_value(reading: Reading, answer: Answer) -> bool:
    """Take `3` as the answer to `num_train_epochs is stated as 2.0 and as 3.0: which one holds?`."""
    name, _, rest = answer.question.partition(" ")
    if not rest.startswith("is stated as"):
        return False
    said = answer.answer.strip().rstrip(".")
    try:
        if name in Overrides.model_fields:
            reading.overrides[name] = getattr(Overrides.model_validate({name: said}), name)
        elif name in ("budget_usd", "max_hours"):
            setattr(reading, name, float(said.lstrip("$")))
        else:
            return False
    except (ValidationError, ValueError):
        return False
    return True


def _answers_words(reading: Reading, answer: Answer) -> bool:
    later = read_words(answer.answer)
    if later.questions:
        return False
    found = {name: getattr(later, name) for name in PLAIN if getattr(later, name) is not None}
    for name, value in found.items():
        setattr(reading, name, value)
    reading.overrides |= later.overrides
    return bool(found or later.overrides)
