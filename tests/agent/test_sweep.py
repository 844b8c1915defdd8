"""Several runs under one budget, and runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.loop import FineTuneAgent
from ftagent.tools import jobs
from ftagent.tools.compare import compare_runs
from ftagent.tools.curves import show_metrics
from ftagent.tools.errors import ToolError, UserError
from ftagent.tools.facts import JobReport, Parameter, Script
from ftagent.tools.metrics import Point, write_metrics
from ftagent.tools.run import Run, find_run, list_runs

from . import instant
from .instant import REQUEST, instant_tools

__all__ = ["instant_tools"]

COST_USD = 0.4
RESERVED_USD = 0.5


@pytest.fixture
def costs_money(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every job take $0.40, of $0.50 that are reserved for it."""

    def monitor_job(run: Run) -> JobReport:
        """Follow.

        Args:
            run: The run.
        """
        return instant.monitor_job(run).model_copy(update={"cost_usd": COST_USD})

    def write_script(run: Run) -> Script:
        """Write.

        Args:
            run: The run.
        """
        assert run.spec is not None
        rank = Parameter(name="r", value=run.spec.overrides.r, origin="stated")
        return instant.write_script(run).model_copy(update={"parameters": (rank,)})

    quote = jobs.make_quote
    monkeypatch.setattr(jobs, "make_quote", lambda run: quote(run).model_copy(update={"reserve_usd": RESERVED_USD}))
    instant.install(monkeypatch, monitor_job=monitor_job, write_script=write_script)


def test_a_sweep_stays_under_one_budget_and_says_what_was_left_out(workdir: Path, costs_money: None) -> None:
    sweep = FineTuneAgent(approve=True).sweep(REQUEST, ["rank 4", "rank 8", "rank 16"], max_cost=1.0)
    assert list(sweep.results) == ["rank 4", "rank 8"] and sweep.cost_usd == pytest.approx(2 * COST_USD)
    assert "could cost $0.50" in sweep.left_out["rank 16"]
    assert [result.run.spec and result.run.spec.overrides.r for result in sweep.results.values()] == [4, 8]
    assert "| r | 4 | 8 |" in sweep.table and "| cost | $0.40 | $0.40 |" in sweep.table
    assert "intervals overlap" in sweep.table


def test_a_sweep_of_nothing_or_of_the_same_twice_is_refused(workdir: Path) -> None:
    for variants in ([], ["rank 8", "rank 8"]):
        with pytest.raises(UserError, match="each one once"):
            FineTuneAgent(approve=True).sweep(REQUEST, variants)
    assert list(workdir.iterdir()) == []


def test_runs_that_held_out_other_rows_are_not_compared(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FineTuneAgent(approve=True).run(REQUEST)

    def other_rows(run: Run) -> Any:
        """Validate.

        Args:
            run: The run.
        """
        return instant.validate_dataset(run).model_copy(update={"fingerprint": "sha256:other"})

    instant.install(monkeypatch, validate_dataset=other_rows)
    FineTuneAgent(approve=True).run(REQUEST)
    newest, oldest = list_runs(workdir)
    assert "cannot be compared" in compare_runs(newest, runs=[oldest.id])
    assert "cannot be compared" in compare_runs(newest)
    with pytest.raises(ToolError, match="no other run"):
        compare_runs(newest, runs=[newest.id])


def test_metrics_are_shown_as_a_few_points_with_both_ends(workdir: Path) -> None:
    FineTuneAgent(approve=True).run(REQUEST)
    run = find_run(workdir)
    points = [Point(step=n, time=None, values={"train/loss": 3.0 / n, "eval/loss": None}) for n in range(1, 101)]
    write_metrics(run.folder / "metrics.jsonl", points)
    lines = show_metrics(run, names=["train/loss"]).splitlines()
    assert lines[0] == "step\ttrain/loss" and lines[1] == "1\t3" and lines[20] == "100\t0.03"
    assert lines[-1] == "80 of 100 points are left out"
    around = show_metrics(run, around_step=50).splitlines()
    assert around[1].startswith("40\t") and len(around) == 22
    with pytest.raises(ToolError, match=r"`nope` was not logged. hint: logged: train/loss"):
        show_metrics(run, names=["nope"])
