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
# Holes that the C heap does not give back: a base, and a share of what all layers keep of a batch, checkpointed or not.
# Fitted to the peaks of SmolLM2-135M (batch 1 to 8, full and LoRA, with and without checkpointing, glibc's mmap
# threshold raised as worker.py does it): errors from -13 to +15 %.
HEAP_GIB = 0.2
HEAP_SHARE = 0.3
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
    heap keeps their place from one step to the next.
    """
    trained = trained_parameters(shape, setup.adapter, setup.rank)
    items = {
        "weights": _weight_bytes(shape, setup),
        "gradients": trained * GRADIENT_BYTES,
        "optimizer": trained * ADAMW_BYTES,
        "activations": _activation_bytes(shape, setup),
        "logits": _logit_bytes(shape, setup),
        "overhead": _overhead_bytes(shape, setup),
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
        cast = 0 if setup.precision == "fp32" else BYTES[setup.precision]  # autocast keeps a copy of each for the step
        return shape.parameters * (4 + cast)
    if setup.adapter == "lora":
        return shape.parameters * BYTES[setup.precision] + adapter
    return (shape.parameters - shape.embedding) * NF4_BYTES + shape.embedding * 2 + adapter


def _activation_bytes(shape: Architecture, setup: Setup) -> float:
    """What the forward pass keeps for the backward pass.

    With checkpointing (Chen et al. 2016, arXiv 1604.06174) each layer keeps its input, and one at a time is whole.
    """
    layer = _layer_bytes(shape, setup)
    if not setup.checkpointing:
        return setup.tokens * shape.layers * layer
    return setup.tokens * (shape.layers * shape.hidden * BYTES[setup.precision] + layer)


def _layer_bytes(shape: Architecture, setup: Setup) -> float:
    """What one layer keeps of one token.

    The terms of Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1) for attention that stores no scores (SDPA):
    four widths of the queries, to which keys and values are expanded, and the inner widths of the feed-forward. Norms
    stay in float32. Frozen layers keep no input of their own, adapters keep theirs and their narrow output; autocast
    casts the input of each linear layer anew. Counted with `torch.autograd.graph.saved_tensors_hooks` on SmolLM2: exact
    to 1 % for full in fp32 and for LoRA in fp32 and bf16.
    """
    inner = (4 if shape.gated else 2) * shape.intermediate
    inputs = (2 if setup.precision == "fp32" else 6) * shape.hidden
    narrow = 0 if setup.adapter == "full" else len(shape.linear) * setup.rank
    mask = setup.length  # one row of the attention mask, which every layer copies
    norms = (4 if setup.adapter == "full" else 2) * shape.hidden
    return (inner + 4 * shape.query + inputs + narrow + mask) * BYTES[setup.precision] + norms * 4


def _logit_bytes(shape: Architecture, setup: Setup) -> float:
    tokens = min(setup.tokens * setup.trained_share, TILE_TOKENS)
    each = TILE_BYTES_GPU if setup.on_gpu else TILE_BYTES_CPU
    return tokens * min(shape.vocabulary, TILE_VOCABULARY) * each


def _overhead_bytes(shape: Architecture, setup: Setup) -> float:
    if setup.on_gpu:
        return CUDA_GIB * GIB + CUDA_SHARE * _activation_bytes(shape, setup)
    return (PROCESS_GIB + HEAP_GIB) * GIB + HEAP_SHARE * setup.tokens * shape.layers * _layer_bytes(shape, setup)
