from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools import hardware
from ftagent.tools.catalog import packaged_catalog
from ftagent.tools.errors import GateClosed, ToolError
from ftagent.tools.facts import DatasetReport, Holdout, Lengths, ModelRef, Overrides, Spec
from ftagent.tools.hardware import pick_hardware
from ftagent.tools.machine import Gpu, Machine
from ftagent.tools.run import Run, new_run
from ftagent.tools.settings import Settings

from .test_shapes import QWEN3

LAPTOP = Machine(
    system="Linux x86_64",
    cores=2,
    memory_gib=16,
    free_gib=10,
    gflops=300,
    native_bf16=False,
    load=0,
    gpu=None,
)
T4 = Gpu(name="Tesla T4", memory_gib=15, free_gib=14.6, capability=7.5)
L4 = Gpu(name="NVIDIA L4", memory_gib=22.5, free_gib=22, capability=8.9)

SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
}


@pytest.fixture(autouse=True)
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    on(LAPTOP, monkeypatch)
    monkeypatch.setattr(hardware, "catalog", packaged_catalog)


def on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "probe_machine", lambda: machine)


def report(**changes: Any) -> DatasetReport:
    """Say what validation found in 300 short chats, a fifth of them held out."""
    values: dict[str, Any] = {
        "verdict": "ready",
        "method": "sft",
        "subset": None,
        "split": "train",
        "rows": 300,
        "mapping": None,
        "trainer_columns": ("messages",),
        "lengths": Lengths(p50=107, p95=143, p99=156, max=164),
        "max_length": 256,
        "truncated_share": 0,
        "duplicates": 0,
        "overlap": None,
        "holdout": Holdout(function="split_by_column", rows=60, reason="the data says so"),
        "train_tokens": 26_000,
        "trained_tokens": 3_900,
    }
    return DatasetReport(**values | changes)


CHATS = report()


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def make_run(
        stated: dict[str, Any] | None = None,
        *,
        config: dict[str, Any] = SMOLLM2,
        dataset: DatasetReport | None = CHATS,
        **spec: Any,
    ) -> Run:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        model = ModelRef(id="model", source="folder", path=str(tmp_path), revision="sha256:0")
        overrides = Overrides(**stated or {})
        run = new_run(Settings(workdir=tmp_path, data_dir=tmp_path / "data"))
        run = run.record(
            Spec(request="test", model="model", dataset="rows", model_ref=model, overrides=overrides, **spec)
        )
        return run.record(dataset) if dataset else run

    return make_run


def test_small_data_on_a_laptop_gets_lora_in_fp32_and_some_thirty_steps(make: Any) -> None:
    choice = pick_hardware(make())
    assert (choice.flavor, choice.adapter, choice.precision, choice.checkpointing) == ("local", "lora", "fp32", False)
    assert choice.batch * choice.accumulation == 8
    assert (choice.epochs, choice.tokens, choice.max_length) == (1, 26_000, 256)
    assert "30 optimizer steps" in choice.reason
    assert choice.cost_usd.high == 0
    assert choice.memory_gib.total < 4
    assert {(c.adapter, c.batch) for c in choice.candidates} == {(a, b) for a in ("lora", "full") for b in (1, 2, 4, 8)}


def test_the_timeout_has_a_floor_and_leaves_twice_the_longest_guess(make: Any) -> None:
    short = pick_hardware(make())
    assert short.hours.low < short.hours.expected < short.hours.high
    assert short.timeout_s == 1800
    long = pick_hardware(make({"num_train_epochs": 100}))
    assert long.timeout_s >= 2 * 3600 * long.hours.high


