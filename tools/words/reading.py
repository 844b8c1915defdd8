"""One instruction, read in the order in which it must be: when it repeats, how many rows, the names, all else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..facts import Method, Target, Trigger
from ..triggers import TriggerReading, read_trigger
from .choices import read_flavor, read_lists, read_method, read_place, read_plan_only, read_targets
from .names import read_names
from .samples import read_samples
from .text import unified
from .unread import unread_in
from .values import read_values


@dataclass(kw_only=True)
class Reading:
    """What an instruction says, before anything was looked up."""

    model: str | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str | None = None
    method: Method | None = None
    targets: tuple[Target, ...] = ()
    refused_targets: tuple[Target, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)
    budget_usd: float | None = None
    max_hours: float | None = None
    backend: str | None = None
    flavor: str | None = None
    plan_only: bool = False
    """Whether nothing is to be started."""
    unread: tuple[str, ...] = ()
    """What has a number in it and was not understood."""
    trigger: Trigger | None = None
    questions: list[str] = field(default_factory=list)


def read_words(text: str) -> Reading:
    """Read one instruction.

    Args:
        text: The instruction, in any language of `languages.py`; names may be quoted.

    Returns:
        What was said, under the names of `Spec`; a value that was said twice differently becomes a question.
    """
    when = read_trigger(unified(text))
    samples = read_samples(when.rest)
    names = read_names(samples.rest)
    questions = [*samples.questions, *names.questions]
    lowered = names.rest.lower()
    lists, without_bits = read_lists(lowered)
    values, rest = read_values(without_bits, questions)
    limits = {name: values.pop(name, None) for name in ("budget_usd", "max_hours")}
    method = read_method(lowered, questions)
    targets, refused = read_targets(lowered, questions)
    named = {"teacher": names.teacher, "rewards": names.rewards} | lists
    reading = Reading(
        model=names.model,
        dataset=names.dataset,
        subset=names.subset,
        split=names.split,
        method=method or ("distillation" if names.teacher else None),  # nothing else has a teacher
        targets=targets,
        refused_targets=refused,
        overrides={name: value for name, value in named.items() if value} | values | samples.overrides,
        **limits,
        backend=read_place(lowered, questions),
        flavor=read_flavor(lowered, questions),
        plan_only=read_plan_only(lowered),
        unread=unread_in(rest),
        questions=questions,
    )
    _read_when(when, reading)
    return reading


def _read_when(when: TriggerReading, reading: Reading) -> None:
    """Take over when the run is to be repeated; a dataset that is only named where it is watched is the run's own."""
    if when.trigger is None and when.question is None:
        if "schedule" in reading.targets:
            reading.questions.append("when is it to run? Say, for example: every night at 2")
        return
    reading.trigger = when.trigger
    if when.question:
        reading.questions.append(when.question)
    if "schedule" not in reading.targets:
        reading.targets = (*reading.targets, "schedule")
    if reading.dataset is None and when.trigger is not None and when.trigger.watched:
        reading.dataset = when.trigger.watched
