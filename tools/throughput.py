"""How long a training takes: arithmetic per token, over what the machine achieves.

Covers one CPU and any number of GPUs in one machine. Rows are batched by length
(`train_sampling_strategy="group_by_length"`), as the scripts in templates/ do it.
"""

from __future__ import annotations

from .architecture import Architecture
from .facts import Adapter, Lengths, Method, Precision
from .flavor import Flavor
from .memory import trained_parameters
from .setups import BYTES, Setup

# Training arithmetic of large batches as a share of float32 matrix products on all cores. Measured with SmolLM2-135M
# under TRL 1.16 (torch 2.13, x86 with AVX-512, two threads): the share varies by 6 % over LoRA and full, with and
# without checkpointing, so that the operations are counted rightly; this is its level.
CPU_EFFICIENCY = 0.4
# The same run in bf16 over float32 weights, once batches are large: 2.1 times faster where the CPU has AVX-512 BF16 (in
# CPU seconds), and about six times slower where it is emulated.
CPU_BF16_NATIVE = 2.1
CPU_BF16_EMULATED = 0.17
# What a GPU takes for a token: its arithmetic at this share of the peak, and reading and writing what lies between the
# matrix products; but never less than starting the kernels around each adapted matrix, once a pass: forwards, forwards
# again with checkpointing, and backwards, which counts twice. Fitted to LoRA on an A100 in the table of
# https://github.com/QwenLM/Qwen (1.8B and 7B, 256 to 2,048 tokens, batch 1): within 20 %; and the kernels to Qwen3-0.6B
# and 1.7B on H100 and H200, which both train 21,000 tokens/s at batch 2 × 2,048: small models do not get faster on
# larger GPUs (Unsloth BF16 in https://github.com/invergent-ai/surogate/blob/main/docs/docs/reference/benchmarks.md).
GPU_EFFICIENCY = 0.45
GPU_TRAFFIC_BYTES = 650
"""Of each layer's width, a token."""
LAUNCH_MATRIX_S = 0.00024
GPU_FP32_SHARE = 0.125
# QLoRA against LoRA on the same GPU: 39 % more time for 33 % less memory (Raschka 2023, "Practical Tips for Finetuning
# LLMs Using LoRA", measured on an A100).
QLORA_SHARE = 1 / 1.39
# What is left of each GPU's speed where several train together: LoRA of Llama-3.1-8B over PCIe went 3.86 times as fast
# on four (https://www.exxactcorp.com/blog/benchmark/lora-fine-tuning-benchmark-on-nvidia-gpus).
TOGETHER_SHARE = 0.965
# Of what its data sheet says a link carries, what collectives reach (busbw of nccl-tests: 230 of 300 GB/s on A100s).
LINK_SHARE = 0.7

# Tokens of a batch at which half of that is reached: on a CPU threads wait for each other in small operations (measured
# over batches 2 to 8: 116, 139 and 162 tokens per CPU second), and 16 bits cost a cast of all weights in each batch
# (over batches 1 to 8 of 103 tokens: 142, 179, 230 and 284 tokens per CPU second).
CPU_HALF_BUSY_TOKENS: dict[Precision, int] = {"fp32": 110, "bf16": 200, "fp16": 200}

# Forward passes of the model itself without gradients, beside the trained one (trl 1.16): DPO compares with the model
# as it was; KTO asks both for mismatched pairs as well, from which it estimates the KL term (`_compute_kl_logps`); RLOO
# asks both when completions were generated; GRPO neither, as its beta is 0 and each completion is used once.
FORWARD_PASSES: dict[Method, int] = {"dpo": 1, "kto": 3, "rloo": 2}

# transformers' LengthGroupedSampler sorts rows within groups of this many batches (trainer_pt_utils.py).
SORTED_BATCHES = 50


def training_flops(
    shape: Architecture,
    *,
    adapter: Adapter,
    rank: int,
    checkpointing: bool,
    length: float,
    trained_share: float,
    method: Method = "sft",
    teacher: Architecture | None = None,
) -> float:
    """Return the floating-point operations that training takes per token.

    With N parameters that a token meets outside of the embedding: 2N forward, 2N for the gradients of activations, 2N
    for those of weights (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), of which LoRA needs only its own (Hu et
    al. 2021, arXiv 2106.09685); 2N more where checkpointing runs the forward pass again. TRL's chunked loss computes
    the logits twice, of tokens that carry loss. Some methods ask models without training them: see `asked_flops`.
    """
    trained = trained_parameters(shape, adapter, rank)
    if shape.experts:  # nearly all adapters of a mixture sit on experts
        trained *= shape.active_experts / shape.experts
    body = shape.active_parameters - shape.embedding
    passes = 4 + (2 if checkpointing else 0)
    weights = 2 * body if adapter == "full" else (passes + 2) * trained
    head = (8 if adapter == "full" else 6) * shape.vocabulary * shape.hidden * trained_share
    further = asked_flops(shape, method, teacher, length=length, trained_share=trained_share)
    return passes * body + weights + (passes + 2) / 2 * _attention_flops(shape, length) + head + further


