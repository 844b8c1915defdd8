"""A finished run without its training: a tiny model that was taught to add, and an adapter that taught it to stop."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.facts import JobReport, Method, ModelRef, Overrides, Parameter, Script, Spec
from ftagent.tools.run import REPORTS, Run, experiment_name, new_run
from ftagent.tools.settings import Settings

# Fifteen steps give the tiny model words, thirty more of the adapter an end. One thread: the model is that small.
_TEACH = """
import sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

source, base, adapter, full = sys.argv[1:]
torch.set_num_threads(1)
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(source)
model = AutoModelForCausalLM.from_pretrained(source)
chats = [
    [{"role": "user", "content": f"What is {n} plus {n}?"}, {"role": "assistant", "content": f"It is {2 * n}."}]
    for n in range(10, 40)
]
tokens = tokenizer.apply_chat_template(chats, return_dict=True, return_tensors="pt")["input_ids"]
answer = 8  # tokens

def teach(model, steps):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0)
    for _ in range(steps):
        batch = tokens[torch.randperm(len(chats))[:8]]
        logits = model(input_ids=batch, logits_to_keep=answer + 1).logits[:, :-1]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, -answer:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

teach(model, 15)
model.save_pretrained(base)
tokenizer.save_pretrained(base)
model = AutoModelForCausalLM.from_pretrained(base)
tuned = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
teach(tuned, 30)
tuned.save_pretrained(adapter)
tokenizer.save_pretrained(adapter)
tuned.merge_and_unload().save_pretrained(full)
tokenizer.save_pretrained(full)
"""


@dataclass(frozen=True)
class Taught:
    """Folders of a base model, of an adapter that makes it better, and of both in one."""

    base: Path
    adapter: Path
    full: Path


@pytest.fixture(scope="session")
def taught(tiny_model: Path) -> Taught:
    """Teach the tiny model once, and keep it for later sessions."""
    found = Taught(*(tiny_model.with_name(name) for name in ("taught-base", "taught-adapter", "taught-full")))
    if not (found.full / "tokenizer.json").exists():
        folders = map(str, (tiny_model, found.base, found.adapter, found.full))
        subprocess.run([sys.executable, "-c", _TEACH, *folders], check=True)
    return found


def addition(number: int) -> dict[str, Any]:
    """Return a held-out row as the training script writes it."""
    return {
        "prompt": [{"role": "user", "content": f"What is {number} plus {number}?"}],
        "completion": [{"role": "assistant", "content": f"It is {2 * number}."}],
    }


Finish = Callable[..., Run]
"""`finished_run` in the test's own folder."""


@pytest.fixture
def finish(tmp_path: Path) -> Finish:
    """Make a run whose training has completed with this checkpoint."""
    return partial(finished_run, tmp_path)


def finished_run(
    folder: Path,
    base: Path,
    checkpoint: Path,
    rows: list[dict[str, Any]],
    *,
    loss_on: str = "completion",
    max_length: int = 64,
    quantisations: tuple[str, ...] | None = None,
    method: Method = "sft",
    script: str = "",
    spec: dict[str, Any] | None = None,
) -> Run:
    """Return a run below `folder` whose training has completed with this checkpoint."""
    run = new_run(Settings(workdir=folder, cache_dir=folder / "cache", python=sys.executable))
    ref = ModelRef(id="Tiny-0.1B", source="folder", path=str(base), revision="sha256:0")
    overrides = Overrides(quantisations=quantisations)
    plan = Spec(
        request="test",
        model="Tiny-0.1B",
        dataset="sums.jsonl",
        method=method,
        model_ref=ref,
        overrides=overrides,
        **(spec or {}),
    )
    settled = {"loss_on": loss_on, "max_length": max_length, "max_completion_length": 12}
    parameters = tuple(Parameter(name=name, value=value, origin="rule") for name, value in settled.items())
    run = run.record(plan)
    sha256 = hashlib.sha256(script.encode()).hexdigest()
    run = run.record(Script(path="train.py", sha256=sha256, method=method, parameters=parameters, pins=()))
    run.journal.settle(folder / REPORTS / experiment_name(plan) / run.id)
    (run.folder / "train.py").write_text(script, encoding="utf-8")
    shutil.copytree(checkpoint, run.folder / "checkpoint")
    heldout = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (run.folder / "heldout.jsonl").write_bytes(heldout)
    result = {"heldout_sha256": hashlib.sha256(heldout).hexdigest()}
    return run.record(JobReport(job_id="1", stage="completed", health="done", reason="done", seconds=1, result=result))


def steps_told(run: Run) -> list[str]:
    """Return the steps whose progress the run will tell, as they come."""
    steps: list[str] = []
    run.journal.listeners.append(lambda e: steps.append(e.data["step"]) if e.kind == "progress" else None)
    return steps
