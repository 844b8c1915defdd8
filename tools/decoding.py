"""How long completions take that a model generates itself, by transformers and without vLLM.

Each token of all rows together is one forward pass, which reads all weights and the keys and values of all former
tokens: memory decides, until there are so many rows that arithmetic does.
"""

from __future__ import annotations

from .architecture import Architecture
from .flavor import Flavor
from .setups import BYTES, Setup
from .throughput import LINK_SHARE, achieved_flops, forward_flops, seconds_per_token

# Of the memory's bandwidth, what reading reaches; and the time in which some fifty small kernels of a layer start.
# Fitted to what Qwen measured of its 7B on an A100 (README of Qwen/Qwen-7B-Chat: 30.53 tokens/s at batch 1).
BANDWIDTH_SHARE = 0.6
LAYER_S = 0.0006
# Adapters that are not merged start about as many again (`Linear.forward` in peft/tuners/lora/layer.py: two products,
# a scaling, a sum and two casts for each of seven matrices).
ADAPTED_LAYER_S = 2 * LAYER_S
# How often keys and values go through the memory for a token: read and written when one is added, read by attention.
CACHE_PASSES = 3

# On a CPU the weights are read first: 12 GB/s a core, as far as eight cores fill the memory's channels. With arithmetic
# as in training, SmolLM2-135M on two cores comes out as measured: 23, 60 and 125 ms a token at 1, 8 and 32 rows.
CORE_READS_GB_S = 12.0
MEMORY_CORES = 8
BUSY_TOKENS = 1e6
"""So many that no thread waits: what small batches cost is in reading."""


def decoding_seconds(shape: Architecture, flavor: Flavor, setup: Setup, *, sequences: int, length: float) -> float:
    """Return the seconds in which each of these sequences gets one more token.

    Args:
        shape: The model.
        flavor: The machine; each of its GPUs decodes its own sequences.
        setup: How the weights are held; those that GPUs share are gathered for every token.
        sequences: How many are decoded together on one GPU, or on the CPU.
        length: Tokens that each has so far, on average.
    """
    rate = achieved_flops(flavor, adapter=setup.adapter, precision=setup.precision, batch_tokens=BUSY_TOKENS)
    arithmetic = sequences * forward_flops(shape, length=length, trained_share=1.0) / (rate / max(1, flavor.gpus))
    if flavor.gpu is None:
        cores = min(MEMORY_CORES, flavor.cores if flavor.is_local else flavor.cores / 2)
        return shape.active_weights(sequences) * BYTES[setup.precision] / (cores * CORE_READS_GB_S * 1e9) + arithmetic
    # Autocast reads float32, writes what it made of it, and reads that.
    number = 4 + 2 + 2 if setup.autocast and setup.weights_in_full else BYTES[setup.precision]
    # With a mask, as prompts of different lengths need one, keys and values are repeated for all queries: written, read
    repeated = 2 * shape.heads / shape.kv_heads if setup.padded else 0
    cache = sequences * shape.cache_bytes(length, setup.stream) * (CACHE_PASSES + repeated)
    reading = (shape.active_weights(sequences) * number + cache) / (flavor.gpu.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE)
    starting = shape.layers * (LAYER_S if setup.adapter == "full" else ADAPTED_LAYER_S)
    return max(reading, arithmetic) + starting + _gathering_seconds(shape, flavor, setup)


def prefill_seconds(shape: Architecture, flavor: Flavor, setup: Setup, *, sequences: int, length: float) -> float:
    """Return the seconds in which each of these prompts is read; only its last token is scored."""
    tokens = sequences * length
    speed = achieved_flops(flavor, adapter=setup.adapter, precision=setup.precision, batch_tokens=tokens)
    flops = forward_flops(shape, length=length, trained_share=0.0)
    each = seconds_per_token(shape, flavor, flops=flops, flops_per_s=speed, batch_tokens=tokens, passes=1)
    return tokens * each * max(1, flavor.gpus) + _gathering_seconds(shape, flavor, setup)


def _gathering_seconds(shape: Architecture, flavor: Flavor, setup: Setup) -> float:
    if flavor.gpu is None or not setup.sharded:
        return 0.0
    moved = shape.parameters * BYTES[setup.precision] * (1 - 1 / setup.gpus)
    return moved / (flavor.gpu.link_gb_s * 1e9 * LINK_SHARE)
