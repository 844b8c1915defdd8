"""HumanEval and answers in the job of an evaluation: asked there by a real llama.cpp, judged and compared here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.approval import approve
from ftagent.tools import later_watch
from ftagent.tools.evaluate import evaluate_model
from ftagent.tools.evaluation import human_eval, in_job
from ftagent.tools.evaluation.answers import answers_harness
from ftagent.tools.evaluation.benchmark import HumanEval
from ftagent.tools.facts import Holdout, ModelRef, Overrides, Parameter
from ftagent.tools.jobs import make_quote, submit_job
from ftagent.tools.later import later_quote
from ftagent.tools.later_asked import NOTHING, Asking, asking_of
from ftagent.tools.later_cost import part_of
from ftagent.tools.monitor import monitor_job
from ftagent.tools.run import Run
from ftagent.tools.trained import find_checkpoint
from huggingface_hub import HfApi

from ...hub import LoopbackHub
from ..taught import Finish, Taught, addition, finish, taught
from .conftest import Remote

__all__ = ["finish", "taught"]

BASE = "acme/Tiny-0.1B"
PUSHES = """
    import json, pathlib, shutil
    from huggingface_hub import HfApi
    HUB_MODEL_ID = "tester/tuned"
    rows = {rows!r}
    shutil.copytree({adapter!r}, "checkpoint")
    config = pathlib.Path("checkpoint/adapter_config.json")
    named = dict(base_model_name_or_path={base!r}, revision=None)
    config.write_text(json.dumps(json.loads(config.read_text()) | named))
    pathlib.Path("heldout.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
    pathlib.Path("result.json").write_text("{{}}")
    HfApi().upload_folder(repo_id=HUB_MODEL_ID, folder_path="checkpoint")
    for name in ("result.json", "heldout.jsonl"):
        HfApi().upload_file(repo_id=HUB_MODEL_ID, path_or_fileobj=name, path_in_repo=name)
"""
NUMBERS = {"logging_steps": 1, "loss_on": "completion", "max_length": 64}
PARAMETERS = tuple(Parameter(name=name, value=value, origin="rule") for name, value in NUMBERS.items())
FEW = ("HumanEval/23", "HumanEval/53")

Trained = Callable[..., Run]


def short(number: int) -> dict[str, Any]:
    return addition(number) | {"completion": [{"role": "assistant", "content": str(2 * number)}]}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """HumanEval of two items, with short answers."""
    items = {name: item for name, item in human_eval.problems().items() if name in FEW}
    monkeypatch.setattr(human_eval, "problems", lambda: items)
    monkeypatch.setattr(human_eval, "MAX_TOKENS", 8)
    monkeypatch.setattr(later_watch, "POLL_S", 0.05)


@pytest.fixture
def trained(hub: LoopbackHub, remote: Remote, taught: Taught) -> Trained:
    """Makes runs whose training has pushed a real adapter of a base that the Hub has."""
    hub.add_repo("model", BASE, {file.name: file for file in taught.base.iterdir() if file.is_file()})
    revision = HfApi().model_info(BASE).sha or ""

    def make(rows: list[dict[str, Any]], benchmarks: tuple[str, ...]) -> Run:
        script = PUSHES.format(rows=rows, adapter=str(taught.adapter), base=BASE)
        run = remote(script, parameters=PARAMETERS, timeout_s=300)
        assert run.spec is not None
        ref = ModelRef(id=BASE, source="hub", path=None, revision=revision)
        overrides = Overrides(benchmarks=benchmarks)
        run = run.record(
            run.spec.model_copy(update={"model_ref": ref, "targets": ("evaluate",), "overrides": overrides})
        )
        holdout = Holdout(function="last_tenth", rows=len(rows), reason="")
        assert run.dataset is not None
        run = run.record(run.dataset.model_copy(update={"holdout": holdout}))
        run = run.record(approve(run, make_quote(run), True))
        run = run.record(submit_job(run))
        return run.record(monitor_job(run))

    return make


@pytest.mark.slow
def test_what_the_models_answer_in_the_job_is_judged_here(
    hub: LoopbackHub, trained: Trained, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained([short(number) for number in range(40, 44)], ("humaneval",))
    found = evaluate_model(run)
    assert [c.metric.split(" on ")[0] for c in found.comparisons] == [
        "held-out loss",
        "held-out perplexity",
        "exact match",
        "HumanEval pass@1",
        "HumanEval pass@1 against the base with 3 examples",
    ]
    assert [c.items for c in found.comparisons] == [4, 4, 4, 2, 2]
    assert found.harness.count("both models in Q8_0 on llama.cpp (xllamacpp") == 2
    assert not [caveat for caveat in found.caveats if "did not let" in caveat]
    jobs = [job.labels["ftagent-step"] for job in hub.jobs.all.values()]
    assert jobs == ["train", "evaluate"]
    names = {Path(name).name for name in hub.files("model", "tester/tuned") if "/asked/" in name}
    assert {"base-humaneval-0-shot-greedy.jsonl", "tuned-humaneval-0-shot-greedy.jsonl"} < names
    judged = [json.loads(line) for line in (run.folder / "eval/humaneval_items.jsonl").read_text().splitlines()]
    assert len(judged) == 2 * 3
    assert all(isinstance(line["passed"], bool) and line["tokens"] <= 8 for line in judged)
    again = evaluate_model(run)
    assert (again.comparisons, len(hub.jobs.all)) == (found.comparisons, 2)


# --- without a job ----------------------------------------------------------------------------------------------------


def test_the_request_has_every_question_once_and_no_path_outside_the_run(
    finish: Finish, taught: Taught, few: None
) -> None:
    run = finish(taught.base, taught.adapter, [short(n) for n in range(40, 44)])
    harnesses = [answers_harness(run, metric="exact_match", file=None, reason=""), HumanEval(samples=2)]
    sheets = [sheet for harness in harnesses for sheet in harness.sheets(("same", "same"))]
    task = in_job.asked_task(run, find_checkpoint(run), sheets, [], is_chat=True, may_fail=False)
    asked = [f"{sheet['model']}-{sheet['name']}" for sheet in task.request["sheets"]]
    assert asked == [
        "base-answers-" + asked[0][-8:],
        "tuned-answers-" + asked[0][-8:],
        "base-humaneval-0-shot-greedy",
        "base-humaneval-3-shot-greedy",
        "base-humaneval-0-shot-2-samples",
        "tuned-humaneval-0-shot-greedy",
        "tuned-humaneval-0-shot-2-samples",
    ]
    files = [Path(sheet["questions"]) for sheet in task.request["sheets"]]
    assert len(set(files)) == 4  # both models read the same ones
    lines = [json.loads(line) for line in files[4].read_text("utf-8").splitlines()]
    assert [(line["key"], line["seed"]) for line in lines] == [
        (f"{item}@{seed}", seed) for seed in (1, 2) for item in FEW
    ]
    assert all(file.is_relative_to(run.folder) for file in files)
    assert task.request["context"] == 4096
    assert {"vllm==0.33.0", "--exclude-newer", "--isolated"} < set(task.request["vllm"])
    assert in_job.pins_for(["gsm8k"])[-1].startswith("lm_eval[api]==")


def test_answers_from_a_job_are_judged_here_once(finish: Finish, taught: Taught, few: None, tmp_path: Path) -> None:
    run, harness, templates = finish(taught.base, taught.adapter, [short(40)] * 2), HumanEval(), ("same", "same")
    sheets = harness.sheets(templates)
    right = "    return x + y\n"
    answer: dict[str, Any] = {"lines": {}, "server": {"words": "both models on something"}}
    for sheet in sheets:
        file = tmp_path / in_job.ASKED / f"{sheet.title}.jsonl"
        file.parent.mkdir(exist_ok=True)
        told = {"text": right if sheet.model == "tuned" else "no", "tokens": 2, "stopped": True}
        file.write_text("".join(json.dumps({"key": f"{item}@0", **told}) + "\n" for item in FEW), encoding="utf-8")
        answer["lines"][sheet.title] = file.name
    part = harness.part(run, in_job.said_in_job(run, sheets, answer, tmp_path), templates)
    assert [(c.base, c.tuned, c.items) for c in part.comparisons] == [(0, 0.5, 2), (0, 0.5, 2)]
    assert "both models on something, tests in a sandbox" in part.harness
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(human_eval, "judge", None)
        again = in_job.said_in_job(run, harness.sheets(templates), answer, tmp_path)
    assert harness.part(run, again, templates).comparisons == part.comparisons


def test_what_is_asked_is_priced_and_what_is_asked_beyond_the_plan_is_approved_anew(
    hub: LoopbackHub, trained: Trained
) -> None:
    run = trained([short(number) for number in range(40, 44)], ("humaneval",))
    assert asking_of(run) == Asking(answers=2 * 4 + 3 * 164, tokens=2 * 4 * 64 + 3 * 164 * 200)
    assert asking_of(run, {"benchmarks": []}) == Asking(answers=8, tokens=8 * 64)
    assert asking_of(run, {"benchmarks": ["gsm8k"], "samples": 0}).answers > 2 * 1319
    bare, asked = part_of(run, "evaluate", NOTHING), part_of(run, "evaluate")
    assert asked.hours.expected > bare.hours.expected
    assert later_quote(run, "evaluate") is None  # the training's approval has it
    assert later_quote(run, "evaluate", {"benchmarks": ["humaneval"], "samples": 0}) is None
    more = later_quote(run, "evaluate", {"benchmarks": ["humaneval"], "samples": 20})
    assert more is not None and more.reserve_usd > asked.reserve_usd
