"""How a training is done, as far as its memory depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .architecture import Architecture
from .facts import Adapter, Method, Precision, Sharding

Attention = Literal["sdpa", "eager"]
Logits = Literal["tiled", "full"]

BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
# One row of the dataset makes two of the batch: a chosen and a rejected answer.
PAIRED: frozenset[Method] = frozenset({"dpo", "reward"})
# TRL 1.16 compares with the model as it was in these; GRPO's beta is 0 by default, RLOO's 0.05.
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
    reference: bool | None = None
    """Whether GRPO or RLOO compare with the model as it was; None is what TRL does unless told otherwise."""
    teacher: Architecture | None = None
    """What a distillation learns from; None is a model like the one that is trained."""
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
    """GPUs that train together, each with a batch of its own."""
    sharding: Sharding = "fsdp2"
    """How several GPUs share weights, gradients and moments; with DDP each has all of them."""

    @property
    def sharded(self) -> bool:
        """Whether each GPU holds a share of weights, gradients and moments only."""
        return self.gpus > 1 and self.sharding != "ddp"

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
        return 4 if self.method == "distillation" and self.weights_in_full else BYTES[self.precision]

    @property
    def frozen(self) -> int:
        """Bytes of a matrix that is not trained: on a CPU only SFT casts it (`hold_in_bf16` in templates/sft.py)."""
        return BYTES[self.precision] if self.on_gpu or self.method == "sft" else 4

    @property
    def weights_in_full(self) -> bool:
        """Whether trained weights are held in float32, whatever is computed in."""
        return self.adapter == "full" and not self.pure and not self.sharded

    @property
    def autocast(self) -> bool:
        """Whether float32 is cast where a linear layer begins.

        FSDP gathers weights that are cast already, TRL leaves nothing in float32 beside 4-bit weights, and its
        distillation goes around accelerate's autocast (`_ForwardRedirection` puts another `forward` in its place).
        """
        cast_already = self.pure or self.sharded or self.adapter == "qlora" or self.method == "distillation"
        return self.precision != "fp32" and not cast_already

    @property
    def adapted_under_autocast(self) -> bool:
        """Whether PEFT and autocast cast the input of each adapter to and fro."""
        return self.autocast and self.adapter != "full"

    @property
    def adapted_in_float32(self) -> bool:
        """Whether PEFT casts the input of each adapter to float32, and nothing casts it back."""
        return self.method == "distillation" and self.adapter == "lora" and self.number < 4 and not self.sharded

    @property
    def trained(self) -> int:
        """Bytes of a trained weight, of its gradient and of each of its moments.

        PEFT holds adapters in float32; TRL casts those of a quantised model to 16 bits (`sft_trainer.py`).
        """
        return self.number if self.adapter == "qlora" or (self.pure and self.adapter == "full") else 4

    @property
    def stream(self) -> int:
        """Bytes of a hidden state between layers: as the embedding has them."""
        return self.trained if self.adapter == "full" and not self.sharded else (self.number if self.on_gpu else 4)

    @property
    def compares(self) -> bool:
        """Whether the model as it was is asked too: by switching the adapter off, if there is one."""
        return self.method in REFERRING if self.reference is None else self.reference

    @property
    def refers(self) -> bool:
        """Whether a second model is held to compare with."""
        return self.compares and self.adapter == "full"

    def eager(self, shape: Architecture) -> bool:
        """Whether attention holds all scores."""
        return self.attention == "eager" or shape.softcap
