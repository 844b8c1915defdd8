"""The script under `accelerate launch`: two processes train as one does, apart and with shared weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.launch import launch_arguments, launch_command
from ftagent.tools.run import Run
from ftagent.tools.script import write_script
from ftagent.tools.worker import WORKER_ENVIRONMENT

from .methods import run_of

# accelerate takes its FSDP path on accelerators only. This opens it for two CPU processes, and says what it found.
ON_CPU = """
import json, os, runpy, sys
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
init = AcceleratorState.__init__
def opened(self, *arguments, fsdp_plugin=None, **named):
    init(self, *arguments, fsdp_plugin=fsdp_plugin, **named)
    self.fsdp_plugin = fsdp_plugin or getattr(self, "fsdp_plugin", None)
    if self.fsdp_plugin is not None:
        self.distributed_type = DistributedType.FSDP
AcceleratorState.__init__ = opened
names = runpy.run_path(sys.argv[1], run_name="__main__")
kinds = sorted({type(weight).__name__ for weight in names["trainer"].model_wrapped.parameters()})
if os.environ.get("RANK", "0") == "0":
    open(sys.argv[2], "w").write(json.dumps(kinds))
"""
WEIGHTS = """
import sys
from transformers import AutoConfig, AutoModelForCausalLM, set_seed
set_seed(0)
AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(sys.argv[1])).save_pretrained(sys.argv[1])
"""
LOAD = """
import sys
from transformers import AutoModelForCausalLM
model, state = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
assert not state["missing_keys"] and not state["unexpected_keys"], state
print(sum(weight.float().pow(2).sum().item() for weight in model.parameters()))
"""
WAYS: dict[str, dict[str, Any]] = {
    "one process": {"gpus": 0, "batch": 4},
    "two processes": {"gpus": 2, "batch": 2},
    "two that share the weights": {"gpus": 2, "batch": 2, "sharded": True},
}


def python(*arguments: str, home: Path) -> str:
    environment = {**os.environ, **WORKER_ENVIRONMENT, "HF_HUB_OFFLINE": "1", "TRACKIO_DIR": str(home / "trackio")}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-30000:]
    return done.stdout


def trained(home: Path, **hardware: Any) -> tuple[Run, dict[str, Any], list[str]]:
    """Train all weights in the given way; return the run, its result, and the types of its weights."""
    run = run_of("sft", home, hardware={"adapter": "full", "epochs": 2.0, **hardware})
    run = run.record(write_script(run))
    driver, kinds = home / "on_cpu.py", home / f"{run.id}.json"
    driver.write_text(ON_CPU, encoding="utf-8")
    python(*launch_arguments(run.hardware), str(driver), str(run.folder / "train.py"), str(kinds), home=home)
    return run, json.loads((run.folder / "result.json").read_text(encoding="utf-8")), json.loads(kinds.read_text())


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Run, dict[str, Any], list[str]]]:
    home = tmp_path_factory.mktemp("launch")
    run_of("sft", home)  # writes the model's config
    python("-c", WEIGHTS, str(home / "model"), home=home)
    return {name: trained(home, **hardware) for name, hardware in WAYS.items()}


@pytest.mark.parametrize("name", ["two processes", "two that share the weights"])
def test_two_processes_both_take_part_and_train_as_one_does(
    ways: dict[str, tuple[Run, dict[str, Any], list[str]]], name: str, tmp_path: Path
) -> None:
    run, result, _ = ways[name]
    alone, before, _ = ways["one process"]
    assert (before["processes"], result["processes"]) == (1, 2)
    for number in ("steps", "tokens", "trained_tokens", "heldout_sha256"):
        assert result[number] == before[number]
    for loss in ("first_loss", "last_loss", "train_loss", "eval_loss"):
        assert result[loss] == pytest.approx(before[loss], rel=1e-3)
    norms = [float(python("-c", LOAD, str(r.folder / "checkpoint"), home=tmp_path)) for r in (run, alone)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_shared_weights_are_really_shared(ways: dict[str, tuple[Run, dict[str, Any], list[str]]]) -> None:
    assert {name: kinds for name, (_, _, kinds) in ways.items()} == {
        "one process": ["Parameter"],
        "two processes": ["Parameter"],
        "two that share the weights": ["DTensor"],
    }


def test_one_gpu_needs_no_launcher(tmp_path: Path) -> None:
    run = run_of("sft", tmp_path, hardware={"gpus": 1})
    assert launch_command("python", "train.py", run.hardware) == ["python", "train.py"]
    assert launch_command("python", "train.py", None) == ["python", "train.py"]
