from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.candidates import Plan, Wish, candidates
from ftagent.tools.catalog import packaged_catalog
from ftagent.tools.facts import Lengths, Method
from ftagent.tools.flavor import Flavor
from ftagent.tools.gpus import gpu_model
from ftagent.tools.shapes import read_architecture
from ftagent.tools.work import Work
from hypothesis import given, settings
from hypothesis import strategies as st

CONFIGS = Path(__file__).parents[1] / "configs"
SHAPES = {
    name: read_architecture(CONFIGS / name) for name in ("SmolLM2-135M", "Qwen3-0.6B", "Qwen3-8B", "Llama-3.1-70B")
}
FLAVORS = {flavor.name: flavor for flavor in packaged_catalog().flavors}


def work(model: str = "Qwen3-0.6B", *, rows: int = 10_000, length: int = 1024, **changes: Any) -> Work:
    values: dict[str, Any] = {
        "shape": SHAPES[model],
        "rank": 16,
        "rows": rows,
        "epoch_tokens": rows * length,
        "lengths": Lengths(p50=length, p95=length, p99=length, max=length),
        "max_length": length,
        "trained_share": 1.0,
        "epochs": 1.0,
    }
    return Work(**values | changes)


def plans(flavor: str | Flavor, task: Work | None = None, correction: float = 1.0, **wish: Any) -> list[Plan]:
    found = FLAVORS[flavor] if isinstance(flavor, str) else flavor
    return candidates(task or work(), Wish(**wish), found, correction)


def best(flavor: str | Flavor, task: Work | None = None, correction: float = 1.0, **wish: Any) -> Plan:
    return min((plan for plan in plans(flavor, task, correction, **wish) if plan.fits), key=lambda plan: plan.hours)


# --- the ways ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavor", "precisions"),
    [("t4-small", {"fp16"}), ("l4x1", {"bf16"}), ("cpu-upgrade", {"fp32"})],
)
def test_each_flavor_computes_in_what_it_has(flavor: str, precisions: set[str]) -> None:
    assert {plan.precision for plan in plans(flavor)} == precisions


def test_four_bits_are_for_gpus() -> None:
    assert {plan.adapter for plan in plans("l4x1")} == {"lora", "qlora", "full"}
    assert {plan.adapter for plan in plans("cpu-upgrade")} == {"lora", "full"}


@pytest.mark.parametrize("flavor", ["l4x1", "l4x4", "l40sx8", "h200x2"])
def test_the_rows_of_a_step_stay_the_same_on_several_gpus(flavor: str) -> None:
    assert {plan.step_rows for plan in plans(flavor)} == {16}


def test_more_gpus_than_rows_of_a_step_make_the_step_larger() -> None:
    assert {plan.step_rows for plan in plans("l40sx8", work(rows=50))} == {8}


@pytest.mark.parametrize("rows", [5, 10_000])
@pytest.mark.parametrize("flavor", ["t4-small", "h200x8"])
def test_kto_is_never_given_a_batch_of_one_row(flavor: str, rows: int) -> None:
    for accumulation in (None, 64):
        found = plans(flavor, work(rows=rows, method="kto"), accumulation=accumulation)
        assert found
        assert min(plan.batch for plan in found) == 2


def test_what_was_asked_for_is_kept() -> None:
    (plan,) = plans("l4x1", adapter="full", batch=3, checkpointing=True)
    assert (plan.adapter, plan.batch, plan.accumulation, plan.checkpointing) == ("full", 3, 5, True)
    assert {plan.accumulation for plan in plans("l4x1", accumulation=2)} == {2}


def test_weights_are_spread_over_gpus_only_where_one_cannot_hold_them() -> None:
    assert not any(plan.sharded for plan in plans("h200x4") if plan.fits)
    large = best("a100x4", work("Llama-3.1-70B"), adapter="lora")
    assert large.sharded
    assert large.words.endswith("sharded over 4 GPUs")


def test_large_models_fit_more_gpus_where_they_do_not_fit_one() -> None:
    large = work("Llama-3.1-70B")
    assert not any(plan.fits for plan in plans("a100-large", large, adapter="lora"))
    assert any(plan.fits for plan in plans("a100x8", large, adapter="lora"))


# --- time and money ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["dpo", "kto", "grpo", "rloo", "distillation"])
def test_other_methods_take_longer_than_sft_of_the_same_tokens(method: Method) -> None:
    generated: dict[str, Any] = {"generated_tokens": 2_560_000} if method in ("grpo", "rloo", "distillation") else {}
    assert best("l4x1", work(method=method, **generated)).hours > best("l4x1").hours


def test_every_generated_token_takes_time() -> None:
    few, many = (best("l4x1", work(method="grpo", generated_tokens=tokens)).hours for tokens in (10**6, 10**7))
    assert many > 2 * few


def test_prompts_that_are_read_and_a_model_that_is_asked_take_time() -> None:
    generated: dict[str, Any] = {"generated_tokens": 2_560_000}
    grpo, rloo = (best("l4x1", work(method=method, **generated)).hours for method in ("grpo", "rloo"))
    assert rloo > grpo  # TRL's RLOO asks the model and what it was, once each
    few, many = (
        plans("h200", work(method="grpo", rows=2500, length=length, generated_tokens=10**6), batch=1, adapter="lora")[0]
        for length in (1024, 4096)
    )
    assert many.hours > few.hours


def test_a_larger_teacher_takes_longer_and_more_room() -> None:
    generated: dict[str, Any] = {"method": "distillation", "generated_tokens": 2_560_000}
    own, other = (
        best("h200", work(teacher=teacher, **generated), adapter="lora") for teacher in (None, SHAPES["Qwen3-8B"])
    )
    assert other.hours > own.hours
    assert other.memory.reference > 10 * own.memory.reference


