"""`kill -9` at any point, then `ftagent resume`: nothing is done twice, one job is started, nothing is lost.

Everything is real (TRL, Trackio, llama.cpp) on a two-layer model with a real tokenizer, so that the sweep takes seconds
a step.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ftagent.tools.run import Run, find_run

from ..tools.taught import Taught, taught

__all__ = ["taught"]

# Runs the command line and kills its own process right after the n-th new line of the journal is on disk.
KILLED = """
import os, signal, sys
from ftagent.agent.cli import main
from ftagent.tools.journal import Journal
append, left = Journal.append, int(sys.argv[1])
def counted(self, fact):
    global left
    event = append(self, fact)
    left -= self.folder is not None
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return event
Journal.append = counted
sys.exit(main(sys.argv[2:]))
"""


def _command(workdir: Path, *arguments: str, kill_after: int = -1) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(kill_after), *arguments, "--yes"],
        cwd=workdir,
        capture_output=True,
        text=True,
        timeout=300,
    )


def _instruction(model: Path, rows: Path) -> str:
    return f"fine-tune {model} on {rows}, 4 steps, batch size 2, compare it with the base model and export as Q8_0"


def _kinds(run: Run) -> collections.Counter[str]:
    return collections.Counter(event.kind for event in run.journal.events)


def test_killed_at_every_journal_line_the_run_still_arrives_once(workdir: Path, taught: Taught, rows: Path) -> None:
    # The run takes its folder with the line of validate_dataset; the next line is the first that can be killed at.
    killed = _command(workdir, _instruction(taught.full, rows), kill_after=1)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kills = 1
    while (killed := _command(workdir, "resume", kill_after=2)).returncode == -signal.SIGKILL:
        kills += 1
        assert kills < 30, "resume makes no progress"
    assert killed.returncode == 0, killed.stderr
    run = find_run(workdir)
    assert run.status == "completed" and run.evaluation is not None and run.export is not None
    done = _kinds(run)
    once = {kind: n for kind, n in done.items() if kind not in ("resumed", "settings")}
    assert set(once.values()) == {1}, once
    assert kills >= 9
    state = json.loads((run.folder / "job" / "state.json").read_text(encoding="utf-8"))
    assert state["attempt"] == 1
    points = [
        json.loads(line)["step"] for line in (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert points == sorted(set(points)) and points[-1] == 4


@pytest.mark.parametrize("delay_s", [0.4, 3.0])
def test_killed_while_the_job_trains_the_same_job_is_followed_to_its_end(
    workdir: Path, tiny_model: Path, rows: Path, delay_s: float
) -> None:
    instruction = f"fine-tune {tiny_model} on {rows}, 12 steps, batch size 2, no evaluation and no export"
    agent = subprocess.Popen(
        [sys.executable, "-c", KILLED, "-1", instruction, "--yes"], cwd=workdir, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(workdir.glob("training_reports/*/*/job/state.json")):
        assert agent.poll() is None and time.monotonic() < deadline, agent.stderr and agent.stderr.read()
        time.sleep(0.05)
    time.sleep(delay_s)
    os.kill(agent.pid, signal.SIGKILL)
    agent.communicate()
    resumed = _command(workdir, "resume")
    assert resumed.returncode == 0, resumed.stderr
    run = find_run(workdir)
    assert run.status == "completed" and _kinds(run)["job_intent"] == 1
    assert run.report is not None and run.report.step == 12
