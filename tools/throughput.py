"""How long a training takes: arithmetic per token, over what the machine achieves.

Covers one CPU or one CUDA device. Rows are batched by length (`train_sampling_strategy="group_by_length"`), as the
scripts in templates/ do it.
"""

from __future__ import annotations

from .architecture import Architecture
from .facts import Adapter, Lengths, Precision
from .machine import Machine
from .memory import trained_parameters

# Training arithmetic of large batches as a share of float32 matrix products on all cores. Measured with SmolLM2-135M
# under TRL 1.16 (torch 2.13, x86 with AVX-512, two threads): the share varies by 6 % over LoRA and full, with and
# without checkpointing, so that the operations are counted rightly; this is its level.
CPU_EFFICIENCY = 0.4
# The same run in bf16: 1.2 times faster with AMX, and about six times slower where bf16 is emulated.
CPU_BF16_NATIVE = 1.2
CPU_BF16_EMULATED = 0.17
# Model FLOP/s over peak that single-GPU fine-tuning with transformers reaches in practice; a GPU run has the last word.
GPU_EFFICIENCY = 0.3
GPU_FP32_SHARE = 0.125

# Tokens of a batch at which half of that is reached: on a CPU threads wait for each other in small operations (measured
# over batches 2 to 8: 116, 139 and 162 tokens per CPU second), a GPU starves sooner.
CPU_HALF_BUSY_TOKENS = 110
GPU_HALF_BUSY_TOKENS = 1000

# transformers' LengthGroupedSampler sorts rows within groups of this many batches (trainer_pt_utils.py).
SORTED_BATCHES = 50


def training_flops(
    shape: Architecture, *, adapter: Adapter, rank: int, checkpointing: bool, length: float, trained_share: float
) -> float:
    """Return the floating-point operations that training takes per token.

    With N parameters outside of the embedding: 2N forward, 2N for the gradients of activations, 2N for those of weights
    (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), of which LoRA needs only its own (Hu et al. 2021, arXiv
    2106.09685); 2N more where checkpointing runs the forward pass again. TRL's chunked loss computes the logits twice,
    of tokens that carry loss.
    """
    trained = trained_parameters(shape, adapter, rank)
    body = shape.parameters - shape.embedding
    passes = 4 + (2 if checkpointing else 0)
    weights = 2 * body if adapter == "full" else (passes + 2) * trained
    head = (8 if adapter == "full" else 6) * shape.vocabulary * shape.hidden * trained_share
    return passes * body + weights + (passes + 2) / 2 * _attention_flops(shape, length) + head


def forward_flops(shape: Architecture, *, length: float, trained_share: float) -> float:
    """Return the floating-point operations that evaluating takes per token."""
    head = 2 * shape.vocabulary * shape.hidden * trained_share
    return 2 * (shape.parameters - shape.embedding) + _attention_flops(shape, length) + head


def _attention_flops(shape: Architecture, length: float) -> float:
    """Scores and weighted values of one forward pass, of which causal attention needs half."""
    return 2 * shape.layers * length * shape.query


def achieved_flops(machine: Machine, *, precision: Precision, batch_tokens: float) -> float:
    """Return the floating-point operations a second that training reaches with batches of this size."""
    if machine.gpu is not None:
        share = GPU_FP32_SHARE if precision == "fp32" else 1.0
        busy = batch_tokens / (batch_tokens + GPU_HALF_BUSY_TOKENS)
        return machine.gpu.tflops * 1e12 * share * GPU_EFFICIENCY * busy
    factor = 1.0
    if precision != "fp32":
        factor = CPU_BF16_NATIVE if machine.native_bf16 else CPU_BF16_EMULATED
    busy = batch_tokens / (batch_tokens + CPU_HALF_BUSY_TOKENS)
    return machine.gflops * 1e9 * CPU_EFFICIENCY * factor * busy


def padding(lengths: Lengths, *, batch: int, rows: int) -> float:
    """Return how many tokens are computed for each real one when rows are batched by length.

    In a group of sorted rows, neighbours differ by the spread over the group's size; a batch is as long as its longest
    row, on average half a batch of neighbours above its mean.
    """
    group = batch * max(1, min(SORTED_BATCHES, rows // (4 * batch)))
    spread = 2 * (lengths.p95 - lengths.p50)
    return 1 + spread / group * (batch - 1) / 2 / max(1, lengths.p50)
