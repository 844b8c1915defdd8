"""What a person sees: one line a fact, one live line for long steps, and sense without colour."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from ftagent.agent.console import RunConsole, curve, progress_line
from ftagent.agent.loop import FineTuneAgent
from ftagent.tools.facts import Quote, Range
from ftagent.tools.journal import Event
from ftagent.tools.wording import duration
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from .instant import REQUEST, instant_tools

__all__ = ["instant_tools"]


def _shown(width: int, *, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, no_color=True, highlight=False)
    with RunConsole(console) as shown:
        FineTuneAgent(approve=True, listeners=[shown]).run(REQUEST)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 200])
def test_every_settled_fact_is_one_line(workdir: Path, width: int) -> None:
    lines = _shown(width, terminal=False).splitlines()
    settled = [line for line in lines if line.startswith("✓")]
    titles = [line.split()[1] for line in settled]
    assert titles == [
        "plan", "data", "hardware", "script", "preflight", "approval", "job", "training", "evaluation", "gguf",
        "export", "completed",
    ]  # fmt: skip
    assert "loss 3.000 → 1.000" in settled[7]


def test_training_progress_says_step_loss_speed_time_left_and_the_curve() -> None:
    data = {
        "step": 12,
        "total_steps": 30,
        "loss": 1.25,
        "tokens_per_s": 148.2,
        "seconds_left": 130,
        "losses": [3, 2, 1],
    }
    assert (
        progress_line("training", data).plain == "training · step 12/30 · loss 1.250 · 148 tokens/s · 2 min left · █▅▁"
    )


def test_training_progress_of_grpo_leads_with_its_reward_and_says_what_it_costs() -> None:
    data = {
        "step": 12,
        "loss": 0.0,
        "losses": [0, 0, 0],
        "leading": "reward",
        "value": 0.5,
        "values": [0.1, 0.5],
        "learning_rate": 1e-6,
        "grad_norm": 0.234,
        "cost_usd": 1.5,
        "cost_usd_left": 0.25,
    }
    said = "training · step 12 · reward 0.500 · lr 1.0e-06 · gradient 0.23 · $1.50 + $0.25 to come · ▁█"
    assert progress_line("training", data).plain == said


def test_a_person_is_shown_the_quote_before_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, width=100)
    asked: list[str] = []
    monkeypatch.setattr(console, "input", lambda prompt: asked.append(str(prompt)) or "y")
    span = Range(low=0.5, expected=1.0, high=1.5)
    quote = Quote(
        backend="hf-jobs", flavor="l4x1", script_sha256="a", hours=span, cost_usd=span, reserve_usd=2.0, timeout_s=7200
    )
    assert RunConsole(console).ask(quote)
    assert asked == ["Start this job? [y/N] "]
    assert "hf-jobs · l4x1 · 30 min to 1.5 h, $0.50–$1.50 · at most $2.00" in out.getvalue()


def test_an_llm_that_thinks_is_said_to_and_not_the_step_before() -> None:
    out = io.StringIO()
    shown = RunConsole(Console(file=out, width=100, force_terminal=True, no_color=True))
    for kind, data in (("step", {"tool": "plan_run"}), ("progress", {"step": "planner", "text": "asking openai/x"})):
        shown(Event.model_validate({"run": "r", "seq": None, "at": "2026-11-26T00:00:00Z", "kind": kind, "data": data}))
        last = shown._spinner.text
    shown.rest()
    assert str(last) == "asking openai/x"


def test_what_a_planner_says_is_shown_without_what_steers_a_terminal() -> None:
    out = io.StringIO()
    told = Event.model_validate(
        {"run": "r", "seq": None, "at": "2026-11-26T00:00:00Z", "kind": "said", "data": {"text": "Now\x1b[2J\nrank 8."}}
    )
    RunConsole(Console(file=out, width=100))(told)
    assert out.getvalue() == "  Now[2J rank 8.\n"


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=60))
def test_a_curve_is_drawn_of_any_numbers(values: list[float | None]) -> None:
    finite = [v for v in values if v is not None and math.isfinite(v)]
    assert len(curve(values)) <= 24
    assert (curve(values) == "") == (len(finite) < 2)


@pytest.mark.parametrize(("seconds", "said"), [(5, "5 s"), (89, "89 s"), (150, "2 min"), (9000, "2.5 h")])
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said
