"""A Hub on this machine, and runs whose job goes there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ftagent.tools.backends import hf_client, hf_logs, hf_once
from ftagent.tools.facts import JobIntent
from ftagent.tools.run import Run

from ...hub import LoopbackHub

Remote = Callable[..., Run]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A Hub that this process takes for the real one; whoever waits for it does so a hundred times faster."""
    monkeypatch.setattr(hf_client, "PAUSES_S", (0.01, 0.02, 0.04, 0.08))
    monkeypatch.setattr(hf_once, "PAUSES_S", (0.01, 0.02, 0.04, 0.08))
    monkeypatch.setattr(hf_once, "LOOK_PAUSE_S", 0.02)
    monkeypatch.setattr(hf_logs, "RECONNECT_S", 0.05)
    with LoopbackHub(tmp_path / "hub", lfs_from_bytes=4096) as running, running.used_here(running.tokens.jobs):
        yield running


@pytest.fixture
def remote(prove: Callable[..., Run]) -> Remote:
    """Makes runs with a proven, approved script whose job goes to the Hub."""

    def make(train: str, **options: object) -> Run:
        return prove(train, backend="hf-jobs", **options)

    return make


def intent_of(run: Run, attempt: int = 1, timeout_s: int = 30) -> JobIntent:
    """Return what `submit_job` would mean to start."""
    assert run.script is not None
    return JobIntent(
        backend="hf-jobs", label=run.id, attempt=attempt, script_sha256=run.script.sha256, timeout_s=timeout_s
    )
