"""What tells the families of models apart, as far as their parameters and activations go: one table.

Each row follows `modeling_<family>.py` of transformers 5.23; a test holds every shape that is shipped with the tests
against the count of the very class on the meta device. Not covered: encoders, vision towers, and mixtures whose experts
share something, which are counted by building them (templates/count.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the config does not say."""

    norms: int = 2
    """Norms of a layer that are as wide as the hidden states."""
    late_cast: bool = False
    """Whether norms multiply by their weight in float32, and go back to the run's precision afterwards."""
    head_norms: Literal["", "head", "width"] = ""
    """Norms of queries and keys: one for all heads, or one over all heads together."""
    query_bias: bool = False
    """Whether queries, keys and values have a bias, whatever the config says."""
    fused: bool = False
    """Whether queries, keys and values come from one matrix, and gate and up from another."""
    gated: bool = True
    tied: bool = False
    """Whether the output head is the embedding where the config is silent."""
    all_biased: bool = False
    """Whether every linear layer and every norm has a bias, and positions are learned."""


FAMILIES: dict[str, Family] = {
    "llama": Family(),
    "mistral": Family(),
    "mixtral": Family(),
    "granite": Family(),
    "smollm3": Family(tied=True),
    "qwen2": Family(query_bias=True),
    "qwen3": Family(head_norms="head"),
    "qwen3_moe": Family(head_norms="head"),
    "gemma": Family(late_cast=True, tied=True),
    "gemma2": Family(norms=4, late_cast=True, tied=True),
    "gemma3_text": Family(norms=4, late_cast=True, head_norms="head", tied=True),
    "olmo2": Family(late_cast=True, head_norms="width"),
    "phi3": Family(fused=True),
    "gpt2": Family(fused=True, gated=False, tied=True, all_biased=True),
}

# Families outside of the table whose feed-forward network has two matrices; all newer ones gate it, which takes three.
UNGATED = frozenset({"gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2"})


def family_of(model_type: str) -> Family:
    """Return what is known, or what most families are like."""
    return FAMILIES.get(model_type, Family(gated=model_type not in UNGATED, tied=True))
