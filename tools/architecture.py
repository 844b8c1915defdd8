"""The shape of a model: what its memory and its time depend on. shapes.py reads it, from files and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .families import Family, family_of


class Linear(NamedTuple):
    """A matrix that is multiplied with, as one layer of the model has it."""

    inputs: int
    outputs: int
    copies: int = 1
    """How many of them there are: one for each expert."""
    ranks: int = 1
    """Times the rank that its adapter has: two where two matrices were put into one tensor for all experts."""

    @property
    def parameters(self) -> int:
        """Of all copies together."""
        return self.copies * self.inputs * self.outputs

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of LoRA: `rank × (inputs + outputs)` each (Hu et al. 2021, arXiv 2106.09685, section 4.1)."""
        return self.copies * self.ranks * rank * (self.inputs + self.outputs)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What memory and time depend on."""

    model_type: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    tied: bool
    gated: bool
    parameters: int
    """All of them, shared ones counted once."""
    experts: int = 0
    """Experts of a layer; 0 where it has one feed-forward network."""
    active_experts: int = 0
    """Experts that a token passes through."""
    expert_width: int = 0
    dense_layers: int = 0
    """Layers of a mixture that have one feed-forward network all the same."""
    window: int | None = None
    """Tokens that a sliding layer looks back on."""
    sliding_layers: int = 0
    softcap: bool = False
    """Whether scores are capped by a tanh, which only eager attention can do (gemma-2)."""

    @property
    def family(self) -> Family:
        """What the config does not say."""
        return family_of(self.model_type)

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key_value(self) -> int:
        """Width of all key heads together, or of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and of the output head where it is a matrix of its own."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def attention(self) -> tuple[Linear, ...]:
        """Linear layers of the attention."""
        hidden, query, kv = self.hidden, self.query, self.key_value
        if self.family.fused:
            return Linear(hidden, query + 2 * kv), Linear(query, hidden)
        return Linear(hidden, query), Linear(hidden, kv), Linear(hidden, kv), Linear(query, hidden)

    @property
    def feed_forward(self) -> tuple[Linear, ...]:
        """Linear layers of one feed-forward network that is no mixture."""
        up = (Linear(self.hidden, self.intermediate),) * (2 if self.gated else 1)
        if self.gated and self.family.fused:
            up = (Linear(self.hidden, 2 * self.intermediate),)
        return (*up, Linear(self.intermediate, self.hidden))

    @property
    def mixture(self) -> tuple[Linear, ...]:
        """Linear layers of a mixture: the router, and each expert's gate and up in one tensor, and down."""
        width = self.expert_width
        gate_up = Linear(self.hidden, 2 * width, self.experts, ranks=2)
        return Linear(self.hidden, self.experts), gate_up, Linear(width, self.hidden, self.experts)

    @property
    def linear(self) -> tuple[Linear, ...]:
        """Linear layers inside one layer of the model; of a mixture, of its sparse ones."""
        return (*self.attention, *(self.mixture if self.experts else self.feed_forward))

    @property
    def layer_parameters(self) -> int:
        """Parameters of the linear layers of one layer; of a mixture, of its sparse ones."""
        return sum(matrix.parameters for matrix in self.linear)

    @property
    def expert_parameters(self) -> int:
        """Parameters of the experts of one sparse layer."""
        return sum(matrix.parameters for matrix in self.mixture[1:]) if self.experts else 0

    @property
    def active_parameters(self) -> int:
        """Parameters that a token meets: of a mixture, those of the experts that it passes through."""
        if not self.experts:
            return self.parameters
        idle = self.expert_parameters // self.experts * (self.experts - self.active_experts)
        return self.parameters - (self.layers - self.dense_layers) * idle

    def active_weights(self, tokens: int) -> float:
        """Parameters that this many tokens meet together, where each takes its experts at random."""
        if not self.experts:
            return self.parameters
        idle = (1 - self.active_experts / self.experts) ** tokens
        return self.parameters - (self.layers - self.dense_layers) * self.expert_parameters * idle

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of LoRA on all linear layers, experts and router among them, as PEFT 0.21 makes them."""
        sparse = sum(matrix.adapter_parameters(rank) for matrix in self.linear)
        dense = sum(matrix.adapter_parameters(rank) for matrix in (*self.attention, *self.feed_forward))
        return (self.layers - self.dense_layers) * sparse + self.dense_layers * dense

    def cache_bytes(self, tokens: float, bytes_each: float) -> float:
        """Return what keys and values of one row take; sliding layers keep their window only."""
        kept = (self.layers - self.sliding_layers) * tokens + self.sliding_layers * min(tokens, self.window or tokens)
        return 2 * self.key_value * kept * bytes_each
