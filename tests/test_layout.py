"""The house stands as it is drawn: packages are listed, floors hold, importing costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED = ("agent", "tools", "prompts", "skills", "evals")


def _python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_every_folder_with_code_or_data_is_a_listed_package() -> None:
    folders = {path.parent for name in SHIPPED for path in _python_files(name)}
    folders |= {ROOT / "prompts", ROOT / "skills"}
    packages = {"ftagent"} | {"ftagent." + ".".join(f.relative_to(ROOT).parts) for f in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == packages


def test_nothing_but_the_package_lies_at_the_root() -> None:
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("file", _python_files("tools"), ids=str)
def test_tools_never_import_the_agent(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert "agent" not in (node.module or "").split(".")


def _loaded_by(code: str) -> set[str]:
    listing = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"], capture_output=True, text=True
    )
    return {name.split(".")[0] for name in listing.stdout.splitlines()[-1].split()}


HEAVY = {"torch", "transformers", "trl", "datasets", "smolagents", "litellm", "matplotlib", "scipy", "pydantic"}


def test_importing_ftagent_and_asking_for_help_loads_nothing_heavy() -> None:
    assert not _loaded_by("import ftagent") & HEAVY
    help_text = (
        "import contextlib\nfrom ftagent.agent.cli import main\nwith contextlib.suppress(SystemExit): main(['-h'])"
    )
    assert not _loaded_by(help_text) & HEAVY


def test_every_tool_can_be_imported_without_torch() -> None:
    assert "torch" not in _loaded_by("from ftagent.agent.signatures import *\n[tool_info(n) for n in TOOL_NAMES]")


def test_constraints_pin_every_dependency_and_the_torch_that_installs_small() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "torch==2.13.0\n" in pins
    assert all("==" in line for line in pins.splitlines())
