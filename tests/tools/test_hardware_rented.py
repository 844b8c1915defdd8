from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from ftagent.tools import hardware
from ftagent.tools.candidates import Wish, candidates
from ftagent.tools.catalog import packaged_catalog
from ftagent.tools.errors import ToolError
from ftagent.tools.facts import Adapter, JobReport, Method, ModelRef, Spec
from ftagent.tools.hardware import Limits, choose, pick_hardware
from ftagent.tools.ledger import enter
from ftagent.tools.run import Run, new_run
from ftagent.tools.settings import Settings
from ftagent.tools.shapes import read_architecture
from ftagent.tools.work import work_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .test_hardware import LAPTOP, on
from .test_shapes import write

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rent at the packaged prices, and let this machine be the same one everywhere."""
    on(LAPTOP, monkeypatch)
    monkeypatch.setattr(hardware, "catalog", packaged_catalog)


@pytest.fixture
def rent(tmp_path: Path) -> Any:
    """Make runs on hf-jobs whose model is one of the shipped configs."""

    def make_run(model: str = "Qwen3-0.6B", method: Method = "sft", **spec: Any) -> Run:
        found = ModelRef(id=model, source="folder", path=str(CONFIGS / model), revision="sha256:0")
        values: dict[str, Any] = {"request": "test", "model": model, "dataset": "", "backend": "hf-jobs"} | spec
        run = new_run(Settings(workdir=tmp_path, data_dir=tmp_path / "data"))
        return run.record(Spec(**values, method=method, model_ref=found))

    return make_run


LARGE: dict[str, Any] = {"tokens": 40_000_000, "max_length": 2048}


def test_the_cheapest_that_fits_wins_and_the_fastest_is_named_beside_it(rent: Any) -> None:
    choice = pick_hardware(rent(), **LARGE)
    fitting = [candidate for candidate in choice.candidates if candidate.fits]
    assert choice.cost_usd.expected == min(candidate.cost_usd for candidate in fitting)
    assert choice.flavor == fitting[0].flavor
    fastest = min(fitting, key=lambda candidate: candidate.hours)
    assert fastest.hours < choice.hours.expected
    assert f"the fastest is {fastest.flavor}, " in choice.reason
    assert f"for ${fastest.cost_usd:.2f}" in choice.reason


def test_every_flavor_stands_in_the_table_with_each_adapter(rent: Any) -> None:
    choice = pick_hardware(rent(), **LARGE)
    flavors = {(flavor.name, flavor.gpu is not None) for flavor in packaged_catalog().flavors}
    wanted = {(name, adapter) for name, _ in flavors for adapter in ("lora", "full")}
    wanted |= {(name, "qlora") for name, has_gpu in flavors if has_gpu}
    assert {(candidate.flavor, candidate.adapter) for candidate in choice.candidates} == wanted
    costs = [candidate.cost_usd for candidate in choice.candidates if candidate.fits]
    assert costs == sorted(costs)


def test_money_is_hours_times_the_price_and_prices_say_where_they_are_from(rent: Any) -> None:
    choice = pick_hardware(rent(), flavor="l4x1", **LARGE)
    assert choice.usd_per_hour == 0.8
    for bound in ("low", "expected", "high"):
        assert getattr(choice.cost_usd, bound) == pytest.approx(0.8 * getattr(choice.hours, bound))
    assert choice.prices == packaged_catalog().words
    assert pick_hardware(rent(), flavor="local", tokens=1000).prices == ""


@pytest.mark.parametrize(("backend", "flavor"), [("local", "a100-large"), ("hf-jobs", "local")])
def test_a_backend_that_was_stated_is_not_left(rent: Any, backend: str, flavor: str) -> None:
    with pytest.raises(ToolError, match=f"`{flavor}` is no flavor of {backend}"):
        pick_hardware(rent(backend=backend, stated=("backend",)), flavor=flavor, **LARGE)
    assert pick_hardware(rent(backend=backend), flavor=flavor, tokens=1000).flavor == flavor


def test_a_limit_of_hours_rules_slower_machines_out(rent: Any) -> None:
    usual = pick_hardware(rent(), **LARGE)
    hurried = pick_hardware(rent(), **LARGE, max_hours=usual.hours.expected / 2)
    assert hurried.hours.expected <= usual.hours.expected / 2
    assert hurried.cost_usd.expected > usual.cost_usd.expected
    row = next(c for c in hurried.candidates if (c.flavor, c.adapter) == (usual.flavor, "lora"))
    assert not row.fits
    assert row.reason.startswith("takes ")


def test_a_budget_rules_dearer_machines_out_and_too_small_a_one_is_refused_with_the_price(rent: Any) -> None:
    usual = pick_hardware(rent(), **LARGE)
    assert pick_hardware(rent(budget_usd=usual.cost_usd.expected + 0.01), **LARGE).flavor == usual.flavor
    with pytest.raises(
        ToolError, match=r"costs \$\d+\.\d\d for 40,000,000 tokens, and the budget is \$0\.10"
    ) as refused:
        pick_hardware(rent(budget_usd=0.1), **LARGE)
    assert refused.value.hint.startswith("a budget of $")
    enough = float(refused.value.hint.split("$")[1].split(",")[0])
    assert pick_hardware(rent(budget_usd=enough), **LARGE).flavor == usual.flavor


def test_hours_and_budget_that_exclude_each_other_are_refused(rent: Any) -> None:
    usual = pick_hardware(rent(), **LARGE)
    limits = {"max_hours": usual.hours.expected / 2, "budget_usd": usual.cost_usd.expected}
    with pytest.raises(ToolError, match="and the budget is"):
        pick_hardware(rent(**limits), **LARGE)


def test_a_flavor_that_is_too_small_says_so_with_numbers_and_what_would_do(rent: Any) -> None:
    with pytest.raises(ToolError) as refused:
        pick_hardware(rent("Llama-3.1-70B"), flavor="t4-small", **LARGE)
    assert re.search(
        r"does not fit t4-small: \d+\.\d of 14\.6 GiB usable; \w+ \d+\.\d, \w+ \d+\.\d", refused.value.message
    )
    named = re.match(r"(\S+) fits: (\w+) in bf16 with batch \d+", refused.value.hint)
    assert named
    assert pick_hardware(rent("Llama-3.1-70B"), flavor=named[1], **LARGE).adapter == named[2]


def test_the_hint_prefers_the_same_flavor_with_another_adapter_or_shorter_rows(rent: Any) -> None:
    with pytest.raises(ToolError, match="full in fp16") as refused:
        pick_hardware(rent("Qwen3-8B"), flavor="t4-medium", adapter="full", **LARGE)
    assert refused.value.hint.startswith("qlora in fp16 with batch ")
    with pytest.raises(ToolError, match="at 32768 tokens does not fit") as refused:
        pick_hardware(rent("Qwen3-8B"), flavor="t4-medium", tokens=10**6, max_length=32_768)
    named = re.match(r"max_length (\d+) fits: qlora", refused.value.hint)
    assert named
    assert pick_hardware(rent("Qwen3-8B"), flavor="t4-medium", tokens=10**6, max_length=int(named[1]))


def test_a_large_model_goes_over_several_gpus(rent: Any) -> None:
    choice = pick_hardware(rent("Llama-3.1-70B"), adapter="lora", **LARGE)
    assert choice.gpus > 1
    assert (choice.sharded, choice.sharding) == (True, "fsdp2")
    assert f"on {choice.gpus} GPUs makes" in choice.reason
    assert f"{choice.gpus} processes, one a GPU, share the weights (FSDP2)" in choice.reason
    assert choice.batch * choice.accumulation * choice.gpus == 16


def test_a_small_model_on_several_gpus_is_there_as_often(rent: Any) -> None:
    choice = pick_hardware(rent(), flavor="l4x4", adapter="lora", **LARGE)
    assert (choice.gpus, choice.sharded, choice.sharding) == (4, False, "ddp")
    assert "4 processes, one a GPU, have the whole model each (DDP)" in choice.reason
    assert pick_hardware(rent(), flavor="l4x1", **LARGE).sharding is None


def test_a_mixture_of_experts_goes_where_all_of_them_fit(rent: Any) -> None:
    choice = pick_hardware(rent("Qwen3-30B-A3B"), **LARGE)
    assert choice.memory_gib.weights * (choice.gpus if choice.sharded else 1) > 55
    assert choice.tokens_per_s > pick_hardware(rent("Llama-3.1-70B"), **LARGE).tokens_per_s


def test_a_gpu_that_nothing_was_trained_on_yet_may_take_longer(rent: Any) -> None:
    run = rent()
    unseen = pick_hardware(run, flavor="l4x1", **LARGE)
    measured = JobReport(
        job_id="1", stage="completed", health="done", reason="", seconds=9000, tokens_per_s=unseen.tokens_per_s
    )
    enter(run.record(unseen), measured)
    seen = pick_hardware(run, flavor="l4x1", **LARGE)
    assert seen.hours.expected == pytest.approx(unseen.hours.expected)
    assert seen.hours.high < 0.7 * unseen.hours.high


def test_four_bits_win_where_they_are_cheaper_and_training_all_weights_is_never_chosen_unasked(rent: Any) -> None:
    choice = pick_hardware(rent(), flavor="l4x1", **LARGE)
    work = work_of(rent().spec, None, 10**6, 512, on_gpu=True, settings=Settings())
    (rented,) = (flavor for flavor in packaged_catalog().flavors if flavor.name == choice.flavor)
    adapters: tuple[Adapter, ...] = ("lora", "qlora", "full")
    for flavor, wanted in ((rented, "qlora"), (replace(rented, name="local"), "lora")):
        plan = candidates(work, Wish(adapter="lora", batch=1), flavor)[0]
        plans = [
            replace(plan, adapter=adapter, hours=hours) for adapter, hours in zip(adapters, (3, 2, 1), strict=True)
        ]
        chosen = choose(plans, Limits(hours=None, usd=None))
        assert chosen is not None
        assert chosen.adapter == wanted
    assert "LoRA" in choice.reason


@pytest.mark.parametrize("given", [{"adapter": "qlora"}, {"precision": "fp16"}])
def test_what_needs_a_gpu_is_refused_on_a_rented_cpu_and_leaves_cpus_out_otherwise(rent: Any, given: Any) -> None:
    with pytest.raises(ToolError, match="needs a CUDA GPU, and `cpu-upgrade` has none"):
        pick_hardware(rent(), flavor="cpu-upgrade", **LARGE, **given)
    choice = pick_hardware(rent(), **LARGE, **given)
    assert not any(candidate.flavor.startswith("cpu") for candidate in choice.candidates)


def test_rented_time_is_reserved_up_to_the_high_estimate_and_some_more(rent: Any) -> None:
    choice = pick_hardware(rent(), flavor="t4-small", **LARGE)
    assert 1.25 * choice.hours.high * 3600 <= choice.timeout_s < 1.25 * choice.hours.high * 3600 + 300
    assert choice.timeout_s % 300 == 0
    assert pick_hardware(rent(), flavor="h200", tokens=1000).timeout_s == 1800


def test_finished_trainings_correct_the_next_guess(rent: Any) -> None:
    run = rent()
    usual = pick_hardware(run, flavor="l4x1", **LARGE)
    measured = JobReport(
        job_id="1", stage="completed", health="done", reason="", seconds=9000, tokens_per_s=usual.tokens_per_s / 4
    )
    enter(run.record(usual), measured)
    corrected = pick_hardware(run, flavor="l4x1", **LARGE)
    assert corrected.correction == pytest.approx(0.5)
    assert corrected.tokens_per_s == pytest.approx(usual.tokens_per_s / 2)
    assert pick_hardware(run, flavor="h200", **LARGE).correction == 1


MODELS = sorted(folder.name for folder in CONFIGS.iterdir())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=st.sampled_from(MODELS),
    method=st.sampled_from(get_args(Method)),
    tokens=st.integers(1, 10**9),
    max_length=st.sampled_from([64, 1000, 4096, 32_768]),
    given_=st.fixed_dictionaries(
        {},
        optional={
            "adapter": st.sampled_from(["lora", "qlora", "full"]),
            "batch": st.integers(1, 16),
            "checkpointing": st.booleans(),
            "max_hours": st.floats(0.1, 100),
            "flavor": st.sampled_from(["local", *(flavor.name for flavor in packaged_catalog().flavors)]),
        },
    ),
    budget=st.none() | st.floats(0.1, 1000),
)
def test_a_choice_fits_and_nothing_in_its_table_that_fits_is_cheaper(
    rent: Any, model: str, method: Method, tokens: int, max_length: int, given_: dict[str, Any], budget: float | None
) -> None:
    try:
        choice = pick_hardware(rent(model, method, budget_usd=budget), tokens=tokens, max_length=max_length, **given_)
    except ToolError as refused:
        assert refused.hint
        return
    rows = [c for c in choice.candidates if c.flavor == choice.flavor and c.adapter == choice.adapter]
    assert any(c.fits and c.memory_gib <= c.usable_gib for c in rows)
    assert choice.hours.expected <= given_.get("max_hours", math.inf)
    assert choice.cost_usd.expected <= (budget or math.inf)
    fitting = [c for c in choice.candidates if c.fits and (c.adapter != "full" or choice.adapter == "full")]
    assert choice.cost_usd.expected <= min(c.cost_usd for c in fitting) * (1 + 1e-9)
    assert choice.timeout_s >= 3600 * choice.hours.high
    for name, value in given_.items():
        assert name == "max_hours" or getattr(choice, name) == value


# --- the command ------------------------------------------------------------------------------------------------------

COMMANDS = """
import contextlib, io, json, sys
from ftagent.agent.cli import main

