"""The rules that a running job is held against; their thresholds are the data at the end of this file.

A rule reads what was logged and says in words what is wrong, or None. What follows from it, `monitor.py` decides. Not
covered: what only the held-out rows can tell, which `evaluate.py` finds out afterwards.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Literal

from .facts import Health
from .metrics import EVAL_LOSS, GRADIENT_NORM, LEARNING_RATE, LOSS, LOSS_LEADS, REWARD, REWARD_STD, Leading, Point

LONGEST_WAIT_S = 900.0
"""For a machine, before a person is told."""
RECENT = 20
"""Points from which the pace is read."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Where the job goes at its pace so far; None where nobody knows, or nothing limits it."""

    seconds: float = 0.0
    """It has run."""
    seconds_left: float | None = None
    timeout_s: float | None = None
    price_usd_per_hour: float = 0.0
    spent_usd: float = 0.0
    """By everything else of the run."""
    cap_usd: float | None = None
    waiting_s: float = 0.0
    """It waits for a machine, and nothing is billed; 0 once it runs."""
    flavor: str = ""
    others: tuple[str, ...] = ()
    """Flavors on which it would fit as well, the cheapest first."""

    @property
    def seconds_in_all(self) -> float | None:
        """What the whole job takes."""
        return None if self.seconds_left is None else self.seconds + self.seconds_left


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a rule may look at: the points of this attempt, in order, and where the job goes."""

    points: list[Point]
    now: datetime
    leading: Leading = LOSS_LEADS
    outlook: Outlook = Outlook()

    def series(self, name: str) -> list[tuple[int, float | None]]:
        """Return step and value wherever this value was logged."""
        return [(p.step, p.values[name]) for p in self.points if name in p.values]

    def finite(self, name: str) -> list[float]:
        """Return the values that are numbers."""
        return [value for _, value in self.series(name) if value is not None]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that may go wrong while a job runs; an error ends the job, where the settings do not say otherwise."""

    name: str
    level: Literal["warn", "error"]
    health: Health
    test: Callable[[Watched], str | None]
    """Returns what is wrong, in words, or None."""
    holds_at_end: bool = True
    """Whether it says something of a job that has ended."""


# --- waiting ----------------------------------------------------------------------------------------------------------


def waits_too_long(watched: Watched, *, limit_s: float) -> str | None:
    """Look for a job that gets no machine."""
    outlook = watched.outlook
    if outlook.waiting_s <= limit_s:
        return None
    others = f"; it fits {' and '.join(outlook.others[:2])} as well" if outlook.others else ""
    return (
        f"it has been waiting for {outlook.flavor} for {outlook.waiting_s / 60:.0f} min, where {limit_s / 60:.0f} are "
        f"usual; waiting costs nothing{others}: end it with `ftagent cancel`, and take another flavor with "
        "pick_hardware, write_script and preflight"
    )


# --- numbers ----------------------------------------------------------------------------------------------------------


def is_not_finite(watched: Watched, *, name: str, logs: int) -> str | None:
    """Look for values in a row that are no number."""
    in_a_row = 0
    for step, value in watched.series(name):
        in_a_row = in_a_row + 1 if value is None else 0
        if in_a_row == logs:
            return f"{name} is NaN or infinite at step {step}"
    return None


def is_far_above_start(watched: Watched, *, factor: float, margin: float, logs: int) -> str | None:
    """Look for a loss that went up and stays there."""
    losses = watched.finite(LOSS)
    if len(losses) < 2 * logs:
        return None
    start = statistics.median(losses[:3])
    limit = max(factor * start, start + margin)
    if min(losses[-logs:]) <= limit:
        return None
    return f"the loss has been above {limit:.3g} for {logs} logs; it started at {start:.3g}"


def is_flat_from_start(watched: Watched, *, name: str, logs: int, window: int, share: float) -> str | None:
    """Look for a leading number that no stretch of the training has bettered; the warm-up at rate 0 does not count."""
    if watched.leading.name != name:
        return None
    learning = [p for p in watched.points if p.values.get(LEARNING_RATE) != 0]
    values = [value for p in learning if (value := p.values.get(name)) is not None]
    if len(values) < logs:
        return None
    start = statistics.fmean(values[:window])
    later = [statistics.fmean(values[i : i + window]) for i in range(window, len(values) - window + 1)]
    best = max(later) if watched.leading.higher_is_better else min(later)
    gain = best - start if watched.leading.higher_is_better else start - best
    if gain > share * abs(start):
        return None
    return f"the {watched.leading.label} has not got better in {len(values)} logs: {start:.4g} → {best:.4g} at best"


