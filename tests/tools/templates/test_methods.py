"""The script of every method, training the tiny model on rows that it can learn: its own numbers move the right way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from ftagent.tools.facts import REWARDED_METHODS, Method, Reward
from ftagent.tools.script import write_script

from ..methods import METHODS, run_of
from .driven import Ended, Job, drive

FAST = {"learning_rate": 3e-3}
"""A tiny model learns nothing at the rates that suit a large one."""


# A person's own reward: what share of an answer is letters. A model of random weights begins near a fifth.
LETTERS = """
def letters(completions, **columns):
    texts = [turns[-1]["content"] for turns in completions]
    return [sum(letter.isascii() and letter.isalpha() for letter in text) / max(1, len(text)) for text in texts]
"""


def written(method: Method, home: Path, **hardware: object) -> Job:
    (home / "rewards.py").write_text(LETTERS, encoding="utf-8")
    digest = hashlib.sha256(LETTERS.encode()).hexdigest()
    reward = Reward(name="letters", reason="as stated", own=f"{home}/rewards.py:letters", sha256=digest)
    data = {"rewards": (reward,)} if method in REWARDED_METHODS else {}
    run = run_of(method, home, overrides=FAST, hardware={"epochs": 2.0, **hardware}, dataset=data)
    return Job(run=run.record(write_script(run)))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """A whole training of every method, one more step of each, and one that runs out of time."""
    home = tmp_path_factory.mktemp("methods")
    whole = {str(method): written(method, home) for method in METHODS}
    again = {f"{method} again": Job(run=job.run) for method, job in whole.items()}
    late = written("dpo", home, timeout_s=1, epochs=1000.0)
    return drive(home, whole | again | {"late": late, "later": Job(run=late.run)})


@pytest.mark.parametrize("method", METHODS)
def test_a_training_ends_well_with_every_number_that_a_report_shows(ended: dict[str, Ended], method: str) -> None:
    assert ended[method].code == 0
    result = ended[method].result
    assert result["steps"] > 1
    assert result["tokens"] > 0
    assert result["eval_loss"] is not None
    assert result["heldout_rows"] == 4
    assert all(len(ends) == 2 and None not in ends for ends in result["metrics"].values())
    assert (result["trained_tokens"] is None) == (method in ("grpo", "rloo", "distillation"))


@pytest.mark.parametrize("method", METHODS)
def test_a_finished_training_is_not_done_again(ended: dict[str, Ended], method: str) -> None:
    first, again = ended[method].result, ended[f"{method} again"].result
    assert again["resumed_from"] == again["steps"] == first["steps"]


@pytest.mark.parametrize(
    ("method", "metric"),
    [
        ("dpo", "rewards/accuracies"),
        ("dpo", "rewards/margins"),
        ("kto", "rewards/margins"),
        ("reward", "accuracy"),
        ("reward", "margin"),
        ("grpo", "reward"),
        ("rloo", "reward"),
    ],
)
def test_what_the_method_is_for_grows(ended: dict[str, Ended], method: str, metric: str) -> None:
    first, last = ended[method].result["metrics"][metric]
    assert last > first


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "reward"])
def test_the_loss_falls(ended: dict[str, Ended], method: str) -> None:
    assert ended[method].result["last_loss"] < ended[method].result["first_loss"]


@pytest.mark.parametrize("method", METHODS)
def test_the_card_tells_what_the_model_was_made_from(ended: dict[str, Ended], method: str) -> None:
    run = ended[method].run
    card = (run.folder / "checkpoint" / "README.md").read_text(encoding="utf-8")
    assert 'base_model: "Tiny"' in card
    assert f'"{method}"' in card.partition("\n---\n")[0]
    assert "| learning_rate | 0.003 |" in card
    assert f"| steps | {ended[method].result['steps']} |" in card


def test_a_script_whose_time_is_almost_over_saves_and_goes_on_when_it_is_started_again(
    ended: dict[str, Ended],
) -> None:
    late, later = ended["late"], ended["later"]
    assert (late.code, later.code) == (4, 4)
    assert late.result is None
    folders = (late.run.folder / "checkpoint").glob("checkpoint-*")
    states = [json.loads((folder / "trainer_state.json").read_text(encoding="utf-8")) for folder in folders]
    assert sorted(state["global_step"] for state in states)[-1] >= 2


def test_a_distillation_comes_nearer_to_its_teacher(ended: dict[str, Ended]) -> None:
    # The student is its own teacher here, so that there is nothing to learn: the loss is none from the beginning.
    assert ended["distillation"].result["train_loss"] == pytest.approx(0.0, abs=1e-4)
