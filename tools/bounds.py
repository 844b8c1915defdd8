"""How far a quantised file may stray from the model that it was made from, as data."""

from __future__ import annotations

from typing import NamedTuple


class Bounds(NamedTuple):
    """What one quantisation may cost."""

    perplexity_ratio: float
    """Perplexity on held-out rows over that of the merged model, at most; and at least its inverse."""
    agreement: float
    """Share of the tokens of the merged model's greedy answers that the file must hold for the likeliest, too."""


BOUNDS = {
    "F32": Bounds(1.01, 0.98),
    "F16": Bounds(1.01, 0.98),
    "BF16": Bounds(1.03, 0.95),
    "Q8_0": Bounds(1.03, 0.95),
    "Q6_K": Bounds(1.05, 0.92),
    "Q5_K_M": Bounds(1.10, 0.88),
    "Q5_K_S": Bounds(1.10, 0.88),
    "Q5_1": Bounds(1.10, 0.88),
    "Q5_0": Bounds(1.12, 0.86),
    "Q4_K_M": Bounds(1.25, 0.78),
    "Q4_K_S": Bounds(1.30, 0.75),
    "Q4_1": Bounds(1.40, 0.70),
    "Q4_0": Bounds(1.40, 0.70),
    "Q3_K_L": Bounds(1.60, 0.60),
    "Q3_K_M": Bounds(1.80, 0.60),
    "Q3_K_S": Bounds(2.50, 0.50),
    "Q2_K": Bounds(4.00, 0.40),
}