def test_what_other_programs_take_lengthens_the_longest_guess_only(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = pick_hardware(make())
    on(replace(LAPTOP, load=4), monkeypatch)
    busy = pick_hardware(make())
    assert busy.hours.expected == idle.hours.expected
    assert busy.hours.high == pytest.approx(3 * idle.hours.high)


@pytest.mark.parametrize(
    ("stated", "field", "value"),
    [
        ({"adapter": "full"}, "adapter", "full"),
        ({"per_device_train_batch_size": 3}, "batch", 3),
        ({"per_device_train_batch_size": 3}, "accumulation", 1),
        ({"gradient_accumulation_steps": 2}, "accumulation", 2),
        ({"num_train_epochs": 2.5}, "epochs", 2.5),
        ({"max_length": 128}, "max_length", 128),
        ({"max_steps": 60}, "epochs", 2.0),
        ({"max_steps": 60}, "tokens", 52_000),
        ({"max_steps": -1}, "epochs", 1.0),
    ],
)
def test_what_the_person_stated_is_kept(make: Any, stated: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(pick_hardware(make(stated)), field) == value


@pytest.mark.parametrize(
    ("stated", "given"),
    [
        ({"adapter": "full"}, {"adapter": "lora"}),
        ({"per_device_train_batch_size": 4}, {"batch": 8}),
        ({"max_length": 512}, {"max_length": 256}),
    ],
)
def test_a_planner_cannot_overrule_what_was_stated(make: Any, stated: dict[str, Any], given: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match="that was stated"):
        pick_hardware(make(stated), **given)
    assert pick_hardware(make(stated), **dict.fromkeys(given, None))


def test_what_is_given_is_kept_and_the_rest_is_chosen_around_it(make: Any) -> None:
    choice = pick_hardware(make(), batch=2, adapter="full", checkpointing=True)
    assert (choice.batch, choice.accumulation, choice.adapter, choice.checkpointing) == (2, 4, "full", True)
    assert len(choice.candidates) == 1


def test_a_stated_batch_that_does_not_fit_is_refused_with_numbers_and_a_way_out(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(replace(LAPTOP, free_gib=3), monkeypatch)
    with pytest.raises(
        ToolError, match=r"batch 64 and checkpointing at 164 tokens does not fit .* of 2.7 GiB usable; "
    ):
        pick_hardware(make({"per_device_train_batch_size": 64}))
    with pytest.raises(ToolError) as refused:
        pick_hardware(make({"adapter": "full"}))
    assert "full in fp32 with batch 1" in refused.value.message
    assert refused.value.hint.startswith("lora in fp32 with batch")


def test_checkpointing_is_used_only_where_nothing_else_fits(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    long = report(lengths=Lengths(p50=4000, p95=8000, p99=8000, max=8000), max_length=8000, train_tokens=960_000)
    assert pick_hardware(make()).checkpointing is False
    on(replace(LAPTOP, free_gib=14), monkeypatch)
    choice = pick_hardware(make(dataset=long))
    assert choice.checkpointing is True
    assert choice.memory_gib.total < 0.9 * 14


def test_rows_too_long_for_the_machine_are_refused_with_a_length_that_fits(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(replace(LAPTOP, free_gib=3), monkeypatch)
    long = report(lengths=Lengths(p50=8000, p95=8000, p99=8000, max=8000), max_length=8000, train_tokens=1_920_000)
    with pytest.raises(ToolError) as refused:
        pick_hardware(make(dataset=long))
    assert refused.value.hint.startswith("max_length 1000 fits: lora")


def test_a_model_too_large_for_the_machine_is_refused(make: Any) -> None:
    large = QWEN3 | {"hidden_size": 8192, "num_hidden_layers": 80, "intermediate_size": 28672}
    with pytest.raises(ToolError, match="weights") as refused:
        pick_hardware(make(config=large))
    assert refused.value.hint.startswith("take a smaller model")


def test_a_time_limit_that_nothing_meets_is_refused_with_the_time_it_takes(make: Any) -> None:
    with pytest.raises(ToolError, match=r"takes \d+ min for 26,000 tokens, and the limit is 60 s") as refused:
        pick_hardware(make(max_hours=1 / 60))
    assert refused.value.hint.startswith("max_hours 0.")


def test_the_planners_limit_goes_before_the_plans(make: Any) -> None:
    assert pick_hardware(make(max_hours=0.001), max_hours=5)


# --- precision and GPUs -----------------------------------------------------------------------------------------------


def test_a_stated_precision_holds_and_no_planner_overrules_it(make: Any) -> None:
    stated = make({"precision": "fp32"})
    assert pick_hardware(stated).precision == "fp32"
    with pytest.raises(ToolError, match="precision bf16 goes against the fp32 that was stated"):
        pick_hardware(stated, precision="bf16")


def test_a_cpu_with_bf16_of_its_own_trains_in_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_hardware(make()).precision == "fp32"
    on(replace(LAPTOP, native_bf16=True), monkeypatch)
    assert pick_hardware(make()).precision == "bf16"


def test_emulated_bf16_is_said_to_be_slow(make: Any) -> None:
    choice = pick_hardware(make(), precision="bf16")
    assert "this CPU emulates bf16, slowly" in choice.reason
    assert choice.tokens_per_s < pick_hardware(make()).tokens_per_s / 3


@pytest.mark.parametrize(("gpu", "precision"), [(T4, "fp16"), (L4, "bf16")])
def test_compute_capability_decides_the_precision(
    make: Any, monkeypatch: pytest.MonkeyPatch, gpu: Gpu, precision: str
) -> None:
    on(replace(LAPTOP, gpu=gpu), monkeypatch)
    choice = pick_hardware(make())
    assert (choice.precision, choice.epochs) == (precision, 3)
    assert gpu.name in choice.machine


def test_what_fits_in_four_bits_only_gets_qlora(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on(replace(LAPTOP, gpu=T4), monkeypatch)
    llama = QWEN3 | {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336}
    assert pick_hardware(make(config=llama)).adapter == "qlora"


@pytest.mark.parametrize("given", [{"adapter": "qlora"}, {"precision": "fp16"}])
def test_what_needs_a_gpu_is_refused_without_one(make: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match="needs a CUDA GPU, and this machine has none"):
        pick_hardware(make(), **given)


# --- gates and other callers ------------------------------------------------------------------------------------------


def test_tokens_stand_in_for_the_dataset(make: Any) -> None:
    choice = pick_hardware(make(dataset=None), tokens=1_000_000, max_length=512)
    assert (choice.tokens, choice.max_length, choice.epochs) == (1_000_000, 512, 1)
    with pytest.raises(GateClosed, match="the dataset is not validated"):
        pick_hardware(make(dataset=None))


@pytest.mark.parametrize(
    ("spec", "given", "reason"),
    [
        ({"backend": "hf-jobs"}, {"flavor": "b300"}, "`b300` is no flavor"),
        ({"backend": "hf-jobs"}, {"flavor": "evil\nname"}, "`evil name` is no flavor"),
        ({}, {"tokens": 0}, "0 tokens train nothing"),
        ({}, {"batch": 0}, "batch 0 has no rows"),
        ({}, {"max_length": 0}, "max_length 0 keeps no token"),
    ],
)
def test_what_cannot_be_sized_is_refused(make: Any, spec: dict[str, Any], given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        pick_hardware(make(**spec), **given)


def test_an_unknown_flavor_is_answered_with_the_known_ones(make: Any) -> None:
    with pytest.raises(ToolError) as refused:
        pick_hardware(make(), flavor="b300")
    assert "local, cpu-basic" in refused.value.hint
    assert "h200x8" in refused.value.hint


def test_packed_rows_are_as_long_as_allowed(make: Any) -> None:
    packed, padded = pick_hardware(make({"packing": True}), batch=4), pick_hardware(make(), batch=4)
    assert packed.memory_gib.activations > padded.memory_gib.activations
    assert packed.tokens == padded.tokens


def test_a_pick_takes_well_under_a_second_once_the_machine_is_known(make: Any) -> None:
    run = make()
    start = time.monotonic()
    pick_hardware(run)
    assert time.monotonic() - start < 0.5
