from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ftagent.tools.architecture import Architecture
from ftagent.tools.facts import Adapter, Lengths, Method, Precision
from ftagent.tools.flavor import Flavor
from ftagent.tools.gpus import gpu_model
from ftagent.tools.shapes import read_architecture
from ftagent.tools.throughput import (
    achieved_flops,
    asked_flops,
    exchange_seconds,
    forward_flops,
    padding,
    seconds_per_token,
    training_flops,
)
from hypothesis import given
from hypothesis import strategies as st

from ..bench.memory import read_line
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


def trained_per_second(shape: Architecture, flavor: Flavor, batch_tokens: int, adapter: Adapter = "lora") -> float:
    """Return the tokens a second of a training with checkpointing on rows of at most 2,048 tokens."""
    length = min(batch_tokens, 2048)
    took = seconds_per_token(
        shape,
        flavor,
        flops=flops(adapter, shape=shape, checkpointing=True, length=length, share=1),
        flops_per_s=speed(flavor, adapter),
        batch_tokens=batch_tokens,
        passes=4,
    )
    return 1 / took


@pytest.mark.parametrize(
    ("name", "length", "measured"),
    [
        ("Qwen2.5-7B", 256, 1707 * 5 / 7),
        ("Qwen2.5-7B", 1024, 2926),
        ("Qwen2.5-7B", 2048, 3151),
        ("Qwen3-1.7B", 256, 2048 * 5 / 7),
        ("Qwen3-1.7B", 1024, 7447 * 5 / 7),
        ("Qwen3-1.7B", 2048, 9638),
    ],
)
def test_an_a100_trains_as_fast_as_was_measured(name: str, length: int, measured: float) -> None:
    """LoRA at batch 1 with checkpointing, by the table of https://github.com/QwenLM/Qwen, of models of these sizes.

    Those have five adapted matrices a layer and these seven, which counts where starting kernels is what takes time.
    """
    assert trained_per_second(read_architecture(CONFIGS / name), A100, length) == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize(
    ("name", "gpu", "measured"),
    [
        ("Qwen3-0.6B", "H100", 21_300),
        ("Qwen3-1.7B", "H100", 20_800),
        ("Qwen3-8B", "H100", 8_900),
        ("Qwen3-0.6B", "H200", 21_700),
        ("Qwen3-1.7B", "H200", 21_400),
        ("Qwen3-8B", "H200", 9_100),
    ],
)
def test_small_models_do_not_get_faster_on_larger_gpus(name: str, gpu: str, measured: float) -> None:
    """LoRA at batch 2 × 2,048, by the table of invergent-ai/surogate (Unsloth BF16, which fuses more than TRL does)."""
    flavor = replace(A100, gpu=gpu_model(gpu, 141 if gpu == "H200" else 80))
    assert 0.75 < trained_per_second(read_architecture(CONFIGS / name), flavor, 4096) / measured < 1.1


def test_eight_gpus_with_nvlink_share_a_model_as_fast_as_was_measured() -> None:
    # torchtitan, 8 H100, FSDP, batch 2 × 8,192, some layers recomputed: 5,762 tokens/s each (its benchmarks folder)
    llama = read_architecture(CONFIGS / "Llama-3.1-8B")
    nodes = replace(A100, gpu=gpu_model("H100", 80), gpus=8)
    computed = trained_per_second(llama, nodes, 2 * 8192, "full") / 8
    assert computed == pytest.approx(5762, rel=0.2)
    setup = read_line("Llama-3.1-8B sft full bf16 2x8192 checkpointing gpus=8")[1]
    assert exchange_seconds(llama, nodes, setup, accumulation=1) < 2 * 8192 / computed / 4  # hidden behind arithmetic


def test_over_pcie_the_link_decides_how_fast_weights_are_shared() -> None:
    llama = read_architecture(CONFIGS / "Llama-3.1-8B")
    setup = read_line("Llama-3.1-8B sft full bf16 1x1024 checkpointing gpus=4")[1]
    cards = replace(A100, gpu=gpu_model("L4", 24), gpus=4)
    # 16 GB are gathered twice and summed once, three quarters of it from others, at 22 GB/s
    exchanged = exchange_seconds(llama, cards, setup, accumulation=1)
    assert exchanged == pytest.approx(3 * 16.06 * 0.75 / 22.4, rel=0.01)
    assert exchanged > 1024 / (trained_per_second(llama, cards, 1024, "full") / 4)


def test_gradients_that_are_summed_once_a_step_keep_links_idle() -> None:
    setup = replace(read_line("Llama-3.1-8B sft lora16 bf16 1x1024 gpus=4")[1], sharding="ddp")
    llama, cards = read_architecture(CONFIGS / "Llama-3.1-8B"), replace(A100, gpus=4)
    often, once = (exchange_seconds(llama, cards, setup, accumulation=n) for n in (1, 8))
    assert often == 8 * once > 0
    assert exchange_seconds(llama, A100, setup, accumulation=1) == 0


def test_bf16_is_slow_on_a_gpu_that_emulates_it() -> None:
    t4 = replace(A100, gpu=gpu_model("T4", 16))
    assert speed(t4, precision="bf16") == speed(t4, precision="fp32") < speed(t4, precision="fp16") / 4


def test_a_second_gpu_helps_and_does_not_quite_double_the_speed() -> None:
    assert speed(A100) < speed(replace(A100, gpus=2)) < 2 * speed(A100)
    assert speed(replace(A100, gpus=8)) == pytest.approx(4 * speed(replace(A100, gpus=2)))


def test_a_cpu_without_bf16_emulates_it_slowly() -> None:
    assert speed(CPU, precision="bf16") < speed(CPU, precision="fp32") / 5
    native = replace(CPU, native_bf16=True)
    assert speed(native, precision="bf16") > speed(native, precision="fp32")


@pytest.mark.parametrize(("method", "passes"), [("sft", 0), ("grpo", 0), ("dpo", 1), ("rloo", 2), ("kto", 3)])
def test_models_that_are_asked_cost_a_forward_pass_each(method: Method, passes: int) -> None:
    further = flops(length=100, share=0.5, method=method) - flops(length=100, share=0.5)
    assert further == pytest.approx(passes * forward_flops(SMOLLM2, length=100, trained_share=0.5))


def test_a_teacher_costs_what_it_is_large() -> None:
    teacher = read_architecture(CONFIGS / "Qwen3-8B")
    further = asked_flops(SMOLLM2, "distillation", teacher, length=100, trained_share=0.5)
    assert further == forward_flops(teacher, length=100, trained_share=0.5)
    assert asked_flops(SMOLLM2, "distillation", None, length=100, trained_share=0.5) < further / 40


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
