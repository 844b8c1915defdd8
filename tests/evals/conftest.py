"""Scenarios that are played in this process, with everything that a world needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ftagent.evals.checkout import use_checkout
from ftagent.evals.judge import Verdict, judge
from ftagent.evals.players import Player
from ftagent.evals.scenario import Scenario
from ftagent.evals.sweep import play
from ftagent.evals.worlds import make_scratch

Play = Callable[..., Verdict]


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all worlds copy."""
    use_checkout()
    return make_scratch(tmp_path_factory.mktemp("evals"))


@pytest.fixture
def played(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Play a scenario that is given as in its file, with this player, and judge it."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))

    def run(player: Player, **scenario: Any) -> Verdict:
        told = Scenario.model_validate({"name": "test", "category": "test", **scenario})
        root = tmp_path / "world"
        root.mkdir()
        return judge(told, play(told, player, scratch, root))

    return run
