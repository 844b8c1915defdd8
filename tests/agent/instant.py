"""Instant tools: each settles its fact at once, so that loop, rails and faces are tested in milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from ftagent.agent import signatures
from ftagent.tools.facts import (
    Comparison,
    DatasetReport,
    Evaluation,
    Export,
    GgufFile,
    GgufProof,
    HardwareChoice,
    Holdout,
    Job,
    JobIntent,
    JobReport,
    Lengths,
    MemoryGib,
    PreflightReport,
    Range,
    Sample,
    Script,
    Spec,
)
from ftagent.tools.gates import require
from ftagent.tools.plan import plan_run as read_plan
from ftagent.tools.run import Run

REQUEST = "fine-tune Tiny-1M on rows.jsonl, compare it with the base and export it to GGUF"
SHA = "a" * 64


def plan_run(run: Run, request: str, *, model: str | None = None, offline: bool = False) -> Spec:
    """Plan at once.

    Args:
        run: The run.
        request: The user's words.
        model: The model.
        offline: Of no meaning here: nothing is ever looked up.
    """
    del offline
    return read_plan(run, request, model=model, offline=True)


def validate_dataset(run: Run, *, max_length: int | None = None) -> DatasetReport:
    """Validate at once.

    Args:
        run: The run.
        max_length: Longest row in tokens.
    """
    require("validate_dataset", run)
    return DatasetReport(
        verdict="ready",
        method="sft",
        subset=None,
        split="train",
        rows=100,
        mapping=None,
        trainer_columns=("messages",),
        lengths=Lengths(p50=50, p95=90, p99=99, max=100),
        max_length=max_length or 128,
        truncated_share=0.0,
        duplicates=0,
        overlap=None,
        holdout=Holdout(function="split_by_seed", rows=10, reason="10 % by seed 42"),
        train_tokens=5000,
        trained_tokens=1000,
        loss_on="assistant",
        proof="TRL took one step.",
        fingerprint="sha256:0123456789abcdef",
    )


def pick_hardware(run: Run, *, batch: int | None = None) -> HardwareChoice:
    """Pick at once.

    Args:
        run: The run.
        batch: Rows a step.
    """
    require("pick_hardware", run)
    memory = MemoryGib(weights=0.5, gradients=0.1, optimizer=0.1, activations=0.2, logits=0.1, overhead=0.5, total=1.5)
    return HardwareChoice(
        flavor="local",
        adapter="lora",
        precision="fp32",
        batch=batch or 4,
        accumulation=1,
        max_length=128,
        checkpointing=False,
        memory_gib=memory,
        hours=Range(low=0.01, expected=0.02, high=0.03),
        cost_usd=Range(low=0.0, expected=0.0, high=0.0),
        timeout_s=1800,
        tokens=5000,
        tokens_per_s=150.0,
        epochs=1.0,
    )


def write_script(run: Run) -> Script:
    """Write at once.

    Args:
        run: The run.
    """
    require("write_script", run)
    source = b"print('train')\n"
    (run.folder / "train.py").write_bytes(source)
    return Script(path="train.py", sha256=hashlib.sha256(source).hexdigest(), method="sft", parameters=(), pins=())


def _hash(run: Run) -> str:
    assert run.script is not None
    return run.script.sha256


def preflight(run: Run) -> PreflightReport:
    """Prove at once.

    Args:
        run: The run.
    """
    require("preflight", run)
    return PreflightReport(script_sha256=_hash(run), ok=True, seconds=1.0, checks=(), log="preflight.log")


def submit_job(run: Run) -> Job:
    """Submit at once.

    Args:
        run: The run.
    """
    require("submit_job", run)
    attempt = run.attempts + 1
    run.record(JobIntent(backend="local", label=run.id, attempt=attempt, script_sha256=_hash(run), timeout_s=1800))
    return Job(
        id="job-1",
        backend="local",
        flavor="local",
        label=run.id,
        attempt=attempt,
        script_sha256=_hash(run),
        submitted_at=datetime.now(UTC),
        timeout_s=1800,
        log="train.log",
    )


def monitor_job(run: Run) -> JobReport:
    """Follow at once.

    Args:
        run: The run.
    """
    require("monitor_job", run)
    return JobReport(
        job_id="job-1",
        stage="completed",
        health="done",
        reason="exit code 0",
        seconds=60.0,
        step=25,
        first_loss=3.0,
        last_loss=1.0,
        tokens_per_s=140.0,
        peak_memory_gib=1.6,
        exit_code=0,
    )


def evaluate_model(run: Run) -> Evaluation:
    """Compare at once.

    Args:
        run: The run.
    """
    require("evaluate_model", run)
    items = run.folder / "eval" / "heldout_items.jsonl"
    items.parent.mkdir(exist_ok=True)
    items.write_text('{"row": 0, "base_loss": 3.0, "tuned_loss": 1.0}\n', encoding="utf-8")
    return Evaluation(
        comparisons=(
            Comparison(
                metric="held-out loss",
                items=10,
                higher_is_better=False,
                base=3.0,
                tuned=1.0,
                difference=-2.0,
                ci95=(-2.5, -1.5),
                test="Wilcoxon signed-rank",
                p_value=0.002,
                verdict="better",
                file="eval/heldout_items.jsonl",
            ),
        ),
        files={"eval/heldout_items.jsonl": hashlib.sha256(items.read_bytes()).hexdigest()},
        samples=(Sample(prompt="What | is `this`?", reference="A\ntest", base="?", tuned="A test"),),
        items="eval/heldout_items.jsonl",
        checkpoint="checkpoint",
        seconds=5.0,
        harness="mean NLL per row",
    )


def export_gguf(run: Run) -> Export:
    """Export at once.

    Args:
        run: The run.
    """
    require("export_gguf", run)
    proof = GgufProof(loads=True, answer="A test.", stops_at_eos=True, template_matches=True, tokens_per_s=100.0)
    file = GgufFile(quantisation="Q4_K_M", path="gguf/x-Q4_K_M.gguf", size_bytes=10**8, sha256=SHA, proof=proof)
    run.record(file)
    return Export(files=(file,), merged="gguf/merged", seconds=3.0)


INSTANT: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        plan_run,
        validate_dataset,
        pick_hardware,
        write_script,
        preflight,
        submit_job,
        monitor_job,
        evaluate_model,
        export_gguf,
    )
}


def install(monkeypatch: pytest.MonkeyPatch, **replaced: Callable[..., Any]) -> None:
    """Let the toolbox find instant tools, and `replaced` ones in their place."""
    table = INSTANT | replaced
    monkeypatch.setattr(signatures, "find_tool", lambda name: table.get(name) or real(name))
    signatures.tool_info.cache_clear()


real = signatures.find_tool


@pytest.fixture(autouse=True)
def instant_tools(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install them for one test."""
    install(monkeypatch)
    yield
    signatures.tool_info.cache_clear()
