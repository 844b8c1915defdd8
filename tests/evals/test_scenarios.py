"""Scenarios are data that can be wrong: a slip in one would let it hold whatever happens."""

from __future__ import annotations

import re

import pytest
from ftagent.evals.checkout import use_checkout
from ftagent.evals.contents import text_of
from ftagent.evals.scenario import FileContent, Scenario, load_scenarios
from ftagent.tools.facts import Overrides, Spec
from ftagent.tools.journal import FACTS
from ftagent.tools.run import Run
from pydantic import ValidationError

from ..failures.corpus import FOLDER

SCENARIOS = load_scenarios()
RUN_FIELDS = {*Run.model_fields, "attempts", "status"}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.id)
def test_a_scenario_speaks_of_what_there_is(scenario: Scenario) -> None:
    assert {path.split(".")[0] for path in scenario.spec} <= set(Spec.model_fields)
    Overrides.model_validate(scenario.spec.get("overrides", {}))
    assert {path.split(".")[0] for path in scenario.holds} <= RUN_FIELDS
    assert set(scenario.never) <= set(FACTS)
    for pattern in (*scenario.says, *scenario.report):
        re.compile(pattern)
    for job in scenario.world.jobs:
        assert job in ("trains", "killed", "writes nothing") or (FOLDER / f"{job.removeprefix('corpus ')}.log").exists()
    use_checkout()
    for content in scenario.world.files.values():
        text_of(content)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.id)
def test_a_scenario_asks_for_something_beside_its_end(scenario: Scenario) -> None:
    checks = (scenario.says, scenario.spec, scenario.holds, scenario.report, scenario.never, scenario.hidden)
    assert any(checks) or scenario.ends == ("failed",) or len(scenario.acts) > 2


def test_there_are_scenarios_of_every_sort() -> None:
    of_sort = {category: sum(s.category == category for s in SCENARIOS) for category in {s.category for s in SCENARIOS}}
    assert len(SCENARIOS) >= 60 and min(of_sort.values()) >= 8
    assert sum(s.kind == "mechanical" for s in SCENARIOS) >= 100


def test_an_unknown_word_in_a_scenario_is_refused() -> None:
    with pytest.raises(ValidationError, match="approves"):
        Scenario.model_validate(
            {"name": "x", "category": "x", "ends": "stops", "acts": [{"run": "x", "approves": True}]}
        )
    with pytest.raises(ValidationError, match="one of run, resume and edit"):
        Scenario.model_validate({"name": "x", "category": "x", "ends": "stops", "acts": [{"dry_run": True}]})


def test_rows_of_a_kind_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="neither a method nor"):
        text_of(FileContent(rows_of="chat"))
