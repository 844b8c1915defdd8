"""A plan keeps what was said, says why it inferred the rest, and refuses what cannot be done before doing anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from ftagent.tools.errors import InputError, ToolError
from ftagent.tools.facts import Spec
from ftagent.tools.plan import plan_for, plan_run
from ftagent.tools.run import new_run
from ftagent.tools.settings import load_settings

CONFIG = Path(__file__).parents[1] / "configs" / "Qwen3-0.6B"
REQUEST = "fine-tune Qwen3-0.6B on open-r1/codeforces-cots"


def _plan(request: str, **options: str) -> Spec:
    return plan_run(new_run(load_settings()), request, offline=True, **options)  # type: ignore[arg-type]


def test_every_field_is_stated_or_has_a_reason() -> None:
    spec = _plan(f"{REQUEST}, 2 epochs, budget $5")
    assert set(spec.stated) == {"model", "dataset", "num_train_epochs", "budget_usd"}
    assert set(spec.inferred) == {"method", "targets", "backend"}
    assert spec.targets == ("evaluate", "export") and spec.overrides.given() == {"num_train_epochs": 2.0}


def test_a_config_without_weights_is_enough_for_a_tool_that_trains_nothing() -> None:
    spec = plan_for(new_run(load_settings({"backend": "hf-jobs"})), model=str(CONFIG), dataset="rows.jsonl")
    assert spec.model_ref is not None and spec.model_ref.note == "a config without weights"
    assert (spec.backend, spec.dataset_ref) == ("hf-jobs", None)


def test_stated_targets_are_the_targets() -> None:
    assert _plan(f"{REQUEST} and compare it with the base").targets == ("evaluate",)
    assert _plan(f"{REQUEST}, no export").targets == ("evaluate",)
    assert "targets" in _plan(f"{REQUEST}, no export").stated


def test_a_schedule_is_a_target_beside_those_of_every_run() -> None:
    spec = _plan(f"{REQUEST} every night at 2")
    assert spec.targets == ("evaluate", "export", "schedule")
    assert spec.trigger is not None and spec.trigger.cron == "0 2 * * *"
    assert "trigger" in spec.stated and "targets" in spec.inferred
    assert _plan(f"{REQUEST} every night at 2, compare it with the base").targets == ("evaluate", "schedule")
    assert _plan(f"{REQUEST} daily").questions == ("`daily`: at what time (UTC)?",)


def test_without_llama_cpp_an_export_that_nobody_asked_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    spec = _plan(REQUEST)
    assert spec.targets == ("evaluate",) and "not installed" in spec.inferred["targets"]
    assert _plan(f"{REQUEST}, export it to GGUF").targets == ("export",)


def test_an_argument_completes_a_name_and_never_replaces_it() -> None:
    assert _plan(REQUEST, model="Qwen/Qwen3-0.6B").model == "Qwen/Qwen3-0.6B"
    with pytest.raises(ToolError, match=r"stated model `Qwen3-0\.6B`; `evil/Other-0\.6B` is another one"):
        _plan(REQUEST, model="evil/Other-0.6B")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("and publish it", "publishing needs the Hub, and HF_HUB_OFFLINE is set.*leave the publishing out"),
        ("every night", "a schedule needs a machine that is always there"),
        ("as a reward model, and evaluate on HumanEval", "a reward model answers nothing: humaneval"),
        ("as a reward model, and export it to GGUF", "a reward model generates nothing"),
    ],
)
def test_what_is_not_built_is_refused_before_anything_is_looked_up(workdir: Path, asked: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan_run(new_run(load_settings()), f"fine-tune SmolLM2-135M-Instruct on rows.jsonl {asked}")
    assert list(workdir.iterdir()) == []


def test_what_lies_on_this_machine_is_refused_for_a_job_on_the_hub(rows: Path, tiny_model: Path) -> None:
    with pytest.raises(InputError, match=f"the model `{tiny_model}` lies on this machine"):
        plan_run(new_run(load_settings({"backend": "hf-jobs"})), f"fine-tune {tiny_model} on {rows}")


def test_a_distillation_without_a_teacher_asks_for_one() -> None:
    assert "teacher" in _plan("distillation of Qwen3-0.6B on prompts.jsonl").questions[0]
    assert not _plan("distil Qwen3-4B into Qwen3-0.6B on prompts.jsonl").questions


def test_a_reward_model_is_not_exported_unless_somebody_says_so() -> None:
    spec = _plan("train a reward model from SmolLM2-135M on pairs.jsonl")
    assert (spec.method, spec.targets) == ("reward", ("evaluate",))
    assert "generates nothing" in spec.inferred["targets"]
