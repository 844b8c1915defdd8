"""The loop walks the whole way by itself, stops where it must, and never asks where nobody is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.loop import FineTuneAgent
from ftagent.tools.errors import ApprovalNeeded, BudgetExceeded, InputError, ToolError
from ftagent.tools.facts import Check, HardwareChoice, JobReport, PreflightReport, Range
from ftagent.tools.journal import Event
from ftagent.tools.run import Run, open_run

from . import instant
from .instant import REQUEST, instant_tools

__all__ = ["instant_tools"]

WAY = [
    "plan_run",
    "validate_dataset",
    "pick_hardware",
    "write_script",
    "preflight",
    "approval",
    "job_intent",
    "submit_job",
    "monitor_job",
    "evaluate_model",
    "export_file",
    "export_gguf",
    "ended",
]


def _kinds(run: Run) -> list[str]:
    return [event.kind for event in run.journal.events if event.kind != "settings"]


def test_the_built_in_planner_walks_the_whole_way(workdir: Path) -> None:
    result = FineTuneAgent(approve=True).run(REQUEST)
    assert _kinds(result.run) == WAY
    assert result.ok and result.run.status == "completed"
    assert result.report is not None and "**Better**" in result.report.read_text(encoding="utf-8")
    assert result.answer.startswith("held-out loss over 10 items: base 3.000, tuned 1.000")


def test_a_dry_run_stops_before_the_job_and_resume_takes_it_from_there(workdir: Path) -> None:
    dry = FineTuneAgent(dry_run=True).run(REQUEST)
    assert _kinds(dry.run) == [*WAY[:5], "ended"]
    assert dry.ok and dry.run.status == "planned"
    done = FineTuneAgent(approve=True).resume()
    assert done.run.id == dry.run.id
    assert _kinds(done.run) == [*WAY[:5], "ended", "resumed", *WAY[5:]]


def test_who_only_wants_to_know_the_price_starts_no_job_before_they_go_on(workdir: Path) -> None:
    asked = FineTuneAgent(approve=True).run(f"what would it cost to {REQUEST}?")
    assert _kinds(asked.run) == [*WAY[:5], "ended"]
    assert asked.ok and f"`ftagent resume {asked.run.id}` goes on" in asked.answer
    done = FineTuneAgent(approve=True).resume()
    assert _kinds(done.run)[-len(WAY[5:]) :] == WAY[5:]


def test_without_anybody_to_ask_nothing_is_submitted(workdir: Path) -> None:
    with pytest.raises(ApprovalNeeded, match=r"resume .* --yes"):
        FineTuneAgent().run(REQUEST)
    with pytest.raises(ApprovalNeeded, match="declined"):
        FineTuneAgent(approve=lambda quote: quote.reserve_usd > 100).resume()
    kinds = _kinds(open_run(next(workdir.glob("training_reports/*/*/"))))
    assert "job_intent" not in kinds and "submit_job" not in kinds


def test_the_cap_holds_whoever_approves(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dear(run: Run) -> HardwareChoice:
        """Pick.

        Args:
            run: The run.
        """
        return instant.pick_hardware(run).model_copy(update={"cost_usd": Range(low=1.0, expected=2.0, high=4.0)})

    from ftagent.tools import jobs

    quote = jobs.make_quote
    monkeypatch.setattr(jobs, "make_quote", lambda run: quote(run).model_copy(update={"reserve_usd": 4.0}))
    instant.install(monkeypatch, pick_hardware=dear)
    with pytest.raises(BudgetExceeded, match=r"could cost \$4.00 .* the cap is \$3.00"):
        FineTuneAgent(approve=True, max_cost=3.0).run(REQUEST)
    with pytest.raises(BudgetExceeded, match=r"the cap is \$3.00"):
        FineTuneAgent(approve=True).resume()
    assert FineTuneAgent(approve=True, max_cost=4.0).resume().ok


def test_a_red_preflight_ends_the_run_as_failed(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def red(run: Run) -> PreflightReport:
        """Fail.

        Args:
            run: The run.
        """
        checks = (Check(name="loss", ok=False, detail="it is NaN"),)
        return instant.preflight(run).model_copy(update={"ok": False, "checks": checks})

    instant.install(monkeypatch, preflight=red)
    result = FineTuneAgent(approve=True).run(REQUEST)
    assert not result.ok and result.run.status == "failed"
    assert "loss: it is NaN" in result.answer


def test_a_tool_that_refuses_ends_the_run_with_its_own_words(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: Run) -> Any:
        """Refuse.

        Args:
            run: The run.
        """
        raise InputError("column `text` is empty in all rows.", hint="name another column")

    instant.install(monkeypatch, validate_dataset=refuse)
    with pytest.raises(InputError, match="column `text` is empty"):
        FineTuneAgent(approve=True).run(REQUEST)
    assert list(workdir.iterdir()) == []


def test_a_failed_job_is_tried_again_on_resume_as_a_second_attempt(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run) -> JobReport:
        """Fail.

        Args:
            run: The run.
        """
        return instant.monitor_job(run).model_copy(
            update={"stage": "failed", "health": "failed", "reason": "RuntimeError: boom"}
        )

    instant.install(monkeypatch, monitor_job=fail)
    first = FineTuneAgent(approve=True).run(REQUEST)
    assert not first.ok and "RuntimeError: boom" in first.answer
    instant.install(monkeypatch)
    second = FineTuneAgent(approve=True).resume()
    assert second.ok and second.run.job is not None and second.run.job.attempt == 2


def test_a_complete_run_is_not_done_again(workdir: Path) -> None:
    first = FineTuneAgent(approve=True).run(REQUEST)
    assert FineTuneAgent(approve=True).resume().run.journal.events == first.run.journal.events


def test_stream_yields_every_event_in_order_and_raises_what_went_wrong(workdir: Path) -> None:
    events = list(FineTuneAgent(approve=True).stream(REQUEST))
    journalled = [event.kind for event in events if event.seq is not None]
    assert journalled == WAY
    assert all(json.loads(event.model_dump_json())["run"] == events[0].run for event in events)
    seen: list[Event] = []
    with pytest.raises(ApprovalNeeded):
        for event in FineTuneAgent().stream(REQUEST):
            seen.append(event)
    assert seen[-1].kind == "error" and seen[-1].data["code"] == "needs_approval"


def test_a_planner_cannot_call_what_is_not_legal(workdir: Path) -> None:
    from ftagent.agent.toolbox import Toolbox
    from ftagent.tools.run import new_run
    from ftagent.tools.settings import load_settings

    toolbox = Toolbox(new_run(load_settings()), request=REQUEST, decide=True)
    for name in ("submit_job", "preflight", "export_gguf", "write_script"):
        assert name not in toolbox.legal()
        with pytest.raises(ToolError, match="not legal now"):
            toolbox.call(name, {})


def test_an_instruction_that_contradicts_itself_is_a_question_and_no_run(workdir: Path) -> None:
    with pytest.raises(InputError, match=r"num_train_epochs is stated as 2.0 and as 3.0: which one holds\?"):
        FineTuneAgent(approve=True).run(REQUEST + ", 2 epochs, 3 epochs")
    assert list(workdir.iterdir()) == []


def test_a_bug_in_the_built_in_planner_shows_itself(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr("ftagent.agent.planner.BuiltinPlanner.generate", broken)
    with pytest.raises(KeyError, match="a bug"):
        FineTuneAgent(approve=True).run(REQUEST)
