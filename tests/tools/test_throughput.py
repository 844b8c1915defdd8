from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ftagent.tools.architecture import Architecture, read_architecture
from ftagent.tools.facts import Adapter, Lengths, Method, Precision
from ftagent.tools.flavor import Flavor
from ftagent.tools.gpus import gpu_model
from ftagent.tools.throughput import (
    achieved_flops,
    decoding_seconds,
    forward_flops,
    padding,
    seconds_per_token,
    training_flops,
)
from hypothesis import given
from hypothesis import strategies as st

from .test_memory import SMOLLM2

CONFIGS = Path(__file__).parents[1] / "configs"
CPU = Flavor(name="cpu", cores=8, memory_gib=32, gflops=240)
A100 = Flavor(name="a100", cores=12, memory_gib=142, gpu=gpu_model("A100", 80), gpus=1)
BODY = SMOLLM2.parameters - SMOLLM2.embedding
LENGTHS = Lengths(p50=107, p95=143, p99=156, max=164)


def flops(
    adapter: Adapter = "full",
    *,
    checkpointing: bool = False,
    length: float = 0,
    share: float = 0,
    method: Method = "sft",
    shape: Architecture = SMOLLM2,
) -> float:
    return training_flops(
        shape,
        adapter=adapter,
        rank=16,
        checkpointing=checkpointing,
        length=length,
        trained_share=share,
        method=method,
    )


def speed(
    flavor: Flavor, adapter: Adapter = "lora", precision: Precision = "bf16", batch_tokens: float = 8192
) -> float:
    return achieved_flops(flavor, adapter=adapter, precision=precision, batch_tokens=batch_tokens)


def test_full_fine_tuning_takes_six_operations_a_parameter_and_checkpointing_two_more() -> None:
    assert flops() == 6 * BODY
    assert flops(checkpointing=True) - flops() == 2 * BODY


def test_lora_saves_the_gradients_of_the_weights() -> None:
    adapter = 6 * SMOLLM2.adapter_parameters(16)
    assert flops("lora") == 4 * BODY + adapter


def test_tokens_without_loss_get_no_logits() -> None:
    assert flops("lora", share=1) - flops("lora") == 6 * SMOLLM2.vocabulary * SMOLLM2.hidden


def test_evaluating_is_about_a_third_of_training() -> None:
    evaluation = forward_flops(SMOLLM2, length=100, trained_share=0.2)
    assert 0.3 < evaluation / flops(length=100, share=0.2) < 0.36


@pytest.mark.parametrize(("method", "passes"), [("sft", 0), ("dpo", 1), ("kto", 3), ("distillation", 1)])
def test_methods_with_a_second_model_run_further_forward_passes(method: Method, passes: int) -> None:
    further = flops("lora", length=100, share=1, method=method) - flops("lora", length=100, share=1)
    assert further == pytest.approx(passes * forward_flops(SMOLLM2, length=100, trained_share=1))


def test_of_a_mixture_the_experts_count_that_a_token_passes_through() -> None:
    mixture, dense = (read_architecture(CONFIGS / name) for name in ("Qwen3-30B-A3B", "Qwen3-8B"))
    assert mixture.parameters > 3 * dense.parameters
    assert forward_flops(mixture, length=0, trained_share=1) < forward_flops(dense, length=0, trained_share=1) / 2
    for adapter in ("full", "lora"):
        assert flops(adapter, shape=mixture, share=1) < flops(adapter, shape=dense, share=1) / 2


# --- what machines achieve --------------------------------------------------------------------------------------------


def test_qlora_takes_39_percent_longer_than_lora() -> None:
    assert speed(A100) / speed(A100, "qlora") == pytest.approx(1.39)


def test_a_gpu_is_fast_in_16_bits() -> None:
    assert speed(A100, precision="fp32") < speed(A100) / 4


@pytest.mark.parametrize(
    ("name", "length", "measured"),
    [
        ("Qwen2.5-7B", 256, 1707),
        ("Qwen2.5-7B", 1024, 2926),
        ("Qwen2.5-7B", 2048, 3151),
        ("Qwen3-1.7B", 256, 2048),
        ("Qwen3-1.7B", 1024, 7447),
        ("Qwen3-1.7B", 2048, 9638),
    ],
)
def test_an_a100_trains_as_fast_as_was_measured(name: str, length: int, measured: float) -> None:
    """LoRA at batch 1 with checkpointing, by the table of https://github.com/QwenLM/Qwen, of models of these sizes."""
    shape = read_architecture(CONFIGS / name)
    took = seconds_per_token(
        shape,
        A100,
        flops=flops("lora", shape=shape, checkpointing=True, length=length, share=1),
        flops_per_s=speed(A100),
        batch_tokens=length,
    )
    assert 1 / took == pytest.approx(measured, rel=0.2)


def test_bf16_is_slow_on_a_gpu_that_emulates_it() -> None:
    t4 = replace(A100, gpu=gpu_model("T4", 16))
    assert speed(t4, precision="bf16") == speed(t4, precision="fp32") < speed(t4, precision="fp16") / 4


def test_a_second_gpu_helps_and_does_not_double_the_speed() -> None:
    assert speed(A100) < speed(replace(A100, gpus=2)) < 2 * speed(A100)
    assert speed(replace(A100, gpus=8)) == pytest.approx(4 * speed(replace(A100, gpus=2)))


def test_a_cpu_without_bf16_emulates_it_slowly() -> None:
    assert speed(CPU, precision="bf16") < speed(CPU, precision="fp32") / 5
    native = replace(CPU, native_bf16=True)
    assert speed(native, precision="bf16") > speed(native, precision="fp32")


def test_decoding_agrees_with_what_qwen_measured() -> None:
    # Qwen-7B with transformers on an A100, 2,048 tokens at batch 1: 30.53 tokens/s (the README of Qwen/Qwen-7B-Chat)
    qwen_7b = replace(SMOLLM2, layers=32, hidden=4096, parameters=7_721_324_544)
    assert 1 / decoding_seconds(qwen_7b, A100, precision="bf16", sequences=1) == pytest.approx(30.53, rel=0.1)


def test_a_gpu_decodes_many_rows_in_the_time_of_one_and_a_cpu_does_not() -> None:
    def seconds(flavor: Flavor, sequences: int) -> float:
        return decoding_seconds(SMOLLM2, flavor, precision="bf16", sequences=sequences)

    assert seconds(A100, 16) == seconds(A100, 1)
    assert seconds(CPU, 1024) > 2 * seconds(CPU, 128)


# --- padding ----------------------------------------------------------------------------------------------------------


def test_a_batch_of_one_has_no_padding_and_real_batches_little() -> None:
    assert padding(LENGTHS, batch=1, rows=240) == 1
    # transformers' LengthGroupedSampler over 240 rows of 75 to 164 tokens
    assert 1.0 < padding(LENGTHS, batch=2, rows=240) < 1.02
    assert 1.02 < padding(LENGTHS, batch=8, rows=240) < 1.08


@given(st.integers(1, 64), st.integers(1, 10**6), st.integers(1, 4096), st.integers(0, 4096))
def test_padding_never_saves_anything(batch: int, rows: int, p50: int, spread: int) -> None:
    lengths = Lengths(p50=p50, p95=p50 + spread, p99=p50 + spread, max=p50 + spread)
    assert padding(lengths, batch=batch, rows=rows) >= 1
