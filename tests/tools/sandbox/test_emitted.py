"""A training script carries the sandbox as text, and needs nothing of ftagent to run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ftagent.tools.sandbox.emitted import IMPORTS, sandbox_source

USE = """
passed = [run_checked("def f(x):\\n    return x + 1\\n", f"assert f(1) == {value}").passed for value in (1, 2)]
sys.stdout.write(f"{passed}\\n")
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "script.py"
    modules, names = IMPORTS
    lines = [*(f"import {module}" for module in modules.split()), *(f"from {m} import {n}" for m, n in names.items())]
    file.write_text("\n".join(["from __future__ import annotations", "", *lines, "", sandbox_source(), USE]))
    return file


def test_it_runs_with_the_standard_library_alone(script: Path) -> None:
    done = subprocess.run([sys.executable, "-I", "-S", str(script)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[False, True]\n", "")


def test_it_keeps_the_rules_of_the_house(script: Path) -> None:
    config = Path(__file__).parents[3] / "pyproject.toml"
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run([str(ruff), "check", "--config", str(config), str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
