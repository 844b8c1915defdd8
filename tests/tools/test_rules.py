"""The rules alone, on series of the shape that TRL logs, and on a training that really ran."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ftagent.tools.metrics import (
    EVAL_LOSS,
    GRADIENT_NORM,
    LEARNING_RATE,
    LOSS,
    REWARD,
    REWARD_STD,
    Point,
    leading_of,
    read_metrics,
)
from ftagent.tools.rules import RULES, Outlook, Watched

START = datetime(2026, 1, 1, tzinfo=UTC)
REAL_RUNS = sorted((Path(__file__).parents[2] / "training_reports").glob("*/*/metrics.jsonl"))

Values = Sequence[float | None]


def fired(
    values: Values | dict[str, Values],
    *,
    name: str = LOSS,
    method: str = "sft",
    step_s: float = 1.0,
    silent_s: float = 0.0,
    outlook: Outlook | None = None,
) -> list[str]:
    """Which rules fire on these values, `silent_s` after the last."""
    series = values if isinstance(values, dict) else {name: values}
    count = max(map(len, series.values()))
    points = [
        Point(
            step=i,
            time=START + timedelta(seconds=i * step_s),
            values={name: column[i] for name, column in series.items() if i < len(column)},
        )
        for i in range(count)
    ]
    now = START + timedelta(seconds=(count - 1) * step_s + silent_s)
    watched = Watched(points=points, now=now, leading=leading_of(method), outlook=outlook or Outlook())
    return [rule.name for rule in RULES if rule.test(watched)]


def noisy(values: Sequence[float], scatter: float, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    return [value + draw.gauss(0, scatter) for value in values]


def falling(count: int, start: float = 3.0, end: float = 1.5) -> list[float]:
    return [end + (start - end) * math.exp(-5 * i / count) for i in range(count)]


# --- no false alarm ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REAL_RUNS, ids=lambda path: path.parent.name)
def test_no_rule_fires_at_any_moment_of_a_training_that_went_well(path: Path) -> None:
    points = read_metrics(path)
    assert len(points) > 40
    for end in range(1, len(points) + 1):
        now = points[end - 1].time
        assert now is not None
        watched = Watched(points=points[:end], now=now)
        assert [rule.name for rule in RULES if rule.test(watched)] == [], end


@pytest.mark.parametrize("seed", range(20))
def test_scatter_alone_raises_no_alarm(seed: int) -> None:
    loss = noisy(falling(300), 0.4, seed)
    norms = [math.exp(value) for value in noisy([0.0] * 300, 0.5, seed)]
    assert fired({LOSS: loss, GRADIENT_NORM: norms}) == []
    assert evaluated(loss, noisy([2.5, 2.0, 1.8, 1.75], 0.01, seed)) == []
    rewards = noisy([0.2 + 0.5 * i / 300 for i in range(300)], 0.15, seed)
    assert fired({LOSS: [0.0] * 300, REWARD: rewards, REWARD_STD: [0.3] * 300}, method="grpo") == []


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ([], []),
        ([2.0] * 3 + [1.0] * 30, []),
        ([2.0, None, 2.0], ["loss_not_finite"]),
        ([2.0] * 10 + [6.1] * 10, ["loss_far_above_start"]),
        ([2.0] * 10 + [6.1] * 9 + [5.9], []),
        ([0.01] * 10 + [1.0] * 30, []),  # a hundred times the start, and harmless
        ([0.0] * 10 + [2.5] * 10, ["loss_far_above_start"]),
    ],
)
def test_rules_on_the_loss(values: list[float | None], rules: list[str]) -> None:
    assert fired(values) == rules


def test_a_held_out_loss_that_is_no_number_is_seen() -> None:
    assert fired([2.0, None], name=EVAL_LOSS) == ["eval_loss_not_finite"]


def test_a_few_infinite_gradients_are_the_loss_scalers_search() -> None:
    assert fired([None] * 4 + [1.0] + [None] * 4, name=GRADIENT_NORM) == []
    assert fired([1.0] + [None] * 5, name=GRADIENT_NORM) == ["gradient_not_finite"]


def test_a_loss_that_never_falls_is_a_plateau_and_one_that_fell_once_is_none() -> None:
    flat = noisy([2.0] * 60, 0.02)
    assert fired(flat) == ["loss_plateau"]
    assert fired(flat[:59]) == []
    assert fired([*flat[:20], *[1.9] * 20, *flat[40:]]) == []


def test_the_warm_up_at_rate_zero_is_no_plateau() -> None:
    assert fired({LOSS: [2.0] * 60, LEARNING_RATE: [0.0] + [1e-4] * 59}) == []
    assert fired({LOSS: [2.0] * 61, LEARNING_RATE: [0.0] + [1e-4] * 60}) == ["loss_plateau"]


def test_the_loss_of_grpo_may_stay_at_zero_but_not_its_reward() -> None:
    rising: Values = [0.2 + i / 500 for i in range(100)]
    assert fired({LOSS: [0.0] * 100, REWARD: rising}, method="grpo") == []
    assert fired({LOSS: [0.0] * 100, REWARD: [0.2] * 100}, method="rloo") == ["reward_plateau"]


def test_one_spike_is_clipped_and_forgotten_and_three_of_twenty_are_told() -> None:
    calm = noisy([1.0] * 60, 0.2)
    once = [*calm[:50], 30.0, *calm[51:]]
    assert fired(once, name=GRADIENT_NORM) == []
    often = [*calm[:50], 30.0, 1.0, 25.0, 1.0, 40.0, 1.0]
    assert fired(often, name=GRADIENT_NORM) == ["gradient_spikes"]
    assert fired([*often, *calm], name=GRADIENT_NORM) == []


# --- rewards ----------------------------------------------------------------------------------------------------------


def test_a_reward_far_below_its_start_for_twenty_logs_has_collapsed() -> None:
    start = noisy([0.6] * 40, 0.05)
    assert fired([*start, *[0.1] * 20], name=REWARD, method="grpo") == ["reward_collapsed"]
    assert fired([*start, *[0.1] * 19], name=REWARD, method="grpo") == []
    assert fired([*start, *[0.1] * 19, 0.5], name=REWARD, method="grpo") == []
    assert fired([*start, *[0.4] * 40], name=REWARD, method="grpo") == []


def test_rewards_below_zero_collapse_by_their_own_scale() -> None:
    start = noisy([-1.0] * 40, 0.1)
    assert fired([*start, *[-2.0] * 20], name=REWARD, method="rloo") == ["reward_collapsed"]
    assert fired([*start, *[-1.3] * 20], name=REWARD, method="rloo") == []


def test_rewards_without_contrast_are_told_after_thirty_logs() -> None:
    assert fired([0.3] * 5 + [0.0] * 30, name=REWARD_STD, method="grpo") == ["reward_without_contrast"]
    assert fired([0.3] * 5 + [0.0] * 29, name=REWARD_STD, method="grpo") == []
    assert fired([0.0] * 29 + [0.3], name=REWARD_STD, method="grpo") == []


# --- held-out rows ----------------------------------------------------------------------------------------------------


def evaluated(loss: Sequence[float], held_out: Sequence[float]) -> list[str]:
    """Which rules fire where the held-out loss was taken at equal distances, the last time at the end."""
    distance = len(loss) // len(held_out)
    points = [
        Point(step=i, time=START + timedelta(seconds=i), values={LOSS: value})
        if i % distance
        else Point(
            step=i,
            time=START + timedelta(seconds=i),
            values={LOSS: value, EVAL_LOSS: held_out[i // distance - 1]},
        )
        for i, value in enumerate(loss, 1)
    ]
    return [rule.name for rule in RULES if rule.test(Watched(points=points, now=START))]


def test_overfitting_is_a_held_out_loss_that_rises_while_the_training_loss_falls() -> None:
    assert evaluated(falling(40), [2.0, 2.2]) == ["overfitting"]
    assert evaluated(falling(40), [2.0, 1.8, 1.9, 2.0]) == ["overfitting"]
    assert evaluated(falling(40), [2.0, 2.05]) == []
    assert evaluated([1.0 + i / 40 for i in range(40)], [2.0, 2.2]) == []  # both rise: that is something else
    assert evaluated(falling(40), [2.2]) == []


# --- time and money ---------------------------------------------------------------------------------------------------


def test_a_stall_is_ten_usual_gaps_and_at_least_five_minutes() -> None:
    assert fired([1.0] * 5, step_s=1, silent_s=299) == []
    assert fired([1.0] * 5, step_s=1, silent_s=301) == ["stalled"]
    assert fired([1.0] * 5, step_s=60, silent_s=599) == []
    assert fired([1.0] * 5, step_s=60, silent_s=601) == ["stalled"]
    assert fired([1.0] * 2, step_s=1, silent_s=9999) == []


def test_an_end_after_the_limit_is_foretold_from_ten_points_on() -> None:
    late = Outlook(seconds=100, seconds_left=850, timeout_s=1000)
    assert fired([1.0] * 10, outlook=late) == ["ends_after_timeout"]
    assert fired([1.0] * 9, outlook=late) == []
    assert fired([1.0] * 10, outlook=Outlook(seconds=100, seconds_left=790, timeout_s=1000)) == []
    assert fired([1.0] * 10, outlook=Outlook(seconds=100, timeout_s=1000)) == []


def test_a_cost_over_the_cap_is_foretold_with_what_was_spent_before() -> None:
    outlook = Outlook(seconds=1800, seconds_left=1800, price_usd_per_hour=2.0, spent_usd=1.5, cap_usd=3.0)
    assert fired([1.0] * 10, outlook=outlook) == ["ends_over_cap"]
    assert fired([1.0] * 10, outlook=Outlook(seconds=1800, seconds_left=1800, price_usd_per_hour=2.0)) == []


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_a_job_that_gets_no_machine_is_told_with_the_way_out() -> None:
    rule = next(rule for rule in RULES if rule.name == "waits_for_hardware")
    waiting = Outlook(waiting_s=901, flavor="l4x1", others=("a10g-small", "t4-small", "a100-large"))
    text = rule.test(Watched(points=[], now=START, outlook=waiting))
    assert text is not None and rule.level == "warn"
    assert "waiting for l4x1 for 15 min, where 15 are usual" in text
    assert "it fits a10g-small and t4-small as well" in text
    assert "ftagent cancel" in text
    shorter = Outlook(waiting_s=899, flavor="l4x1")
    assert rule.test(Watched(points=[], now=START, outlook=shorter)) is None
