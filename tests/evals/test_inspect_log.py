"""Inspect itself reads the log: it is installed for this in an environment of its own, since it is no dependency."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ftagent.evals.evidence import Ended, Entry, Evidence
from ftagent.evals.inspect_log import write_inspect_log
from ftagent.evals.judge import Choice, Verdict
from ftagent.evals.scenario import Scenario
from ftagent.evals.scoreboard import make_scoreboard

INSPECT = "inspect-ai==0.3.285"
READ = """
import json, sys
from inspect_ai.log import list_eval_logs, read_eval_log
(info,) = list_eval_logs(sys.argv[1])
log = read_eval_log(info)
sample = log.samples[0]
print(json.dumps({
    "status": log.status, "model": log.eval.model,
    "scores": {s.name: s.metrics["mean"].value for s in log.results.scores},
    "id": sample.id, "input": sample.input, "explanation": sample.scores["passed"].explanation,
    "answer": sample.output.completion, "events": [event.source for event in sample.events],
    "tokens": log.stats.model_usage[log.eval.model].total_tokens,
}))
"""


def _verdict() -> Verdict:
    plan = Entry(run="r", act=0, at=datetime(2026, 1, 1, tzinfo=UTC), kind="plan_run", data={"model": "M" * 5000})
    evidence = Evidence(
        ended=(Ended(ending="stops", said="Which one?"),), entries=(plan,), prompt_tokens=100, completion_tokens=7
    )
    return Verdict(
        id="vague/no_data",
        category="vague",
        kind="mechanical",
        arrived=True,
        choices=(Choice(what="says `dataset`", right=False, found="Which one?"),),
        forbidden=("outside: x",),
        evidence=evidence,
    )


@pytest.mark.slow
def test_inspect_reads_what_is_written(tmp_path: Path) -> None:
    scenario = Scenario.model_validate({"name": "no_data", "category": "vague", "say": "fine-tune it", "ends": "stops"})
    board = make_scoreboard("builtin", [_verdict()], at="2026-01-01T00:00:00+00:00", version="1")
    write_inspect_log(tmp_path / "logs", board, [scenario])
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", INSPECT], check=True)
    read = subprocess.run([str(python), "-c", READ, str(tmp_path / "logs")], capture_output=True, text=True, check=True)
    assert json.loads(read.stdout.splitlines()[-1]) == {
        "status": "success",
        "model": "ftagent/builtin",
        "scores": {"passed": 0.0, "arrived": 1.0, "right_choices": 0.0, "forbidden_acts": 1.0},
        "id": "vague/no_data",
        "input": "fine-tune it",
        "explanation": "ended as stops: Which one?\nsays `dataset`; found Which one?\noutside: x",
        "answer": "Which one?",
        "events": ["journal: plan_run"],
        "tokens": 107,
    }
