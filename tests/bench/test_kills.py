"""The kill sweep of `kills.py` as a test: `kill -9` at every line of a run's journal, on the Hub of tests/hub/."""

from __future__ import annotations

import pytest

from . import kills


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_line_the_run_arrives_once_with_the_same_result(when: kills.When) -> None:
    *killed, arrived = kills.killed_on_and_on(when)
    assert len(killed) >= 18
    assert arrived.wrong == ()
    assert arrived.result == kills.swept(0, "after").result