def test_distilling_into_all_weights_multiplies_in_float32() -> None:
    # TRL's distillation goes around accelerate's autocast
    generated: dict[str, Any] = {"method": "distillation", "generated_tokens": 2_560_000}
    (full,), (sft,) = (
        plans("h200", task, adapter="full", batch=4, checkpointing=True) for task in (work(**generated), work())
    )
    assert full.tokens_per_s < sft.tokens_per_s / 2


def test_cards_without_nvlink_share_weights_slowly() -> None:
    pcie = FLAVORS["l40sx4"]
    assert pcie.gpu is not None
    nvlink = replace(pcie, gpu=replace(pcie.gpu, link_gb_s=450.0))
    slow, fast = (plans(flavor, work("Qwen3-8B"), adapter="full", batch=1)[0] for flavor in (pcie, nvlink))
    assert slow.sharded
    assert fast.tokens_per_s > 2 * slow.tokens_per_s


def test_completions_of_a_whole_step_are_generated_at_once() -> None:
    grpo = work(method="grpo", generated_tokens=5_000_000)
    by_batch = {plan.batch: plan.hours for plan in plans("h200", grpo, adapter="lora", checkpointing=False)}
    sft = {plan.batch: plan.hours for plan in plans("h200", adapter="lora", checkpointing=False)}
    extra = {batch: hours - sft[batch] for batch, hours in by_batch.items()}
    assert extra[1] == pytest.approx(extra[16])


def test_a_rented_machine_is_paid_while_it_starts() -> None:
    plan = best("h200", work(rows=1))
    assert 4 / 60 < plan.hours < 10 / 60
    assert plan.cost_usd == pytest.approx(5 * plan.hours)


def test_a_device_that_was_slow_before_is_expected_to_be_slow() -> None:
    usual, slow = best("l4x1", work(rows=10**6)), best("l4x1", work(rows=10**6), 0.5)
    assert slow.tokens_per_s == pytest.approx(usual.tokens_per_s / 2)
    assert 1.9 * usual.hours < slow.hours < 2 * usual.hours


def test_checkpointing_costs_time_and_is_for_what_would_not_fit_otherwise() -> None:
    kept, again = (best("h200", checkpointing=checkpointing) for checkpointing in (False, True))
    assert kept.hours < again.hours
    assert not best("h200").checkpointing


# --- what else must be there ------------------------------------------------------------------------------------------


def test_weights_that_do_not_pass_through_the_machines_memory_rule_it_out() -> None:
    roomy = FLAVORS["h200"]
    assert best(roomy, work("Llama-3.1-70B"), adapter="qlora").fits
    (plan, *_) = plans(replace(roomy, memory_gib=100), work("Llama-3.1-70B"), adapter="qlora")
    assert not plan.fits
    assert plan.shortage == "141 GB of weights pass through 100 GB of memory"


def test_a_disk_that_is_too_small_rules_it_out() -> None:
    small = replace(FLAVORS["h200"], disk_gib=50)
    assert all(
        "do not fit its disk of 50 GB" in plan.shortage for plan in plans(small, work("Qwen3-8B"), adapter="full")
    )
    assert best(small, work("Qwen3-8B"), adapter="lora").fits
    assert best(replace(small, disk_gib=None), work("Qwen3-8B"), adapter="full").fits


def test_this_machine_is_asked_for_its_memory_only() -> None:
    gpu = replace(gpu_model("H200", 141), memory_gib=130.0)
    own = Flavor(name="local", cores=8, memory_gib=1, gpu=gpu, gpus=1)
    assert best(own, work("Qwen3-8B")).shortage == ""


WORKS = st.builds(
    work,
    st.sampled_from(list(SHAPES)),
    rows=st.integers(1, 100_000),
    length=st.sampled_from([16, 300, 2048, 16_384]),
    method=st.sampled_from(["sft", "dpo", "kto", "reward", "grpo"]),
    rank=st.sampled_from([1, 16, 256]),
    trained_share=st.floats(0.01, 1),
)
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "adapter": st.sampled_from(["lora", "full"]),
        "batch": st.integers(1, 64),
        "accumulation": st.integers(1, 16),
        "checkpointing": st.booleans(),
    },
)


@settings(deadline=None, max_examples=60)
@given(WORKS, WISHES, st.sampled_from(list(FLAVORS.values())), st.floats(1, 8))
def test_more_memory_never_makes_a_plan_unfit(task: Work, wish: dict[str, Any], flavor: Flavor, times: float) -> None:
    gpu = replace(flavor.gpu, memory_gib=times * flavor.gpu.memory_gib) if flavor.gpu else None
    larger = replace(flavor, gpu=gpu, memory_gib=times * flavor.memory_gib)
    for before, after in zip(plans(flavor, task, **wish), plans(larger, task, **wish), strict=True):
        assert (before.adapter, before.batch) == (after.adapter, after.batch)
        assert after.fits or not before.fits
        assert not before.fits or after.hours <= before.hours * (1 + 1e-9)


@settings(deadline=None, max_examples=60)
@given(WORKS, WISHES, st.sampled_from(list(FLAVORS.values())))
def test_a_plan_adds_up(task: Work, wish: dict[str, Any], flavor: Flavor) -> None:
    for plan in plans(flavor, task, **wish):
        assert plan.hours > 0
        assert plan.tokens_per_s > 0
        assert plan.cost_usd == pytest.approx(plan.hours * flavor.usd_per_hour)
        assert plan.fits == (plan.memory.total <= plan.usable_gib and not plan.shortage)
        assert plan.batch * plan.accumulation >= 1
