"""The notebook's cells run in order, and print what they promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..agent.instant import REQUEST, instant_tools

__all__ = ["instant_tools"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "notebook.py"


def test_every_cell_runs_in_order(workdir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cells = EXAMPLE.read_text(encoding="utf-8").split("\n# %%")
    names: dict[str, Any] = {}
    for cell in cells:
        if "[markdown]" not in cell.splitlines()[0]:
            exec(compile(cell, str(EXAMPLE), "exec"), names)
            names["INSTRUCTION"] = REQUEST  # instead of the one of the first cell
    out = capfd.readouterr().out.splitlines()
    assert out[:3] == ["ready: 100 rows, 0 % are cut", "lora on local: 1 min", "0 checks, all green"]
    assert [line.split(" | ")[1:] for line in out[5:]] == [
        ["8", "3.00 → 1.00", "3.000 → 1.000", "0.002", "better |"],
        ["32", "3.00 → 1.00", "3.000 → 1.000", "0.002", "better |"],
    ]