def forward_flops(shape: Architecture, *, length: float, trained_share: float) -> float:
    """Return the floating-point operations that evaluating takes per token."""
    head = 2 * shape.vocabulary * shape.hidden * trained_share
    return 2 * (shape.active_parameters - shape.embedding) + _attention_flops(shape, length) + head


def asked_flops(
    shape: Architecture, method: Method, teacher: Architecture | None, *, length: float, trained_share: float
) -> float:
    """Return the operations per token of forward passes without gradients; a distillation asks its teacher once."""
    if method == "distillation":
        return forward_flops(teacher or shape, length=length, trained_share=trained_share)
    return FORWARD_PASSES.get(method, 0) * forward_flops(shape, length=length, trained_share=trained_share)


def _attention_flops(shape: Architecture, length: float) -> float:
    """Scores and weighted values of one forward pass, of which causal attention needs half."""
    return 2 * shape.layers * length * shape.query


def achieved_flops(flavor: Flavor, *, adapter: Adapter, precision: Precision, batch_tokens: float) -> float:
    """Return the floating-point operations a second that training reaches on all GPUs, or all cores, together.

    Args:
        flavor: The machine.
        adapter: QLoRA unpacks its weights anew at every use.
        precision: What is computed in.
        batch_tokens: Tokens that a CPU computes at once; what small batches cost a GPU is in `launch_seconds`.
    """
    if flavor.gpu is not None:
        emulated = precision == "bf16" and not flavor.gpu.has_bf16  # computed in fp32
        share = GPU_FP32_SHARE if precision == "fp32" or emulated else 1.0
        share *= QLORA_SHARE if adapter == "qlora" else 1.0
        together = flavor.gpus * (TOGETHER_SHARE if flavor.gpus > 1 else 1.0)
        return flavor.gpu.tflops * 1e12 * share * GPU_EFFICIENCY * together
    factor = 1.0
    if precision != "fp32":
        factor = CPU_BF16_NATIVE if flavor.native_bf16 else CPU_BF16_EMULATED
    busy = batch_tokens / (batch_tokens + CPU_HALF_BUSY_TOKENS[precision])
    return flavor.gflops * 1e9 * CPU_EFFICIENCY * factor * busy


def seconds_per_token(
    shape: Architecture, flavor: Flavor, *, flops: float, flops_per_s: float, batch_tokens: float, passes: int
) -> float:
    """Return the seconds that each token takes on all GPUs, or all cores, together.

    Args:
        shape: The model.
        flavor: The machine.
        flops: Floating-point operations a token.
        flops_per_s: What the machine achieves: see `achieved_flops`.
        batch_tokens: Tokens that one GPU computes at once.
        passes: Over all layers: 3 for training, forwards once and backwards twice; 4 with checkpointing; 1 to evaluate.
    """
    arithmetic = flops / flops_per_s
    if flavor.gpu is None:
        return arithmetic
    traffic = min(1, passes / 3) * shape.layers * shape.hidden * GPU_TRAFFIC_BYTES / (flavor.gpu.bandwidth_gb_s * 1e9)
    launches = passes * shape.layers * len(shape.linear) * LAUNCH_MATRIX_S / batch_tokens
    return max(arithmetic + traffic / flavor.gpus, launches / flavor.gpus)


def exchange_seconds(shape: Architecture, flavor: Flavor, setup: Setup, *, accumulation: int) -> float:
    """Return the seconds for which a batch keeps the link of each GPU busy; arithmetic goes on meanwhile.

    FSDP and ZeRO-3 gather the weights forwards and backwards, and sum the gradients, each time all but a GPU's own
    share (Zhao et al. 2023, arXiv 2304.11277). DDP sums the gradients once in `accumulation` batches, which takes two
    such rounds.
    """
    if flavor.gpu is None or flavor.gpus < 2:
        return 0.0
    trained = trained_parameters(shape, setup.adapter, setup.rank)
    moved = 2 * trained * setup.trained / accumulation
    if setup.sharded:
        moved = (2 * shape.parameters + trained) * BYTES[setup.precision]
    return moved * (1 - 1 / flavor.gpus) / (flavor.gpu.link_gb_s * 1e9 * LINK_SHARE)


def padding(lengths: Lengths, *, batch: int, rows: int) -> float:
    """Return how many tokens are computed for each real one when rows are batched by length.

    In a group of sorted rows, neighbours differ by the spread over the group's size; a batch is as long as its longest
    row, on average half a batch of neighbours above its mean.
    """
    group = batch * max(1, min(SORTED_BATCHES, rows // (4 * batch)))
    spread = 2 * (lengths.p95 - lengths.p50)
    return 1 + spread / group * (batch - 1) / 2 / max(1, lengths.p50)
