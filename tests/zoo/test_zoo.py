"""No false `ready`, no false `refused`: the verdict on every set of the zoo, beside what TRL does with it."""

from __future__ import annotations

from typing import Any

import pytest
from ftagent.tools.data.shaping.shapes import Shape

from .judged import judged, verdict_of
from .sets import FAMILIES, ZOO
from .table import compare
from .truth import by_of, load_truth, measure, trains_well
from .whole import whole_tool
from .zoo_set import METHODS, Method

CELLS = [pytest.param(name, method, id=f"{name}-{method}") for name in ZOO for method in METHODS]
TELLING: tuple[tuple[str, Method], ...] = (
    ("capybara", "sft"),  # taken as it is
    ("ultrachat_200k", "sft"),  # another column would change what is trained
    ("tools_as_json", "sft"),  # rewritten
    ("c4_with_a_null", "sft"),  # nothing but a row left out
    ("blank_texts", "sft"),  # TRL would train, on nothing
    ("trl_ultrafeedback", "dpo"),
    ("orca_dpo_pairs", "dpo"),  # TRL would train, without the question
    ("answers_without_prompts", "dpo"),
    ("kto_mix", "kto"),
    ("labels_of_minus_1_and_1", "kto"),  # TRL would train, with all labels true
    ("dapo_math", "grpo"),
    ("prompts_with_completions", "grpo"),  # a column that rewards are called with
    ("pairs_with_a_margin", "reward"),
)


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    return load_truth()["sets"]


@pytest.mark.parametrize(("name", "method"), CELLS)
def test_the_verdict_is_the_expected_one(name: str, method: Method) -> None:
    assert verdict_of(ZOO[name], method) == ZOO[name].expected(method), judged(ZOO[name], method).why


@pytest.mark.parametrize(("name", "method"), CELLS)
def test_the_verdict_agrees_with_trl(name: str, method: Method, truth: dict[str, Any]) -> None:
    """TRL has the last word: on the file as it is, and on the rows as they are mapped."""
    verdict = verdict_of(ZOO[name], method)
    raw, mapped = truth[name]["raw"][method], truth[name]["mapped"].get(method)
    as_it_is = trains_well(raw, method) and method not in ZOO[name].nonsense
    assert not (verdict == "ready" and not as_it_is), f"false ready: {raw}"
    assert not (verdict == "refused" and as_it_is), f"false refused: {raw}"
    assert verdict == "refused" or trains_well(mapped, method), f"does not train as mapped: {mapped}"


@pytest.mark.parametrize("name", ZOO)
def test_the_truth_was_measured_on_these_rows_with_these_mappings(name: str, truth: dict[str, Any]) -> None:
    assert name in truth and truth[name]["fingerprint"] == ZOO[name].fingerprint, "measure anew: make bench-zoo"
    shapes: dict[Method, Shape | None] = {method: judged(ZOO[name], method).shape for method in METHODS}
    by = {method: by_of(shape) for method, shape in shapes.items() if shape}
    assert by == {method: outcome["by"] for method, outcome in truth[name]["mapped"].items()}, (
        "measure anew: make bench-zoo"
    )


@pytest.mark.parametrize("name", ZOO)
def test_a_reason_is_given_wherever_trl_trains_on_what_is_refused(name: str, truth: dict[str, Any]) -> None:
    trains = {method for method, outcome in truth[name]["raw"].items() if outcome["outcome"] == "trains"}
    refused = {method for method in METHODS if ZOO[name].expected(method) == "refused"}
    ready = {method for method in METHODS if ZOO[name].expected(method) == "ready"}
    assert trains & refused <= set(ZOO[name].nonsense) <= trains - ready


def test_names_are_unique_and_sets_are_small() -> None:
    assert len(ZOO) == sum(len(family.SETS) for family in FAMILIES)
    assert all(len(zoo_set.rows) <= 30 for zoo_set in ZOO.values())
    assert all(zoo_set.teaches for zoo_set in ZOO.values() if zoo_set.sft != "refused")


def test_the_whole_tool_says_the_same_where_it_matters_most() -> None:
    with whole_tool() as judge:
        verdicts = {(name, method): judge(ZOO[name], method).verdict for name, method in TELLING}
    assert verdicts == {(name, method): ZOO[name].expected(method) for name, method in TELLING}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_tool_disagrees_with_trl_nowhere() -> None:
    with whole_tool() as judge:
        cells = compare(list(ZOO.values()), load_truth(), judge)
    assert [f"{c.zoo_set.name} {c.method}: {c.complaints}" for c in cells if c.complaints] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_trl_still_does_what_it_did_when_it_was_measured() -> None:
    fresh, kept = measure(list(ZOO.values())), load_truth()
    assert fresh["versions"] == kept["versions"]
    for name, entry in fresh["sets"].items():
        for side in ("raw", "mapped"):
            assert _outcomes(entry[side]) == _outcomes(kept["sets"][name][side]), f"{name}, {side}"
    assert [cell for cell in compare(list(ZOO.values()), fresh, judged) if cell.complaints] == []


def _outcomes(side: dict[str, Any]) -> dict[str, Any]:
    return {method: (outcome["outcome"], outcome.get("error")) for method, outcome in side.items()}
