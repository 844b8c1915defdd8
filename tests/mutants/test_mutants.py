"""Preflight stops every mutant for its own reason, and no sound run."""

from __future__ import annotations

from pathlib import Path

import pytest

from .good import GOOD, good_run
from .judge import Verdict, alone, broken_run, judged, stops
from .table import MUTANTS

STATIC = ("no Python", "a token in the script", "another split", "a data file that changed", "a missing shard")
QUICK = (
    *STATIC,
    *("an argument of another TRL", "max length of 8", "chosen and rejected equal", "KTO with one label"),
    *("a save of stale weights", "no checkpoint", "learning rate 0", "an endless loop", "turns without an end"),
    *("a reach into the network, caught", "checkpoints outside the folder", "numbers that are made up"),
)
"""One of each kind; the others are slow together."""
ALONE = [name for name, mutant in MUTANTS.items() if mutant.ends_process]
QUICK_GOOD = ("sft, chats", "dpo, lora, bf16", "sft, gemma-3-1b")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    home = tmp_path_factory.mktemp("quick")
    runs = {name: broken_run(home / str(n), MUTANTS[name]) for n, name in enumerate(QUICK)}
    runs |= {name: good_run(home / name.replace(" ", "-"), GOOD[name]) for name in QUICK_GOOD}
    return judged(home, runs)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    home = tmp_path_factory.mktemp("slow")
    rest = [name for name in MUTANTS if name not in (*QUICK, *ALONE)]
    runs = {name: broken_run(home / str(n), MUTANTS[name]) for n, name in enumerate(rest)}
    runs |= {name: good_run(home / f"good{n}", good) for n, (name, good) in enumerate(GOOD.items())}
    return judged(home, runs)


@pytest.mark.parametrize("name", QUICK)
def test_a_mutant_is_stopped_with_words_that_say_what_and_how_to_mend_it(quick: dict[str, Verdict], name: str) -> None:
    assert stops(MUTANTS[name], quick[name]), quick[name].red


@pytest.mark.parametrize("name", QUICK_GOOD)
def test_a_sound_run_passes(quick: dict[str, Verdict], name: str) -> None:
    assert quick[name].red == []


@pytest.mark.parametrize("name", ALONE)
def test_a_script_that_ends_its_process_is_a_red_report(name: str, tmp_path: Path) -> None:
    verdict = alone(broken_run(tmp_path / "run", MUTANTS[name]))
    assert stops(MUTANTS[name], verdict), verdict.red


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in (*QUICK, *ALONE)])
def test_every_other_mutant_is_stopped(slow: dict[str, Verdict], name: str) -> None:
    assert stops(MUTANTS[name], slow[name]), slow[name].red


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD)
def test_every_sound_run_passes(slow: dict[str, Verdict], name: str) -> None:
    assert slow[name].red == []
