"""What every test stands on: no network beyond loopback, and no file outside its own folders."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Set before any test module imports a library that reads them once, at import.
_SCRATCH = Path(__file__).parent.parent / ".pytest_cache"
os.environ["HF_HOME"] = str(_SCRATCH / "hf-home")
os.environ["TRACKIO_DIR"] = str(_SCRATCH / "trackio")
os.environ["XDG_CONFIG_HOME"] = str(_SCRATCH / "config")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ.pop("HF_TOKEN", None)
for _name in [name for name in os.environ if name.startswith("FTAGENT_")]:
    del os.environ[_name]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets reach this machine only; every connection beyond it is a failure that names the address."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else address
        if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"a test reached for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is also the current one."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
