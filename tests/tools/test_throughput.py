from __future__ import annotations

from ftagent.tools.facts import Lengths
from ftagent.tools.throughput import forward_flops, padding, training_flops
from hypothesis import given
from hypothesis import strategies as st

from .test_memory import SMOLLM2

BODY = SMOLLM2.parameters - SMOLLM2.embedding
LENGTHS = Lengths(p50=107, p95=143, p99=156, max=164)


def flops(adapter: str = "full", *, checkpointing: bool = False, length: float = 0, share: float = 0) -> float:
    return training_flops(
        SMOLLM2,
        adapter=adapter,  # pyright: ignore[reportArgumentType]
        rank=16,
        checkpointing=checkpointing,
        length=length,
        trained_share=share,
    )


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


def test_a_batch_of_one_has_no_padding_and_real_batches_little() -> None:
    assert padding(LENGTHS, batch=1, rows=240) == 1
    # transformers' LengthGroupedSampler over 240 rows of 75 to 164 tokens
    assert 1.0 < padding(LENGTHS, batch=2, rows=240) < 1.02
    assert 1.02 < padding(LENGTHS, batch=8, rows=240) < 1.08


@given(st.integers(1, 64), st.integers(1, 10**6), st.integers(1, 4096), st.integers(0, 4096))
def test_padding_never_saves_anything(batch: int, rows: int, p50: int, spread: int) -> None:
    lengths = Lengths(p50=p50, p95=p50 + spread, p99=p50 + spread, max=p50 + spread)
    assert padding(lengths, batch=batch, rows=rows) >= 1
