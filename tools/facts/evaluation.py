"""Whether the tuned model is better than its base, item by item."""

from __future__ import annotations

from .base import Fact, Verdict


class Comparison(Fact):
    """Base against tuned on the same items, paired."""

    metric: str
    items: int
    higher_is_better: bool
    base: float
    tuned: float
    difference: float
    """tuned − base, in the metric's own unit."""
    ci95: tuple[float, float]
    """Paired bootstrap interval of the difference."""
    test: str
    p_value: float
    verdict: Verdict
    smallest: float | None = None
    """The smallest difference that this many items show in four of five cases; None where there is none to tell."""
    file: str = ""
    """The result of each item, relative to the run folder."""


class Sample(Fact):
    """One held-out row, answered by both."""

    prompt: str
    reference: str
    base: str
    tuned: str


class Evaluation(Fact):
    """Base and tuned model under the same harness."""

    comparisons: tuple[Comparison, ...]
    samples: tuple[Sample, ...]
    items: str
    """Per-item results of the leading comparison, relative to the run folder."""
    checkpoint: str
    job_id: str | None = None
    """The job that measured; None where this machine did."""
    seconds: float
    harness: str
    general: tuple[Comparison, ...] = ()
    """Beside the goal: what the training may have made the model forget."""
    files: dict[str, str] = {}
    """Files with per-item results, relative to the run folder, and their SHA-256; no score stands without one."""
    caveats: tuple[str, ...] = ()
    """What a reader of the scores must know, such as rows of a benchmark that were found in the training data."""

    @property
    def verdict(self) -> Verdict:
        """The verdict of the first, leading comparison."""
        return self.comparisons[0].verdict
