"""The scoreboard as a log of Inspect (https://inspect.aisi.org.uk), so that `inspect view` shows it.

Inspect itself is not among the dependencies: with S3, a terminal toolkit and a debugger it brings thirty packages and
160 MB, and the file system library that it pins is another one than `constraints.txt` has. Its log is one JSON file
(`inspect_ai/log/_log.py`, `EvalLog`, version 2), written here and read by Inspect in `tests/evals/test_inspect_log.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .evidence import Entry
from .judge import Verdict
from .scenario import Scenario
from .scoreboard import Scoreboard

TASK = "ftagent"
SCORERS = ("passed", "arrived", "right_choices", "forbidden_acts")
TOLD_CHARS = 2000
"""Of a journal entry; the whole one is in the scoreboard's JSON."""


def write_inspect_log(folder: Path, board: Scoreboard, scenarios: Sequence[Scenario]) -> Path:
    """Write one log into `folder`, under a name as Inspect gives them, and return its path."""
    run_id = hashlib.sha256(f"{board.planner} {board.at}".encode()).hexdigest()[:22]
    file = folder / f"{board.at.replace(':', '-')}_{TASK}_{run_id}.json"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(as_inspect_log(board, scenarios, run_id), ensure_ascii=False), encoding="utf-8")
    return file


def as_inspect_log(board: Scoreboard, scenarios: Sequence[Scenario], run_id: str) -> dict[str, Any]:
    """Return the log as data."""
    model = f"ftagent/{board.planner}"
    count = len(board.verdicts)
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": run_id,
            "run_id": run_id,
            "created": board.at,
            "task": TASK,
            "task_id": run_id,
            "task_version": board.version,
            "model": model,
            "dataset": {"name": "scenarios", "samples": count, "sample_ids": [v.id for v in board.verdicts]},
            "config": {"epochs": 1},
            "packages": {"ftagent": board.version},
        },
        "plan": {"name": "plan", "steps": [{"solver": board.planner, "params": {}}]},
        "results": {
            "total_samples": count,
            "completed_samples": count,
            "scores": [_score(name, board) for name in SCORERS],
        },
        "stats": {"started_at": board.at, "completed_at": board.at, "model_usage": {model: _usage(board.verdicts)}},
        "samples": [_sample(verdict, s, model) for verdict, s in zip(board.verdicts, scenarios, strict=True)],
    }


def _score(name: str, board: Scoreboard) -> dict[str, Any]:
    values = [_values(verdict)[name] for verdict in board.verdicts]
    mean = sum(values) / max(1, len(values))
    return {"name": name, "scorer": name, "metrics": {"mean": {"name": "mean", "value": mean}}}


def _values(verdict: Verdict) -> dict[str, float]:
    return {
        "passed": float(verdict.passed),
        "arrived": float(verdict.arrived),
        "right_choices": verdict.right / len(verdict.choices) if verdict.choices else 1.0,
        "forbidden_acts": float(len(verdict.forbidden)),
    }


def _usage(verdicts: Sequence[Verdict]) -> dict[str, int]:
    read = sum(verdict.evidence.prompt_tokens for verdict in verdicts)
    written = sum(verdict.evidence.completion_tokens for verdict in verdicts)
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}


def _sample(verdict: Verdict, scenario: Scenario, model: str) -> dict[str, Any]:
    asked = "\n".join(act.run or f"({'resume' if act.resume else f'edit {act.edit}'})" for act in scenario.acts)
    said = verdict.evidence.ended[-1] if verdict.evidence.ended else None
    wrong = [f"{choice.what}; found {choice.found}" for choice in verdict.choices if not choice.right]
    why = "\n".join([*([f"ended as {said.ending}: {said.said}"] if said else []), *wrong, *verdict.forbidden])
    answer = {"role": "assistant", "content": said.said if said else "", "source": "generate", "model": model}
    return {
        "id": verdict.id,
        "epoch": 1,
        "input": asked,
        "target": " or ".join(scenario.ends),
        "messages": [{"role": "user", "content": asked, "source": "input"}, answer],
        "output": {"model": model, "choices": [{"message": answer, "stop_reason": "stop"}]},
        "scores": {name: {"value": value, "explanation": why} for name, value in _values(verdict).items()},
        "metadata": {
            "category": verdict.category,
            "kind": verdict.kind,
            "steps": verdict.evidence.steps,
            "cpu_seconds": verdict.evidence.cpu_seconds,
        },
        "events": [_event(entry) for entry in verdict.evidence.entries],
        "model_usage": {model: _usage([verdict])},
        "total_time": verdict.evidence.seconds,
    }


def _event(entry: Entry) -> dict[str, Any]:
    told = json.dumps(entry.data, ensure_ascii=False)
    data = entry.data if len(told) <= TOLD_CHARS else told[:TOLD_CHARS] + " …"
    return {
        "event": "info",
        "timestamp": entry.at.isoformat(),
        "working_start": 0.0,
        "source": f"journal: {entry.kind}",
        "data": data,
    }
