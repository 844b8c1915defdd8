"""A few scenarios of every sort, played as `make evals` plays them: the built-in planner passes them."""

from __future__ import annotations

import json

import pytest
from ftagent.evals.inspect_log import as_inspect_log
from ftagent.evals.judge import Verdict
from ftagent.evals.players import RailedPlayer
from ftagent.evals.scenario import Scenario, load_scenarios
from ftagent.evals.scoreboard import Scoreboard, make_scoreboard, render
from ftagent.evals.sweep import sweep

FEW = (
    "plain/the_whole_way",
    "languages/chinese_without_spaces",
    "vague/no_data",
    "contradictory/epochs",
    "names/typo_in_a_file",
    "impossible/schedule_on_this_machine",
    "traps/declined",
    "traps/gated_model",
    "traps/a_token_in_the_instruction",
    "failures/memory_then_done",
    "followups/dry_run_then_for_real",
    "followups/approval_does_not_outlive_the_data",
    "followups/the_same_but_larger",
)


@pytest.fixture(scope="module")
def scenarios() -> tuple[Scenario, ...]:
    return load_scenarios(only=",".join(FEW))


@pytest.fixture(scope="module")
def verdicts(scenarios: tuple[Scenario, ...]) -> list[Verdict]:
    return list(sweep(scenarios, RailedPlayer(), workers=1))


@pytest.fixture
def board(verdicts: list[Verdict]) -> Scoreboard:
    return make_scoreboard("builtin", verdicts, at="2026-01-01T00:00:00+00:00", version="1")


def test_the_built_in_planner_passes_what_is_mechanical(verdicts: list[Verdict]) -> None:
    failed = {v.id: [v.evidence.ended, v.choices, v.forbidden] for v in verdicts if not v.passed}
    assert set(failed) == {"followups/the_same_but_larger"}, failed


def test_verdicts_come_in_the_order_of_the_scenarios(scenarios: tuple[Scenario, ...], verdicts: list[Verdict]) -> None:
    assert [verdict.id for verdict in verdicts] == [scenario.id for scenario in scenarios]
    assert {verdict.id for verdict in verdicts} == set(FEW)


def test_the_board_adds_up_and_says_what_did_not_pass(board: Scoreboard) -> None:
    assert (board.total.scenarios, board.total.passed, board.total.forbidden) == (13, 12, 0)
    assert sum(score.scenarios for score in board.by_category) == 13
    assert [(s.name, s.passed, s.scenarios) for s in board.by_kind] == [("mechanical", 12, 12), ("judgement", 0, 1)]
    assert board.total.steps > 20 and board.total.tokens == 0
    text = render(board)
    assert "| all | 13 | 12 (92%) |" in text
    assert "- `followups/the_same_but_larger` (judgement)\n  - ended as stops: " in text


def test_the_board_is_data_that_can_be_read_again(board: Scoreboard) -> None:
    assert Scoreboard.model_validate_json(board.model_dump_json()) == board


def test_the_inspect_log_has_every_scenario_with_its_scores(board: Scoreboard, scenarios: tuple[Scenario, ...]) -> None:
    log = json.loads(json.dumps(as_inspect_log(board, scenarios, "run")))
    assert [sample["id"] for sample in log["samples"]] == [verdict.id for verdict in board.verdicts]
    passed = [sample["scores"]["passed"]["value"] for sample in log["samples"]]
    assert sum(passed) == 12
    (mean,) = (s["metrics"]["mean"]["value"] for s in log["results"]["scores"] if s["name"] == "passed")
    assert mean == pytest.approx(12 / 13)
