"""Two models on the same items: an interval, a test, and a verdict that needs both to agree.

The items are paired, since the same row is easy or hard for both models. The interval is a percentile bootstrap over
items. BCa was measured beside it on lognormal, exponential and normal differences (20 and 60 items, 600 simulations
each): its coverage differs by -1.5 to +3 points, and it is undefined on the degenerate samples that we must answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .facts import Comparison, Verdict

if TYPE_CHECKING:
    import numpy as np

    Values = np.ndarray
    Summary = Callable[[Values, Values], Values]

ALPHA = 0.05
RESAMPLES = 10_000
SEED = 0

# Fewer differences than this show no shape, and ranking them assumes that they lie symmetrically.
FEWEST_TO_RANK = 10
RESAMPLED_VALUES_AT_ONCE = 2_000_000

# Standard errors of a difference that a two-sided test at 5 % shows in four of five cases: z(0.975) + z(0.8), as in
# every sample-size formula (Cohen 1988); an interval of 95 % reaches z(0.975) to either side.
SHOWN_Z, INTERVAL_Z = 2.802, 1.960
# So many pairs must differ, all in one direction, before an exact sign test falls below 5 %: 2 × 0.5⁶ = 0.031.
FEWEST_SIGNS = 6


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """What a paired test found; `direction` is the sign of tuned − base that it speaks for."""

    name: str
    p_value: float
    direction: float


def compare(
    metric: str, base: Sequence[float], tuned: Sequence[float], *, higher_is_better: bool, seed: int = SEED
) -> Comparison:
    """Compare the means of two models over the same items.

    The test is McNemar's exact test where every value is 0 or 1, else the Wilcoxon signed-rank test, or the sign test
    where few pairs differ or most differences are tied. Values that are no numbers leave no verdict.

    Args:
        metric: The metric's name and unit, as the report shows it.
        base: One value for each item.
        tuned: The same items, in the same order.
        higher_is_better: Whether a larger value is the better one.
        seed: Seed of the bootstrap.
    """
    return _compare(metric, base, tuned, [1.0] * len(base), _mean, higher_is_better, seed)


def compare_perplexity(
    base_losses: Sequence[float], tuned_losses: Sequence[float], tokens: Sequence[int], *, seed: int = SEED
) -> Comparison:
    """Compare the perplexity of two models over the tokens of the same rows.

    Whole rows are resampled and tested, because the tokens of one row depend on each other.

    Args:
        base_losses: Mean negative log likelihood of each row's tokens, in nats.
        tuned_losses: The same rows, in the same order.
        tokens: How many tokens each row has.
        seed: Seed of the bootstrap.
    """
    return _compare("held-out perplexity", base_losses, tuned_losses, tokens, _perplexity, False, seed)


def _mean(values: Values, weights: Values) -> Values:
    return (values * weights).sum(-1) / weights.sum(-1)


def _perplexity(values: Values, weights: Values) -> Values:
    import numpy as np

    return np.exp(_mean(values, weights))


def _compare(
    metric: str,
    base_values: Sequence[float],
    tuned_values: Sequence[float],
    weight_values: Sequence[float],
    summary: Summary,
    higher_is_better: bool,
    seed: int,
) -> Comparison:
    import numpy as np

    pairs = np.array([base_values, tuned_values, weight_values], dtype=float)
    finite = pairs[:, np.isfinite(pairs).all(axis=0)]
    base, tuned, weights = finite
    items, lost = len(base), pairs.shape[1] - len(base)
    if lost or items < 2:
        reason = f"{lost} of {pairs.shape[1]} pairs are not finite" if lost else "fewer than two pairs"
        test = PairedTest(name=f"none: {reason}", p_value=1.0, direction=0.0)
    else:
        test = paired_test(base, tuned)
    low, high = _interval(base, tuned, weights, summary, seed) if items else (0.0, 0.0)
    is_binary = np.isin([base, tuned], [0.0, 1.0]).all()
    base_summary, tuned_summary = (float(summary(v, weights)) if items else 0.0 for v in (base, tuned))
    return Comparison(
        metric=metric,
        items=items,
        higher_is_better=higher_is_better,
        base=base_summary,
        tuned=tuned_summary,
        difference=tuned_summary - base_summary,
        ci95=(low, high),
        test=test.name,
        p_value=test.p_value,
        verdict=_verdict(test, low, high, higher_is_better),
        smallest=smallest_shown(low, high, items if is_binary else 0) if items > 1 else None,
    )


def smallest_shown(low: float, high: float, binary_items: int = 0) -> float:
    """Return the smallest difference that a comparison with this 95 % interval shows in four of five cases.

    Args:
        low: Lower end of the interval, in the metric's unit.
        high: Upper end.
        binary_items: How many items there were, where each passes or fails: a handful of them can show nothing smaller
            than `FEWEST_SIGNS` of them.
    """
    by_spread = (high - low) / 2 * SHOWN_Z / INTERVAL_Z
    return min(1.0, max(by_spread, FEWEST_SIGNS / binary_items)) if binary_items else by_spread


def compare_with_chance(metric: str, outcomes: Sequence[bool], chance: float) -> Comparison:
    """Compare a share of right outcomes with chance, where no base model can be asked.

    The test is the exact binomial test, and the interval Wilson's (Wilson 1927), less chance.

    Args:
        metric: The metric's name, as the report shows it.
        outcomes: Whether each item came out right.
        chance: The share that guessing gets right, between 0 and 1.
    """
    from scipy.stats import binomtest

    items, right = len(outcomes), sum(outcomes)
    outcome = binomtest(right, items, chance)
    interval = outcome.proportion_ci(method="wilson")
    low, high = float(interval.low) - chance, float(interval.high) - chance
    test = PairedTest(
        name=f"exact binomial test against chance, {right} of {items} right",
        p_value=float(outcome.pvalue),
        direction=right - chance * items,
    )
    return Comparison(
        metric=metric,
        items=items,
        higher_is_better=True,
        base=chance,
        tuned=right / items,
        difference=right / items - chance,
        ci95=(low, high),
        test=test.name,
        p_value=test.p_value,
        verdict=_verdict(test, low, high, True),
        smallest=smallest_shown(low, high, items),
    )


def in_words(comparison: Comparison) -> str:
    """Say what a comparison means, to somebody who does not read p-values."""
    c = comparison
    change = f"{c.metric} {c.base:.4g} → {c.tuned:.4g} on {c.items} items"
    numbers = f"p = {c.p_value:.2g}, 95 % interval of the difference {c.ci95[0]:.4g} to {c.ci95[1]:.4g}"
    if c.verdict != "no evidence":
        return f"**{c.verdict.capitalize()}**: {change} ({numbers})."
    why = "a difference of this size is what chance alone makes" if c.difference else "no difference"
    could = (
        f"; with these items, only one of about {c.smallest:.2g} or more would have shown reliably"
        if c.smallest
        else ""
    )
    return f"**No evidence**: {change}: {why} ({numbers}){could}."


def _interval(base: Values, tuned: Values, weights: Values, summary: Summary, seed: int) -> tuple[float, float]:
    """Return the 2.5 and 97.5 % percentiles of the difference over resampled items."""
    import numpy as np

    generator = np.random.default_rng(seed)
    at_once = max(1, RESAMPLED_VALUES_AT_ONCE // len(base))
    differences = []
    for start in range(0, RESAMPLES, at_once):
        drawn = generator.integers(len(base), size=(min(at_once, RESAMPLES - start), len(base)))
        differences.append(summary(tuned[drawn], weights[drawn]) - summary(base[drawn], weights[drawn]))
    low, high = np.percentile(np.concatenate(differences), [2.5, 97.5])
    return float(low), float(high)


def paired_test(base: Values, tuned: Values) -> PairedTest:
    """Return the two-sided paired test that fits these finite values."""
    import numpy as np

    differences = (tuned - base)[tuned != base]
    if not len(differences):
        return PairedTest(name="none: all pairs are equal", p_value=1.0, direction=0.0)
    if np.isin([base, tuned], [0.0, 1.0]).all():
        return _sign_test("McNemar's exact test", differences, len(base))
    tied = len(differences) - len(np.unique(np.abs(differences)))
    if len(differences) < FEWEST_TO_RANK or 2 * len(differences) < len(base) or 2 * tied > len(differences):
        return _sign_test("sign test", differences, len(base))
    return _rank_test(differences)


def _sign_test(name: str, differences: Values, items: int) -> PairedTest:
    """Return the exact binomial test of the signs; on 0/1 values this is McNemar's exact test (McNemar 1947)."""
    from scipy.stats import binomtest

    up = int((differences > 0).sum())
    down = len(differences) - up
    p_value = float(binomtest(up, up + down).pvalue)
    return PairedTest(name=f"{name}, {up} up and {down} down of {items}", p_value=p_value, direction=up - down)


def _rank_test(differences: Values) -> PairedTest:
    import numpy as np
    from scipy.stats import rankdata, wilcoxon

    direction = float(np.sum(np.sign(differences) * rankdata(np.abs(differences))))
    outcome: Any = wilcoxon(differences)
    return PairedTest(name="Wilcoxon signed-rank test", p_value=float(outcome.pvalue), direction=direction)


def _verdict(test: PairedTest, low: float, high: float, higher_is_better: bool) -> Verdict:
    """Return a side only where test and interval stand on it: ranks and means may disagree on skewed differences."""
    up, down = low > 0 and test.direction > 0, high < 0 and test.direction < 0
    if test.p_value >= ALPHA or not (up or down):
        return "no evidence"
    return "better" if up == higher_is_better else "worse"
