from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ftagent.tools.architecture import Architecture
from ftagent.tools.decoding import decoding_seconds, prefill_seconds
from ftagent.tools.flavor import Flavor
from ftagent.tools.setups import Setup
from ftagent.tools.shapes import read_architecture

from ..bench.memory import read_line
from .test_memory import CONFIGS, SMOLLM2
from .test_throughput import A100, CPU

LORA = read_line("SmolLM2-135M grpo lora16 bf16 1x1024 padded")[1]
LLAMA = read_architecture(CONFIGS / "Llama-3.1-8B")


def seconds(shape: Architecture, flavor: Flavor, setup: Setup = LORA, **more: Any) -> float:
    return decoding_seconds(shape, flavor, setup, **{"sequences": 1, "length": 512} | more)


def test_decoding_agrees_with_what_qwen_measured() -> None:
    # Qwen-7B with transformers on an A100, 2,048 tokens at batch 1: 30.53 tokens/s (the README of Qwen/Qwen-7B-Chat)
    qwen_7b = replace(
        SMOLLM2,
        layers=32,
        hidden=4096,
        intermediate=11_008,
        heads=32,
        kv_heads=32,
        head_dim=128,
        parameters=7_721_324_544,
    )
    whole = replace(LORA, adapter="full", pure=True, padded=False)
    assert 1 / seconds(qwen_7b, A100, whole, length=1024) == pytest.approx(30.53, rel=0.1)


def test_a_gpu_decodes_many_rows_in_nearly_the_time_of_one_and_a_cpu_does_not() -> None:
    assert seconds(SMOLLM2, A100, sequences=16) < 1.2 * seconds(SMOLLM2, A100)
    assert seconds(SMOLLM2, CPU, sequences=1024) > 2 * seconds(SMOLLM2, CPU, sequences=128)


@pytest.mark.parametrize(("sequences", "measured_s"), [(1, 0.0225), (8, 0.0605), (32, 0.1245)])
def test_a_cpu_decodes_as_fast_as_was_measured(sequences: int, measured_s: float) -> None:
    # half the CPU seconds of two threads, which multiply 103 GFLOP/s each, in float32 without an adapter
    laptop = replace(CPU, name="local", cores=2, gflops=206)
    took = seconds(SMOLLM2, laptop, replace(LORA, precision="fp32"), sequences=sequences, length=70)
    assert took == pytest.approx(measured_s, rel=0.25)


def test_keys_and_values_of_many_long_rows_take_longer_to_read_than_the_weights() -> None:
    short, long = (seconds(LLAMA, A100, sequences=64, length=length) for length in (128, 8192))
    assert long > 5 * short


def test_a_mask_repeats_keys_and_values_for_all_queries() -> None:
    plain = replace(LORA, padded=False)
    extra = seconds(LLAMA, A100, sequences=64, length=2048) - seconds(LLAMA, A100, plain, sequences=64, length=2048)
    cache_bytes = 64 * LLAMA.cache_bytes(2048, 2)
    assert extra == pytest.approx(2 * 4 * cache_bytes / (2039e9 * 0.6), rel=0.01)  # four queries share a key


def test_experts_are_read_as_far_as_tokens_meet_them() -> None:
    mixture = read_architecture(CONFIGS / "Qwen3-30B-A3B")
    assert mixture.active_weights(1) == pytest.approx(mixture.active_parameters, rel=0.01)
    assert mixture.active_weights(512) == pytest.approx(mixture.parameters, rel=0.01)
    assert seconds(mixture, A100, sequences=64) > 2 * seconds(mixture, A100)


def test_gpus_that_share_weights_gather_them_for_every_token() -> None:
    shared = replace(LORA, gpus=4, sharding="fsdp2")
    cards = replace(A100, gpus=4)
    extra = seconds(LLAMA, cards, shared) - seconds(LLAMA, cards, replace(shared, sharding="ddp"))
    assert extra == pytest.approx(LLAMA.parameters * 2 * 0.75 / (300e9 * 0.7))


def test_weights_that_are_trained_in_full_are_cast_for_every_token() -> None:
    full = replace(LORA, adapter="full")
    assert seconds(LLAMA, A100, full) > 2 * seconds(LLAMA, A100, replace(full, pure=True))


def test_prompts_are_read_by_arithmetic() -> None:
    took = prefill_seconds(LLAMA, A100, LORA, sequences=16, length=1024)
    least = 16 * 1024 * 2 * (LLAMA.parameters - LLAMA.embedding) / (312e12 * 0.45)
    assert least < took < 1.5 * least
    assert prefill_seconds(LLAMA, A100, LORA, sequences=32, length=1024) == pytest.approx(2 * took)
