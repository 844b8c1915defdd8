"""How much memory a training takes, by arithmetic over the model's shape; every item has a source or a measurement.

Covers supervised fine-tuning with TRL's chunked loss on one CPU or one CUDA device. Not covered yet: other methods,
several devices, packed 4-bit kernels of other families than NF4.
"""

from __future__ import annotations

from dataclasses import dataclass

from .architecture import Architecture
from .facts import Adapter, MemoryGib, Precision

GIB = 2**30

BYTES: dict[Precision, float] = {"fp32": 4, "fp16": 2, "bf16": 2}
# NF4 with double quantisation: 4 bits and 0.127 bits of constants a parameter (QLoRA, arXiv 2305.14314, section 3).
NF4_BYTES = 4.127 / 8
# Gradient, first and second moment of AdamW, which follow their parameter's type: float32 for all that is trained.
GRADIENT_BYTES = 4
ADAMW_BYTES = 8

# TRL 1.16 scores tiles of at most 4,096 tokens × 32,768 entries of the vocabulary (trl/kernels/chunked_logprob.py).
# Without Triton the backward pass holds eight float32 tiles and a boolean one at once (counted with torch's profiler);
# the Triton kernel works in place.
TILE_TOKENS = 4096
TILE_VOCABULARY = 32_768
TILE_BYTES_CPU = 8.25 * 4
TILE_BYTES_GPU = 2 * 4

# Resident before the first step, without the weights: Python, torch, transformers, TRL, PEFT, Trackio (measured 0.56).
PROCESS_GIB = 0.56
# Holes that the C heap cannot give back: a base and a share of the activations, fitted to 14 peaks of SmolLM2-135M
# (batch 1 to 8, full and LoRA, with and without checkpointing), with glibc's mmap threshold raised. Errors: ± 14 %.
HEAP_GIB = 0.2
HEAP_SHARE = 0.15
# CUDA context and library workspaces, and what the caching allocator keeps in blocks that are too small.
CUDA_GIB = 0.9
CUDA_SHARE = 0.1


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

    @property
    def tokens(self) -> int:
        """Tokens of the largest batch."""
        return self.batch * self.length


def training_memory(shape: Architecture, setup: Setup) -> MemoryGib:
    """Return the peak, which comes at the first step of the backward pass, with all activations and the logits alive.

    Gradients of a full fine-tuning come later, when activations are gone; they count in full all the same, since the
    heap keeps their place free from one step to the next.
    """
    trained = trained_parameters(shape, setup.adapter, setup.rank)
    activations = _activation_bytes(shape, setup)
    items = {
        "weights": _weight_bytes(shape, setup),
        "gradients": trained * GRADIENT_BYTES,
        "optimizer": trained * ADAMW_BYTES,
        "activations": activations,
        "logits": _logit_bytes(shape, setup),
        "overhead": _overhead_bytes(setup, activations),
    }
    return MemoryGib(**{name: size / GIB for name, size in items.items()}, total=sum(items.values()) / GIB)


def trained_parameters(shape: Architecture, adapter: Adapter, rank: int) -> int:
    """Return how many parameters have a gradient."""
    return shape.parameters if adapter == "full" else shape.adapter_parameters(rank)


def _weight_bytes(shape: Architecture, setup: Setup) -> float:
    """Trained weights are held in float32, frozen ones in the run's precision or, for QLoRA, in 4 bits.

    bitsandbytes quantises the linear layers only: embedding, output head and norms keep 16 bits.
    """
    adapter = shape.adapter_parameters(setup.rank) * 4
    if setup.adapter == "full":
        return shape.parameters * 4
    if setup.adapter == "lora":
        return shape.parameters * BYTES[setup.precision] + adapter
    return (shape.parameters - shape.embedding) * NF4_BYTES + shape.embedding * 2 + adapter


def _activation_bytes(shape: Architecture, setup: Setup) -> float:
    """What the forward pass keeps for the backward pass.

    The terms of Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1) for attention that stores no scores (SDPA): four
    widths of the queries (keys and values are expanded to it), the gated feed-forward's four inner widths, norms and
    residuals. Frozen layers keep no input, adapters keep theirs and their own narrow output. With checkpointing (Chen
    et al. 2016, arXiv 1604.06174) each layer keeps its input, and one layer at a time is whole. Counted with
    `torch.autograd.graph.saved_tensors_hooks` on SmolLM2: exact to 1 % for full and LoRA.
    """
    inner = (4 if shape.gated else 2) * shape.intermediate
    if setup.adapter == "full":
        width = inner + 4 * shape.query + 6 * shape.hidden
    else:
        width = inner + 4 * shape.query + 4 * shape.hidden + len(shape.linear) * setup.rank
    mask = setup.length  # a row of the attention mask, which every layer copies
    layer = (width + mask) * BYTES[setup.precision]
    if not setup.checkpointing:
        return setup.tokens * shape.layers * layer
    return setup.tokens * (shape.layers * shape.hidden * BYTES[setup.precision] + layer)


def _logit_bytes(shape: Architecture, setup: Setup) -> float:
    tokens = min(setup.tokens * setup.trained_share, TILE_TOKENS)
    each = TILE_BYTES_GPU if setup.on_gpu else TILE_BYTES_CPU
    return tokens * min(shape.vocabulary, TILE_VOCABULARY) * each


def _overhead_bytes(setup: Setup, activations: float) -> float:
    if setup.on_gpu:
        return CUDA_GIB * GIB + CUDA_SHARE * activations
    return (PROCESS_GIB + HEAP_GIB) * GIB + HEAP_SHARE * activations