def ask(*options):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(["tool", "pick_hardware", "--json", *options])
    return code, json.loads(out.getvalue())

answers = [ask(*line.split()) for line in sys.argv[1:]]
print(json.dumps({"answers": answers, "torch": "torch" in sys.modules}))
"""
FIELDS = {"flavor", "adapter", "precision", "batch", "accumulation", "memory_gib", "hours", "cost_usd", "candidates"}
ITEMS = {"weights", "gradients", "optimizer", "activations", "logits", "overhead", "total"}


def bare(name: str, _: Path) -> Path:
    return CONFIGS / name


def whole(name: str, folder: Path) -> Path:
    """Make a folder whose weights are a header only."""
    (folder / name).mkdir()
    (folder / name / "config.json").write_bytes((CONFIGS / name / "config.json").read_bytes())
    (folder / name / "tokenizer.json").write_text("{}", encoding="utf-8")
    config = read_architecture(CONFIGS / name)
    write(folder / name, json.loads((CONFIGS / name / "config.json").read_text("utf-8")), weights=[config.parameters])
    return folder / name


@pytest.mark.parametrize(
    "make_folder",
    [whole, bare],
)
def test_the_command_picks_without_importing_torch(make_folder: Callable[[str, Path], Path], tmp_path: Path) -> None:
    task = "--method sft --tokens 40000000 --max-length 2048"
    small, large = (f"--model {make_folder(name, tmp_path)} {task}" for name in ("Qwen3-0.6B", "Llama-3.1-70B"))
    lines = [f"{small} --flavor t4-small", f"{small} --flavor l4x1", f"{small} --flavor l4x1 --adapter full --batch 2"]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, *lines, f"{large} --flavor t4-small", small],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    found = json.loads(done.stdout)
    assert not found["torch"]
    *picked, (code, refused), (_, local) = found["answers"]
    for (ok, answer), flavor in zip(picked, ("t4-small", "l4x1", "l4x1"), strict=True):
        assert (ok, answer["ok"]) == (0, True), answer
        assert answer["result"].keys() >= FIELDS
        assert answer["result"]["memory_gib"].keys() >= ITEMS
        assert answer["result"]["hours"].keys() == answer["result"]["cost_usd"].keys() == {"low", "expected", "high"}
        assert answer["result"]["flavor"] == flavor
    assert [answer["result"]["precision"] for _, answer in picked] == ["fp16", "bf16", "bf16"]
    assert (picked[2][1]["result"]["adapter"], picked[2][1]["result"]["batch"]) == ("full", 2)
    assert (code, refused["error"]["code"]) == (1, "tool_error")
    assert "does not fit t4-small" in refused["error"]["message"]
    assert "fits" in refused["error"]["hint"]
    # this machine may be too small for it, and then says so
    assert local["result"]["flavor"] == "local" if local["ok"] else "this machine" in local["error"]["message"]
