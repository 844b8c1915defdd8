"""A verdict is given only where a paired test and a paired interval agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from ftagent.tools.statistics import compare, compare_perplexity, compare_with_chance, in_words, paired_test
from hypothesis import given, settings
from hypothesis import strategies as st

LOSS = st.floats(min_value=0, max_value=20, allow_nan=False, width=32)
PAIRS = st.lists(st.tuples(LOSS, LOSS), min_size=1, max_size=40)
OPPOSITE = {"better": "worse", "worse": "better", "no evidence": "no evidence"}


def _pass_fail(both: int, gained: int, lost: int, items: int) -> tuple[list[float], list[float]]:
    """Return base and tuned results of `items` items, so many of them passed by both, gained or lost."""
    neither = items - both - gained - lost
    return [1.0] * both + [0.0] * gained + [1.0] * lost + [0.0] * neither, (
        [1.0] * both + [1.0] * gained + [0.0] * lost + [0.0] * neither
    )


def test_the_headline_of_the_field_is_no_evidence() -> None:
    base, tuned = _pass_fail(both=36, gained=20, lost=14, items=164)
    found = compare("pass@1", base, tuned, higher_is_better=True)
    assert (sum(base), sum(tuned)) == (50, 56)
    assert found.verdict == "no evidence"
    assert found.p_value == pytest.approx(0.3915, abs=1e-4)
    assert found.ci95[0] < 0 < found.ci95[1]
    assert found.test == "McNemar's exact test, 20 up and 14 down of 164"


def test_six_items_gained_and_none_lost_are_evidence_because_items_are_paired() -> None:
    found = compare("pass@1", *_pass_fail(both=50, gained=6, lost=0, items=164), higher_is_better=True)
    assert found.p_value == pytest.approx(2 / 2**6)
    assert found.verdict == "better"


def test_a_lower_loss_on_most_rows_is_better() -> None:
    generator = np.random.default_rng(1)
    base = generator.normal(3.0, 0.5, 60)
    found = compare("loss", base.tolist(), (base + generator.normal(-0.3, 0.2, 60)).tolist(), higher_is_better=False)
    assert found.test == "Wilcoxon signed-rank test"
    assert found.verdict == "better"
    assert found.p_value < 1e-6
    assert found.ci95[0] < -0.3 < found.ci95[1] < 0


def test_most_rows_a_little_better_and_few_much_worse_is_no_evidence() -> None:
    differences = [-0.01 - i / 1e4 for i in range(50)] + [30.0 + i for i in range(5)]
    base = [40.0] * len(differences)
    found = compare("loss", base, [b + d for b, d in zip(base, differences, strict=True)], higher_is_better=False)
    assert found.p_value < 0.05
    assert found.verdict == "no evidence"


def test_ties_and_small_samples_are_judged_by_sign() -> None:
    five = compare("score", [0.1, 0.2, 0.3, 0.4, 0.5], [0.2, 0.3, 0.5, 0.5, 0.7], higher_is_better=True)
    assert five.test == "sign test, 5 up and 0 down of 5"
    assert five.p_value == pytest.approx(1 / 16)
    assert five.verdict == "no evidence"
    tied = compare("score", [0.5] * 40, [0.5] * 15 + [0.75] * 25, higher_is_better=True)
    assert tied.test == "sign test, 25 up and 0 down of 40"
    assert tied.verdict == "better"


@pytest.mark.parametrize(
    ("base", "tuned", "test", "items"),
    [
        ([], [], "none: fewer than two pairs", 0),
        ([1.5], [0.5], "none: fewer than two pairs", 1),
        ([1.5, 2.5, 3.5], [1.5, 2.5, 3.5], "none: all pairs are equal", 3),
        ([1.5, 2.5, 3.5], [0.1, math.nan, 0.2], "none: 1 of 3 pairs are not finite", 2),
        ([math.inf], [math.nan], "none: 1 of 1 pairs are not finite", 0),
    ],
)
def test_what_cannot_be_tested_is_no_evidence(base: list[float], tuned: list[float], test: str, items: int) -> None:
    found = compare("loss", base, tuned, higher_is_better=False)
    assert (found.verdict, found.test, found.items, found.p_value) == ("no evidence", test, items, 1.0)
    assert type(found).model_validate_json(found.model_dump_json()) == found


@given(PAIRS)
@settings(max_examples=25, deadline=None)
def test_a_comparison_holds_together_and_survives_json(pairs: list[tuple[float, float]]) -> None:
    base, tuned = map(list, zip(*pairs, strict=True))
    found = compare("loss", base, tuned, higher_is_better=False)
    assert 0 <= found.p_value <= 1
    assert found.ci95[0] <= found.ci95[1]
    assert found.difference == pytest.approx(np.mean(tuned) - np.mean(base), abs=1e-9)
    if found.verdict != "no evidence":
        assert found.p_value < 0.05
        assert (found.difference < 0) == (found.verdict == "better")
    assert compare("loss", base, tuned, higher_is_better=False) == found
    assert type(found).model_validate_json(found.model_dump_json()) == found


@given(PAIRS)
@settings(max_examples=25, deadline=None)
def test_the_other_way_round_is_the_opposite_verdict(pairs: list[tuple[float, float]]) -> None:
    base, tuned = map(list, zip(*pairs, strict=True))
    forth = compare("loss", base, tuned, higher_is_better=False)
    back = compare("loss", tuned, base, higher_is_better=False)
    gain = compare("score", base, tuned, higher_is_better=True)
    assert back.verdict == gain.verdict == OPPOSITE[forth.verdict]
    assert back.p_value == pytest.approx(forth.p_value)


def test_equal_models_are_told_apart_no_oftener_than_alpha() -> None:
    generator = np.random.default_rng(3)
    found = []
    for seed in range(100):
        base = generator.normal(3, 0.5, 40)
        tuned = base + generator.normal(0, 0.2, 40)
        found.append(compare("loss", base.tolist(), tuned.tolist(), higher_is_better=False, seed=seed).verdict)
    assert (
        sum(verdict != "no evidence" for verdict in found) <= 12
    )  # 5 are expected, and 13 or more come once in 1,000 tries


def test_perplexity_weighs_rows_by_their_tokens() -> None:
    found = compare_perplexity([1.0, 3.0], [1.0, 2.0], [30, 10])
    assert found.base == pytest.approx(math.exp(1.5))
    assert found.tuned == pytest.approx(math.exp(1.25))
    assert not found.higher_is_better


def test_six_items_more_of_164_are_no_evidence_and_the_words_say_so() -> None:
    base, tuned = _pass_fail(both=35, gained=21, lost=15, items=164)  # 50 → 56
    found = compare("HumanEval pass@1", base, tuned, higher_is_better=True)
    assert found.verdict == "no evidence"
    assert found.p_value == pytest.approx(0.405, abs=0.001)
    words = in_words(found)
    assert words.startswith("**No evidence**: HumanEval pass@1 0.3049 → 0.3415 on 164 items: a difference of this size")
    assert "only one of about 0.1 or more would have shown" in words


def test_the_smallest_difference_is_shown_in_four_of_five_cases() -> None:
    draw, items, shown = np.random.default_rng(1), 164, 0
    noise = [
        compare("x", a, a + draw.normal(0, 1, items), higher_is_better=True) for a in draw.normal(0, 1, (20, items))
    ]
    smallest = float(np.mean([c.smallest for c in noise if c.smallest]))
    for base in draw.normal(0, 1, (200, items)):
        tuned = base + draw.normal(smallest, 1, items)
        shown += _p_value(base, tuned) < 0.05
    assert 0.7 < shown / 200 < 0.9


def _p_value(base: Sequence[float], tuned: Sequence[float]) -> float:
    """Return the p-value of the test alone; the interval would take 10,000 draws a case."""
    return paired_test(np.asarray(base), np.asarray(tuned)).p_value


def test_a_handful_of_items_shows_nothing_below_six_of_them() -> None:
    found = compare("x", [0.0] * 10, [0.0] * 9 + [1.0], higher_is_better=True)
    assert found.smallest == pytest.approx(0.6)
    assert compare("x", [0.0] * 4, [0.0] * 4, higher_is_better=True).smallest == 1.0


@pytest.mark.parametrize(("right", "verdict"), [(60, "better"), (40, "no evidence"), (20, "worse")])
def test_a_ranking_is_held_against_a_coin(right: int, verdict: str) -> None:
    found = compare_with_chance("pairs", [True] * right + [False] * (80 - right), 0.5)
    assert (found.base, found.tuned, found.verdict) == (0.5, right / 80, verdict)
    assert found.ci95[0] < found.difference < found.ci95[1]
