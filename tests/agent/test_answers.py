"""Questions about runs are answered from journals and metrics, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ftagent.agent.answers import answer, at_step, where
from ftagent.agent.asked import answer_by_llm
from ftagent.agent.loop import FineTuneAgent
from ftagent.tools.errors import ApprovalNeeded, BudgetExceeded
from ftagent.tools.facts import Alert, Ended, Failure, Parameter
from ftagent.tools.jobs import cancel_job, status_now, submit_job
from ftagent.tools.metrics import GRADIENT_NORM, LEARNING_RATE, LOSS, Point, read_metrics, write_metrics
from ftagent.tools.run import Run, find_run, refold
from ftagent.tools.settings import load_settings

from ..openai_server import Reply, openai_server
from ..tools.conftest import Prove, prove, until
from .instant import REQUEST, instant_tools

__all__ = ["instant_tools", "prove", "until"]

Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def run(workdir: Path) -> Run:
    """A completed run."""
    return FineTuneAgent(approve=True, workdir=workdir).run(REQUEST).run


def _log(run: Run, losses: dict[int, float], gradients: dict[int, float] | None = None, pause_before: int = -1) -> None:
    """Write 60 calm points, with other losses and gradients at some steps."""
    at, points = datetime(2026, 1, 1, tzinfo=UTC), []
    for step in range(1, 61):
        at += timedelta(seconds=600 if step == pause_before else 1)
        values: dict[str, float | None] = {
            LOSS: losses.get(step, 1.0 + 0.01 * (step % 3)),
            GRADIENT_NORM: (gradients or {}).get(step, 0.5),
            LEARNING_RATE: 1e-4,
            "train/epoch": step / 30,
        }
        points.append(Point(step=step, time=at, values=values))
    write_metrics(run.folder / "metrics.jsonl", points)


def test_a_jump_is_explained_by_what_was_logged_with_it(run: Run) -> None:
    _log(run, {40: 3.2}, {39: 45.0})
    said = answer("why did the loss jump at step 40?", [run])
    assert said is not None
    assert "At step 40 the loss was 3.2; the 20 logs before it lay between 1 and 1.02. It jumped up" in said
    assert "- the gradient norm rose to 45, 90 times the usual 0.5" in said
    assert said.count("\n- ") == 1


@pytest.mark.parametrize(
    ("losses", "pause", "step", "says"),
    [
        ({}, -1, 40, "That is no jump"),
        ({40: 3.2}, -1, 38, "At step 40 the loss was 3.2"),  # a person's step is about right
        ({40: 3.2}, -1, 40, "nothing that was logged with it explains it"),
        ({30: 0.2}, -1, 30, r"It jumped down.*epoch 2 began there"),
        ({40: 3.2}, 40, 40, r"10 min passed before it"),
        ({}, -1, 999, "from step 1 to 60; 999 is none of them"),
        ({}, -1, 1, "nothing was logged before it"),
    ],
)
def test_no_cause_is_named_that_the_log_does_not_show(
    run: Run, losses: dict[int, float], pause: int, step: int, says: str
) -> None:
    _log(run, losses, pause_before=pause)
    assert re.search(says, at_step(run, step), re.DOTALL)


def test_an_alert_at_the_step_is_told(run: Run) -> None:
    assert run.report is not None
    alert = Alert(level="warn", rule="gradient_spikes", text="three of them", step=41)
    run = run.record(run.report.model_copy(update={"alerts": (alert,)}))
    _log(run, {40: 3.2})
    assert "the alert `gradient_spikes`: three of them" in at_step(run, 40)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("What did it cost?", r"has cost \$0.00\. Its job was expected to be free; `--yes` approved it"),
        ("why did it fail?", "It did not fail"),
        ("which data did it train on?", r"`rows.jsonl`.*100 rows, ready for sft.*10 rows were held out"),
        ("is it better than the base?", r"held-out loss.*3"),
        ("how long did it take?", r"took 60 s; 72 s \(36 s to 2 min\) were expected"),
        ("how did the loss go?", "The loss went from 3 to 1 in 25 steps"),
        ("where does it stand?", r"completed\. sft of Tiny-1M on rows.jsonl"),
        ("compare it with the one before", "only one run here"),
    ],
)
def test_plain_questions_have_plain_answers(run: Run, question: str, says: str) -> None:
    said = answer(question, [run])
    assert said is not None and re.search(says, said, re.DOTALL), said


def test_a_question_that_is_not_understood_has_no_answer(run: Run) -> None:
    assert answer("why is the sky blue?", [run]) is None
    assert answer("would a rainbow help?", [run]) is None


def test_a_failure_is_told_with_its_evidence_and_its_advice(run: Run) -> None:
    assert run.report is not None
    failure = Failure(
        name="oom", words="the GPU ran out of memory", evidence=("CUDA out of memory",), advice="go smaller"
    )
    changed = {"stage": "failed", "health": "out_of_memory", "reason": "OutOfMemoryError", "failure": failure}
    run = run.record(run.report.model_copy(update=changed)).record(Ended(status="failed"))
    said = answer("what went wrong?", [run])
    assert said is not None
    for part in ("out of memory: OutOfMemoryError", "CUDA out of memory", "go smaller"):
        assert part in said


# --- by an LLM --------------------------------------------------------------------------------------------------------


def test_an_llm_answers_from_the_journals_data_and_the_call_is_booked(run: Run) -> None:
    _log(run, {40: 3.2})
    with openai_server(lambda _: Reply(content="The gradient exploded.")) as server:
        settings = load_settings({"llm": "openai/scripted", "llm_base_url": server.url})
        assert answer_by_llm("why did the loss jump at step 40?", [run], settings) == "The gradient exploded."
        (asked,) = server.requests
    text = str(asked["messages"])
    assert "It jumped up" in text and "Question: why did the loss jump" in text and "<data>" in text
    assert len(text) < 40_000
    calls = find_run(run.settings.workdir).llm_calls
    assert len(calls) == 1 and calls[0].prompt_tokens > 0


def test_an_llm_is_not_asked_beyond_the_cap(run: Run) -> None:
    run = run.record(run.settings.model_copy(update={"max_cost_usd": 0.000001}))
    with pytest.raises(BudgetExceeded, match="leaves"):
        answer_by_llm("why?", [run], load_settings({"llm": "gpt-4o"}))
    assert find_run(run.settings.workdir).llm_calls == ()


def test_a_live_job_is_looked_at_since_the_journal_knows_only_that_it_began(prove: Prove, until: Until) -> None:
    run = prove("import time\nprint('begun', flush=True)\ntime.sleep(600)\n", timeout_s=900)
    run.record(submit_job(run))
    run = refold(run.journal)
    until(lambda: status_now(run) == "running")
    said = where(run)
    assert "Its job is running, healthy" in said and f"`ftagent watch {run.id}` looks on" in said
    cancel_job(run)
    assert "Its job is cancelled" in where(run)


def test_before_the_job_nothing_is_said_to_have_happened(workdir: Path) -> None:
    with pytest.raises(ApprovalNeeded):
        FineTuneAgent(workdir=workdir).run(REQUEST)
    run = find_run(workdir)
    assert str(answer("which data?", [run])).startswith("It is to train on `rows.jsonl`")
    assert answer("how long would it take?", [run]) == "About 72 s (36 s to 2 min) are expected on `local`."


def test_a_learning_rate_that_falls_again_is_no_cause(run: Run) -> None:
    _log(run, {31: 3.2, 40: 3.2})
    points = read_metrics(run.folder / "metrics.jsonl")
    rates = [1e-4 * min(point.step - 20, 45 - point.step) for point in points]
    warmed = [
        replace(point, values=point.values | {LEARNING_RATE: rate}) for point, rate in zip(points, rates, strict=True)
    ]
    write_metrics(run.folder / "metrics.jsonl", warmed)
    assert "learning rate" not in at_step(run, 40)
    assert "still rising" in at_step(run, 31)


def test_what_the_hardware_decided_has_the_reason_of_that_choice(run: Run) -> None:
    assert run.script is not None and run.hardware is not None
    batch = Parameter(name="per_device_train_batch_size", value=4, origin="rule", reason="pick_hardware, for local")
    run = run.model_copy(
        update={
            "script": run.script.model_copy(update={"parameters": (batch,)}),
            "hardware": run.hardware.model_copy(update={"reason": "batch 4 makes 45 steps."}),
        }
    )
    said = str(answer("why this batch size?", [run]))
    assert said.startswith("`per_device_train_batch_size` is 4 (rule: pick_hardware, for local).")
    assert said.endswith("As the hardware was chosen: batch 4 makes 45 steps.")
