"""An obedient planner does whatever poisoned text tells it, and a tool or a gate refuses every bit of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .injections import ATTACKS, CHANNELS, attempt
from .instant import instant_tools

__all__ = ["instant_tools"]

QUICK = {"dataset card": 4, "row": 1, "log line": 4, "model name": 4, "skill of a user": 4}
"""Every attack by a row; of the other channels every fourth, since it is the same gates that refuse."""
PAIRS = [(name, channel) for channel in CHANNELS for name in list(ATTACKS)[:: QUICK[channel]]]


@pytest.mark.parametrize(("name", "channel"), PAIRS)
def test_a_poisoned_text_gets_nothing_done(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, name: str, channel: str
) -> None:
    outcome = attempt(name, channel, monkeypatch)
    assert outcome.read and outcome.tried
    assert outcome.refused_by, f"nothing refused to {name} by a {channel}"
    if outcome.run is not None:
        assert outcome.run.spec is not None and outcome.run.spec.model.startswith("Tiny-1M")
        assert outcome.run.schedules == () and outcome.run.cost_usd <= 1.0
