"""What validating a dataset settles: whether its rows train, which of them, and how long they are."""

from __future__ import annotations

from typing import Any, Literal

from .base import Fact, Method


class Lengths(Fact):
    """Row lengths in tokens, after mapping and the model's chat template."""

    p50: int
    p95: int
    p99: int
    max: int


class Cut(Fact):
    """What a maximal length costs."""

    length: int
    """Tokens at which rows would be cut."""
    share: float
    """Share of the training rows that are longer: they lose their ends, and the token that stops the model."""
    lost: float
    """Share of the training rows that would have nothing left to learn."""


class Missing(Fact):
    """Why no trainer of a method takes a dataset."""

    missing: str
    """The piece that is not there."""
    nearest: str
    """The nearest thing that would do."""


class Problem(Fact):
    """Something about the data that a person should know."""

    kind: str
    count: int
    detail: str
    rows: tuple[int, ...] = ()
    """The first row numbers that show it, counted from 0."""


class Holdout(Fact):
    """Which rows are kept away from training."""

    function: str
    """Name of the function in `tools/data/shaping/holdouts.py` that is emitted into the script."""
    rows: int
    reason: str


class Reward(Fact):
    """What tells good completions from bad ones."""

    name: str
    """A name in `tools/rewards/table.py`, or that of a person's own function."""
    reason: str
    options: dict[str, Any] = {}
    """Keyword arguments, such as the column with the reference."""
    own: str | None = None
    """`FILE.py:FUNCTION` of a person's own, absolute."""
    sha256: str | None = None
    """Of that file."""


class DatasetReport(Fact):
    """The verdict on a dataset for one method, from TRL's own preparation of real rows."""

    verdict: Literal["ready", "mapped", "refused"]
    method: Method
    subset: str | None
    split: str
    rows: int
    """All rows that are used, held-out rows included."""
    trainable_rows: int | None = None
    """Those that could be trained on, where fewer were asked for."""
    mapping: str | None
    """Name of the function in `tools/data/shaping/mappings.py`; None when the rows train as they are."""
    refusal: Missing | None = None
    """Set where the verdict is `refused`."""
    filter: str | None = None
    """Name of the function in `data/shaping/filters.py` that says why a row is unusable; None when all are kept."""
    left_out: tuple[int, ...] = ()
    """Numbers of rows that the script leaves out although their filter lets them through."""
    shape: str = ""
    """What the rows look like, in words."""
    trainer_columns: tuple[str, ...]
    column_types: dict[str, str] = {}
    """What each of them holds: `turns`, `text`, `flag`, `json`, or `same` where the dataset's own type is kept."""
    lengths: Lengths
    """Zeros where the verdict is `refused`, here and below."""
    histogram: tuple[tuple[int, int], ...] = ()
    """Rows by length: the most tokens of each stretch, and its rows."""
    cuts: tuple[Cut, ...] = ()
    max_length: int
    truncated_share: float
    duplicates: int
    """Rows that were there before, word for word."""
    overlap: int | None
    """Rows that share an n-gram with a benchmark; None when no benchmark's items are at hand."""
    benchmarks: tuple[str, ...] = ()
    """The benchmarks that the rows were held against."""
    problems: tuple[Problem, ...] = ()
    rewards: tuple[Reward, ...] = ()
    """What GRPO and RLOO learn from; empty where the rows say nothing about what is right."""
    choices: dict[str, str] = {}
    """What was chosen for the person (subset, split), and by which rule."""
    holdout: Holdout | None = None
    train_tokens: int = 0
    """Tokens of all training rows for one epoch, cut at `max_length`."""
    trained_tokens: int = 0
    """Those of `train_tokens` that carry loss."""
    loss_on: Literal["assistant", "completion", "all"] = "all"
    proof: str = ""
    """What TRL did with the sample, in one sentence."""
    sampling: str = ""
    """How many rows were read and how far their shares may be off; empty when every row was read."""
    fingerprint: str = ""
    """`sha256:…` over the mapped rows, in order."""
    seconds: float = 0.0
