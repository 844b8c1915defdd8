"""How a training is done, as far as its memory depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .architecture import Architecture
from .facts import Adapter, Method, Precision

Attention = Literal["sdpa", "eager"]
Logits = Literal["tiled", "full"]
Sharding = Literal["fsdp2", "zero3"]

BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
# One row of the dataset makes two of the batch: a chosen and a rejected answer.
PAIRED: frozenset[Method] = frozenset({"dpo", "reward"})
# TRL 1.16 loads a second model for these, unless an adapter can be switched off instead; GRPO's beta is 0 by default.
REFERRING: frozenset[Method] = frozenset({"dpo", "kto", "rloo"})


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What memory depends on beside the model."""

    adapter: Adapter
    precision: Precision
    batch: int
    length: int
    """Tokens of the longest row, which all rows of its batch are padded to."""
    checkpointing: bool
    rank: int
    trained_share: float
    """Share of the tokens that carry loss; the others get no logits."""
    on_gpu: bool
    method: Method = "sft"
    attention: Attention = "sdpa"
    logits: Logits = "tiled"
    """Whether TRL's kernel scores the vocabulary in tiles, as it does unless labels are smoothed, or all at once."""
    pure: bool = False
    """Whether weights, gradients and moments have the run's precision too, without autocast."""
    accumulates: bool = True
    """Whether a step has several batches, so that gradients are there while the next one is computed."""
    padded: bool = True
    """Whether rows of one batch differ in length, which takes an attention mask."""
    rollouts: int = 0
    """Rows whose completions GRPO or RLOO generates at once: `batch` times the batches of a step; 0 is one batch."""
    gpus: int = 1
    """GPUs that share weights, gradients and moments, each with a batch of its own."""
    sharding: Sharding = "fsdp2"

    @property
    def rows(self) -> int:
        """Rows that are computed at once."""
        return self.batch * (2 if self.method in PAIRED else 1)

    @property
    def tokens(self) -> int:
        """Tokens of the largest batch."""
        return self.rows * self.length

    @property
    def masked(self) -> bool:
        """Whether attention has a mask: where no token is padding, transformers does without one."""
        return self.padded and self.rows > 1

    @property
    def number(self) -> int:
        """Bytes of a number that a linear layer returns."""
        return BYTES[self.precision]

    @property
    def autocast(self) -> bool:
        """Whether float32 is cast where a linear layer begins; FSDP gathers weights that are cast already."""
        return self.precision != "fp32" and not self.pure and self.gpus == 1

    @property
    def adapted_under_autocast(self) -> bool:
        """Whether PEFT and autocast cast the input of each adapter to and fro."""
        return self.autocast and self.adapter != "full"

    @property
    def trained(self) -> int:
        """Bytes of a trained weight, of its gradient and of each of its moments.

        PEFT holds adapters in float32; TRL casts those of a quantised model to 16 bits (`sft_trainer.py`).
        """
        return self.number if self.adapter == "qlora" or (self.pure and self.adapter == "full") else 4

    @property
    def stream(self) -> int:
        """Bytes of a hidden state between layers: as the embedding has them."""
        return self.trained if self.adapter == "full" and self.gpus == 1 else self.number

    @property
    def refers(self) -> bool:
        """Whether a second model is held to compare with."""
        return self.method in REFERRING and self.adapter == "full"

    def eager(self, shape: Architecture) -> bool:
        """Whether attention holds all scores."""
        return self.attention == "eager" or shape.softcap
