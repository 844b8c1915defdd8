"""A follow-up changes what it states and keeps every other word of the earlier request."""

from __future__ import annotations

from typing import Any

import pytest
from ftagent.tools.errors import InputError
from ftagent.tools.followups import change_in, changed_request, without_values
from ftagent.tools.words import read_words
from hypothesis import given
from hypothesis import strategies as st

REQUEST = (
    "fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl locally with rank 8, learning rate 1e-4 and "
    "2 epochs, compare it with the base model, budget 3, no export"
)


def _read(text: str) -> dict[str, Any]:
    return {name: value for name, value in vars(read_words(text)).items() if value}


@pytest.mark.parametrize(
    ("said", "differs"),
    [
        ("same, but rank 64", {"overrides": {"r": 64, "learning_rate": 1e-4, "num_train_epochs": 2.0}}),
        ("again with 3 epochs", {"overrides": {"r": 8, "learning_rate": 1e-4, "num_train_epochs": 3.0}}),
        ("the same, but with a learning rate of 5e-4 and rank 16",
         {"overrides": {"r": 16, "learning_rate": 5e-4, "num_train_epochs": 2.0}}),
        ("noch mal, aber mit rang 4", {"overrides": {"r": 4, "learning_rate": 1e-4, "num_train_epochs": 2.0}}),
        ("now on other.jsonl", {"dataset": "other.jsonl"}),
        ("same, but Qwen3-0.6B", {"model": "Qwen3-0.6B"}),
        ("same but with dpo", {"method": "dpo"}),
        ("same, but in the cloud", {"backend": "hf-jobs"}),
        ("same, but export it", {"targets": ("evaluate", "export"), "refused_targets": ()}),
        ("same, but budget of $5", {"budget_usd": 5.0}),
        ("again", {}),
    ],
)  # fmt: skip
def test_only_what_is_stated_differs(said: str, differs: dict[str, Any]) -> None:
    change = change_in(said)
    assert change is not None
    expected = {name: value for name, value in {**_read(REQUEST), **differs}.items() if value}
    assert _read(changed_request(REQUEST, change)) == expected


@pytest.mark.parametrize("said", ["same, but with more care", "same, but better", "now a song"])
def test_a_change_that_is_not_understood_is_refused(said: str) -> None:
    with pytest.raises(InputError, match="changes nothing that is understood"):
        changed_request(REQUEST, change_in(said) or "")


@pytest.mark.parametrize("said", ["what did it cost?", "fine-tune A-1B on b.jsonl", "samey", "nowhere"])
def test_other_words_are_no_follow_up(said: str) -> None:
    assert change_in(said) is None


@given(st.integers(1, 512), st.integers(1, 512))
def test_a_value_inside_a_name_is_left_alone(old: int, new: int) -> None:
    request = f"fine-tune org/m-r-{old}-1b on r{old}/rank-{old}.jsonl, rank {old}"
    read = read_words(changed_request(request, f"rank {new}"))
    assert (read.model, read.dataset) == (f"org/m-r-{old}-1b", f"r{old}/rank-{old}.jsonl")
    assert read.overrides["r"] == new and not read.questions


def test_a_stated_value_is_taken_back() -> None:
    read = read_words(without_values(REQUEST, ["r", "budget_usd"]))
    assert read.overrides == {"learning_rate": 1e-4, "num_train_epochs": 2.0} and read.budget_usd is None
