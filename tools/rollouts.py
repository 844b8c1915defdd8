"""What generating completions holds: keys and values of all rows, what one layer computes, one token's logits a row.

Completions of a whole step are generated at once by transformers, between the steps, with a cache that grows
(`DynamicCache` in transformers/cache_utils.py). Not covered: vLLM on the same GPU.
"""

from __future__ import annotations

from collections.abc import Iterator

from .activations import inner_width
from .architecture import Architecture
from .setups import Setup

FLOAT32 = 4
# Beside the logits that the model returns: a float32 copy, processed scores, their shares, and the random numbers which
# `multinomial` divides by (`GenerationMixin._sample`; aten/src/ATen/native/Distributions.cpp).
SAMPLED_COPIES = 4


def generated_bytes(shape: Architecture, setup: Setup) -> Iterator[tuple[float, float]]:
    """Yield keys, values and what is computed beside them, and logits: as prompts are read, and at the last token."""
    rows = setup.rollouts or setup.batch
    logits = rows * shape.vocabulary * (setup.number + SAMPLED_COPIES * FLOAT32)
    prompt = setup.length * (1 - setup.trained_share)
    # Keys are turned in the precision of hidden states, and values follow them (`DynamicLayer.lazy_initialization`).
    # A layer with a window keeps a view of all its keys until the next token comes.
    whole = rows * 2 * shape.key_value * shape.layers * prompt * setup.stream
    mask = rows * prompt**2 if setup.padded else 0  # a boolean for each pair of tokens, made numbers by each layer
    yield whole + mask, logits
    yield whole + mask * (1 + setup.number) + rows * prompt * _passing(shape, setup), 0
    kept = rows * shape.cache_bytes(setup.length, setup.stream)
    yield kept, logits
    # While a token is added, one layer's keys are there twice; where there is a mask, repeated for all queries, too.
    one = rows * 2 * shape.key_value * setup.length * setup.stream
    yield kept + one * (1 / 2 + (shape.heads / shape.kv_heads if setup.padded else 0)), 0


def _passing(shape: Architecture, setup: Setup) -> float:
    """Return what one layer holds of a token that is read: in its feed-forward network, or in its attention.

    PEFT makes float32 of what goes into an adapter, and a sum of what comes out of it.
    """
    inner = 3 * setup.number + (2 * FLOAT32 - setup.number if setup.adapted_under_autocast else 0)
    network = inner_width(shape) * inner + 4 * shape.hidden * setup.stream
    values = shape.query if setup.padded else shape.key_value
    attention = (3 * shape.query + 2 * shape.key_value + 2 * values) * setup.stream
    return 2 * shape.hidden * setup.stream + max(network, attention)
