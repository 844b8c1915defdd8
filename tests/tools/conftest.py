"""A run with a proven, approved script, whatever that script does: what jobs and their monitoring are tested with."""

from __future__ import annotations

import hashlib
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from ftagent.tools.backends import local
from ftagent.tools.facts import (
    Approval,
    DatasetReport,
    HardwareChoice,
    Lengths,
    MemoryGib,
    Method,
    Parameter,
    PreflightReport,
    Quote,
    Range,
    Script,
    Spec,
)
from ftagent.tools.run import REPORTS, Run, experiment_name, new_run
from ftagent.tools.settings import Settings

Prove = Callable[..., Run]
"""`proven_run` in the test's own folder."""


@pytest.fixture
def prove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prove]:
    """Make runs; whatever jobs they start are ended after the test."""
    monkeypatch.setattr(local, "GRACE_S", 0.5)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    runs: list[Run] = []

    def make(train: str, **options: Any) -> Run:
        runs.append(proven_run(tmp_path, train, **options))
        return runs[-1]

    yield make
    for run in runs:
        local._end_processes(local._folder(run), up_to=99)


def proven_run(
    folder: Path,
    train: str,
    *,
    timeout_s: int = 30,
    usd_per_hour: float = 0.0,
    max_cost_usd: float | None = None,
    epochs: float = 1.0,
    parameters: tuple[Parameter, ...] = (),
    backend: Literal["local", "hf-jobs"] = "local",
    method: Method = "sft",
    cancel_hopeless: bool = True,
) -> Run:
    """Return a run below `folder` whose `train.py` is this text, proven and approved."""
    settings = Settings(
        workdir=folder, python=sys.executable, max_cost_usd=max_cost_usd, cancel_hopeless=cancel_hopeless
    )
    run = new_run(settings)
    spec = Spec(request="test", model="Tiny-0.1B", dataset="rows.jsonl", backend=backend, method=method)
    hardware = _hardware(timeout_s, usd_per_hour, epochs)
    if backend == "hf-jobs":
        hardware = hardware.model_copy(update={"flavor": "cpu-basic"})
    run = run.record(spec).record(_dataset()).record(hardware)
    run.journal.settle(folder / REPORTS / experiment_name(spec) / run.id)
    return prove_script(run, train, parameters)


def prove_script(run: Run, train: str, parameters: tuple[Parameter, ...] = ()) -> Run:
    """Write `train.py` and record it as written, proven and approved."""
    text = textwrap.dedent(train)
    (run.folder / "train.py").write_text(text, encoding="utf-8")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    run = run.record(Script(path="train.py", sha256=sha256, method="sft", parameters=parameters, pins=()))
    run = run.record(PreflightReport(script_sha256=sha256, ok=True, seconds=1, checks=(), log="preflight.log"))
    return approve_again(run)


def approve_again(run: Run) -> Run:
    """Record that the run's job may be started."""
    assert run.hardware is not None and run.spec is not None and run.script is not None
    quote = Quote(
        backend=run.spec.backend,
        flavor=run.hardware.flavor,
        script_sha256=run.script.sha256,
        hours=run.hardware.hours,
        cost_usd=run.hardware.cost_usd,
        reserve_usd=0,
        timeout_s=run.hardware.timeout_s,
    )
    return run.record(Approval(quote=quote, by="--yes"))


def _dataset() -> DatasetReport:
    return DatasetReport(
        verdict="ready",
        method="sft",
        subset=None,
        split="train",
        rows=10,
        mapping=None,
        trainer_columns=("messages",),
        lengths=Lengths(p50=1, p95=1, p99=1, max=1),
        max_length=64,
        truncated_share=0,
        duplicates=0,
        overlap=None,
    )


def _hardware(timeout_s: int, usd_per_hour: float, epochs: float) -> HardwareChoice:
    return HardwareChoice(
        flavor="cpu",
        adapter="lora",
        precision="fp32",
        batch=1,
        accumulation=1,
        max_length=64,
        checkpointing=False,
        memory_gib=MemoryGib(weights=1, gradients=1, optimizer=1, activations=1, logits=1, overhead=1, total=6),
        hours=Range(low=0.5, expected=1, high=2),
        cost_usd=Range(low=usd_per_hour / 2, expected=usd_per_hour, high=usd_per_hour * 2),
        timeout_s=timeout_s,
        tokens=640,
        tokens_per_s=100,
        epochs=epochs,
    )


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for a condition, and fail when it does not come true within 15 seconds."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.02)

    return wait
