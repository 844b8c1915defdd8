"""A running Hub, and clients of it in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .server import LoopbackHub

Client = Callable[..., str]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """A Hub with nothing in it."""
    with LoopbackHub(tmp_path / "hub", lfs_from_bytes=4096) as running:
        yield running


@pytest.fixture
def client(hub: LoopbackHub, tmp_path: Path) -> Client:
    """Runs Python code, or an `hf` command, as a client of the Hub; returns what it prints."""

    def run(code: str | list[str], *, token: str | None = None, ok: bool = True) -> str:
        workdir = tmp_path / "client"
        workdir.mkdir(exist_ok=True)
        hf = Path(sys.executable).with_name("hf")
        command = [sys.executable, "-c", textwrap.dedent(code)] if isinstance(code, str) else [str(hf), *code]
        given = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        done = subprocess.run(
            command,
            env={**given, **hub.environment(token or hub.tokens.write)},
            cwd=workdir,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout.strip() if ok else done.stdout + done.stderr

    return run