def is_spiking(watched: Watched, *, factor: float, spikes: int, logs: int, before: int) -> str | None:
    """Look for gradients far above the usual ones, several within the last logs: one alone is clipped and forgotten."""
    norms = watched.finite(GRADIENT_NORM)
    found = [
        norms[i]
        for i in range(max(before, len(norms) - logs), len(norms))
        if norms[i] > factor * statistics.median(norms[i - before : i])
    ]
    if len(found) < spikes:
        return None
    return f"{len(found)} of the last {logs} gradient norms are over {factor:g} times the usual: up to {max(found):.3g}"


# --- rewards ----------------------------------------------------------------------------------------------------------


def has_collapsed(watched: Watched, *, share: float, deviations: float, logs: int) -> str | None:
    """Look for rewards that fell far below their start and stay there, by their own scale and scatter."""
    rewards = watched.finite(REWARD)
    if len(rewards) < 2 * logs:
        return None
    start, scatter = statistics.fmean(rewards[:logs]), statistics.stdev(rewards[:logs])
    limit = start - max(share * abs(start), deviations * scatter)
    if max(rewards[-logs:]) >= limit:
        return None
    return f"the reward has been below {limit:.3g} for {logs} logs; it started at {start:.3g}"


def is_without_contrast(watched: Watched, *, logs: int) -> str | None:
    """Look for rewards that are the same for all answers of a prompt: then no gradient comes of them."""
    deviations = watched.finite(REWARD_STD)[-logs:]
    if len(deviations) < logs or any(deviations):
        return None
    return f"all answers of a prompt got the same reward in the last {logs} logs: nothing is learned from them"


# --- held-out rows ----------------------------------------------------------------------------------------------------


def is_overfitting(watched: Watched, *, share: float, window: int) -> str | None:
    """Look for a held-out loss that rises from its best, while the training loss goes on falling."""
    places = [place for place, p in enumerate(watched.points) if p.values.get(EVAL_LOSS) is not None]
    if len(places) < 2:
        return None
    losses = [watched.points[place].values[EVAL_LOSS] or 0.0 for place in places]
    best = min(range(len(losses)), key=losses.__getitem__)
    if losses[-1] <= losses[best] + share * abs(losses[best]):
        return None
    then, now = (_training_loss_before(watched.points[: places[i] + 1], window) for i in (best, -1))
    if then is None or now is None or now >= then:
        return None
    at = watched.points[places[best]].step
    return (
        f"the held-out loss rose from {losses[best]:.4g} at step {at} to {losses[-1]:.4g}, while the training loss "
        f"fell from {then:.4g} to {now:.4g}"
    )


def _training_loss_before(points: Sequence[Point], window: int) -> float | None:
    losses = [loss for p in points if (loss := p.values.get(LOSS)) is not None]
    return statistics.fmean(losses[-window:]) if losses else None


# --- time and money ---------------------------------------------------------------------------------------------------


def has_stalled(watched: Watched, *, factor: float, least_s: float) -> str | None:
    """Look for a silence that is long beside the usual gap between two logs."""
    times = [p.time for p in watched.points[-RECENT:] if p.time is not None]
    if len(times) < 3:
        return None
    usual = statistics.median((b - a).total_seconds() for a, b in pairwise(times))
    silent = (watched.now - times[-1]).total_seconds()
    if silent <= max(factor * usual, least_s):
        return None
    return f"no log for {silent:.0f} s after step {watched.points[-1].step}; the usual gap is {usual:.1f} s"


def ends_too_late(watched: Watched, *, share: float, logs: int) -> str | None:
    """Look whether the job comes to its end before its time is over."""
    outlook, in_all = watched.outlook, watched.outlook.seconds_in_all
    if len(watched.points) < logs or in_all is None or outlook.timeout_s is None or in_all <= share * outlook.timeout_s:
        return None
    return (
        f"at this pace it takes {in_all:.0f} s in all, and its limit is {outlook.timeout_s:.0f} s: it will save and "
        f"stop at {100 * share:.0f} % of that"
    )


