"""How far a quantised file may stray from the model that it was made from, as data."""

from __future__ import annotations

from typing import NamedTuple


class Bounds(NamedTuple):
    """What one quantisation may cost."""

    perplexity_ratio: float
    """Perplexity on held-out rows over that of the merged model, at most; and at least its inverse."""
    agreement: float
    """Share of the tokens of the merged model's greedy answers that the file must hold for the likeliest, too."""


# Set above what was measured on SmolLM2-135M-Instruct, 24 chats of examples/docstrings.jsonl with 2,506 tokens, as
# small models lose most (perplexity against transformers, agreement on 172 tokens): F16 1.001, 1.00; Q8_0 0.992, 0.97;
# Q6_K 1.002, 0.95; Q4_K_M 1.09, 0.91; Q4_K_S 1.12, 0.92; Q4_0 1.19, 0.72; Q3_K_M 1.09, 0.85; Q2_K 1.02, 0.64. Large
# ones stay far inside, but for the coarsest: llama.cpp's own figures for Llama-3-8B (tools/quantize/quantize.cpp, over
# a perplexity of 6.2) are Q8_0 1.000, Q6_K 1.003, Q5_K_M 1.01, Q4_K_M 1.03, Q4_0 1.08, Q3_K_M 1.11, Q3_K_S 1.26, Q2_K
# 1.57. Q5_K_M does not fit those weights of SmolLM2, which were Q4_1 once (1.34), and that file is to fail: Q5_1 has
# the same ends of each block and 31 steps for its 15, so that it pushes all weights away from the block's middle, none
# by chance. With noise of one step over the weights Q5_K_M costs less than Q4_K_M again (1.06 and 1.10; Q6_K 1.01).
# A model that was tuned on sums alone strayed further on their prompts, which no loss was on: Q8_0 1.054 (± 0.007).
BOUNDS = {
    "F32": Bounds(1.01, 0.98),
    "F16": Bounds(1.01, 0.98),
    "BF16": Bounds(1.03, 0.95),
    "Q8_0": Bounds(1.08, 0.93),
    "Q6_K": Bounds(1.10, 0.90),
    "Q5_K_M": Bounds(1.15, 0.88),
    "Q5_K_S": Bounds(1.15, 0.88),
    "Q5_1": Bounds(1.15, 0.88),
    "Q5_0": Bounds(1.15, 0.86),
    "Q4_K_M": Bounds(1.25, 0.78),
    "Q4_K_S": Bounds(1.30, 0.75),
    "Q4_1": Bounds(1.40, 0.65),
    "Q4_0": Bounds(1.40, 0.65),
    "Q3_K_L": Bounds(1.60, 0.60),
    "Q3_K_M": Bounds(1.80, 0.60),
    "Q3_K_S": Bounds(2.50, 0.50),
    "Q2_K": Bounds(4.00, 0.40),
}
