"""What every test stands on: no network beyond loopback, and no file outside its own folders."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis

# The suite says the same of the same code; `make fuzz` looks for new examples.
hypothesis.register_profile("same", derandomize=True)
hypothesis.register_profile("new", derandomize=False, print_blob=True)
hypothesis.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Set before any test module imports a library that reads them once, at import.
# Each process of a parallel run has its own.
_SCRATCH = Path(__file__).parent.parent / ".pytest_cache" / os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["HF_HOME"] = str(_SCRATCH / "hf-home")
os.environ["TRACKIO_DIR"] = str(_SCRATCH / "trackio")
os.environ["XDG_DATA_HOME"] = str(_SCRATCH / "home" / ".local" / "share")
os.environ["XDG_CONFIG_HOME"] = str(_SCRATCH / "config")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ.pop("HF_TOKEN", None)
for _name in [name for name in os.environ if name.startswith("FTAGENT_")]:
    del os.environ[_name]


def _settings_in_a_home_of_their_own() -> None:
    """Import the settings while the home folder is the tests' own: their defaults are built from it."""
    home = os.environ.get("HOME")
    os.environ["HOME"] = str(_SCRATCH / "home")
    importlib.import_module("ftagent.tools.settings")
    if home is None:
        del os.environ["HOME"]
    else:
        os.environ["HOME"] = home


_settings_in_a_home_of_their_own()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job, whose children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_ledger() -> None:
    """Forget what other tests trained: it would change what is predicted."""
    Path(os.environ["XDG_DATA_HOME"], "ftagent", "ledger.jsonl").unlink(missing_ok=True)


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


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of the real SmolLM2-135M-Instruct, made once from the package that carries it."""
    from ftagent.tools.models import resolve_model
    from ftagent.tools.settings import load_settings

    settings = load_settings({"cache_dir": _SCRATCH / "ftagent"})
    found = resolve_model("SmolLM2-135M-Instruct", settings, None).path
    assert found is not None
    return Path(found)


_TINY = """
import sys
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, set_seed
source, target = sys.argv[1:]
set_seed(0)
config = AutoConfig.from_pretrained(source)
config.update({"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
               "num_key_value_heads": 2, "head_dim": 16, "layer_types": None})
AutoModelForCausalLM.from_config(config).save_pretrained(target)
AutoTokenizer.from_pretrained(source).save_pretrained(target)
"""


@pytest.fixture(scope="session")
def tiny_model(smollm2: Path) -> Path:
    """A two-layer Llama of 64 channels with SmolLM2's own tokenizer and chat template."""
    target = _SCRATCH / "ftagent" / "models" / "tiny-llama"
    if not (target / "tokenizer.json").exists():
        subprocess.run([sys.executable, "-c", _TINY, str(smollm2), str(target)], check=True)
    return target


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file of 40 short chats."""
    file = tmp_path / "rows.jsonl"
    chats = (
        [{"role": "user", "content": f"What is {n} plus {n}?"}, {"role": "assistant", "content": f"It is {2 * n}."}]
        for n in range(40)
    )
    file.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats), encoding="utf-8")
    return file
