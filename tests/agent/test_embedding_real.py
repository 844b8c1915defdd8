"""Real dry runs side by side in one process: TRL, preflight and all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from ftagent.agent.loop import FineTuneAgent
from ftagent.tools.journal import Event


@pytest.mark.slow
def test_three_real_dry_runs_at_once_each_with_its_own_proof(
    workdir: Path, tiny_model: Path, rows: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def one(rank: int) -> list[Event]:
        agent = FineTuneAgent(dry_run=True, workdir=workdir)
        return [event async for event in agent.astream(f"fine-tune {tiny_model} on {rows} with lora rank {rank}")]

    async def all_three() -> list[list[Event]]:
        return await asyncio.gather(*(one(rank) for rank in (4, 8, 16)))

    for rank, events in zip((4, 8, 16), asyncio.run(all_three()), strict=True):
        facts = {event.kind: event for event in events if event.seq is not None}
        assert facts["preflight"].data["ok"] and facts["ended"].data["status"] == "dry_run"
        parameters = {p["name"]: p["value"] for p in facts["write_script"].data["parameters"]}
        assert parameters["r"] == rank
        assert len({event.run for event in events}) == 1
    assert capfd.readouterr().out == ""