def costs_too_much(watched: Watched, *, logs: int) -> str | None:
    """Look whether the job comes to its end below the cap."""
    outlook, in_all = watched.outlook, watched.outlook.seconds_in_all
    if len(watched.points) < logs or in_all is None or outlook.cap_usd is None:
        return None
    cost = outlook.spent_usd + outlook.price_usd_per_hour * in_all / 3600
    if cost <= outlook.cap_usd:
        return None
    return f"at this pace the run costs ${cost:.2f} in all; the cap is ${outlook.cap_usd:.2f}"


# --- the thresholds ---------------------------------------------------------------------------------------------------

RULES = (
    Rule(name="loss_not_finite", level="error", health="diverged", test=partial(is_not_finite, name=LOSS, logs=1)),
    Rule(
        name="eval_loss_not_finite",
        level="error",
        health="diverged",
        test=partial(is_not_finite, name=EVAL_LOSS, logs=1),
    ),
    # transformers hides a NaN loss unless `logging_nan_inf_filter` is off, never the gradient's norm. A few infinite
    # ones are normal where fp16 looks for its loss scale.
    Rule(
        name="gradient_not_finite",
        level="error",
        health="diverged",
        test=partial(is_not_finite, name=GRADIENT_NORM, logs=5),
    ),
    # Both a ratio and a distance, since losses near zero (GRPO, late DPO) multiply easily.
    Rule(
        name="loss_far_above_start",
        level="error",
        health="diverged",
        test=partial(is_far_above_start, factor=3.0, margin=2.0, logs=10),
    ),
    # Twenty logs in a row below half the start, and below all that its scatter explains: no dip, and nothing that
    # comes back. A reward that starts near zero has too little to lose for this, and is left to the plateau.
    Rule(
        name="reward_collapsed",
        level="error",
        health="diverged",
        test=partial(has_collapsed, share=0.5, deviations=3.0, logs=20),
    ),
    # A single batch without contrast is common with rewards of 0 and 1. Thirty may also mean that all is solved.
    Rule(name="reward_without_contrast", level="warn", health="warned", test=partial(is_without_contrast, logs=30)),
    Rule(
        name="loss_plateau",
        level="warn",
        health="warned",
        test=partial(is_flat_from_start, name=LOSS, logs=60, window=20, share=0.01),
    ),
    # Rewards scatter more, and GRPO takes longer: its authors train for hundreds of steps (arXiv 2402.03300).
    Rule(
        name="reward_plateau",
        level="warn",
        health="warned",
        test=partial(is_flat_from_start, name=REWARD, logs=100, window=30, share=0.01),
    ),
    Rule(
        name="gradient_spikes",
        level="warn",
        health="warned",
        test=partial(is_spiking, factor=10.0, spikes=3, logs=20, before=10),
    ),
    # The held-out rows are the same each time, so that a rise of 5 % is no scatter of rows.
    Rule(name="overfitting", level="warn", health="warned", test=partial(is_overfitting, share=0.05, window=10)),
    # Five minutes leave room for an evaluation and a save between two steps.
    Rule(
        name="stalled",
        level="warn",
        health="stalled",
        test=partial(has_stalled, factor=10.0, least_s=300.0),
        holds_at_end=False,
    ),
    # The script stops by itself at 90 % of its limit (`Watch` of `templates/base.py`). The first steps are slow ones.
    Rule(
        name="ends_after_timeout",
        level="warn",
        health="warned",
        test=partial(ends_too_late, share=0.9, logs=10),
        holds_at_end=False,
    ),
    # Nobody publishes how long flavors are waited for; a quarter of an hour is longer than any start of an image.
    Rule(
        name="waits_for_hardware",
        level="warn",
        health="warned",
        test=partial(waits_too_long, limit_s=LONGEST_WAIT_S),
        holds_at_end=False,
    ),
    Rule(
        name="ends_over_cap",
        level="warn",
        health="warned",
        test=partial(costs_too_much, logs=10),
        holds_at_end=False,
    ),
)
