"""Repairs of jobs that fail for real: TRL itself, on a tiny model, in the local backend's own processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.toolbox import Toolbox
from ftagent.tools.errors import BudgetExceeded, GateClosed
from ftagent.tools.facts import Failure, Job, JobReport, PreflightReport, Range, Repair, Resumed
from ftagent.tools.failures.ladder import MOST_REPAIRS, rungs_left
from ftagent.tools.failures.table import BY_NAME
from ftagent.tools.gates import next_tool
from ftagent.tools.jobs import hold_to_cap, make_quote
from ftagent.tools.metrics import Point, write_metrics
from ftagent.tools.repair import repair_run
from ftagent.tools.report import render
from ftagent.tools.run import Run, find_run, refold
from ftagent.tools.script import write_script

from .sabotage import FULL_ABOVE_TWO_ROWS, NOT_FINITE_AT_THE_STATED_RATE, OUT_OF_TOUCH_ONCE, write_sabotage
from .scripted import settled_run, write_chats, write_tiny_model

# The command line, killed right after the n-th new line of the journal is on disk; see tests/agent/test_resume.py.
KILLED = """
import os, signal, sys
from ftagent.agent.cli import main
from ftagent.tools.journal import Journal
append, left = Journal.append, int(sys.argv[1])
def counted(self, fact):
    global left
    event = append(self, fact)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return event
Journal.append = counted
sys.exit(main(sys.argv[2:]))
"""
WEIGHTS = """
import sys
from transformers import AutoConfig, AutoModelForCausalLM
AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(sys.argv[1])).save_pretrained(sys.argv[1])
"""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder with a model that has weights, and its chats."""
    model = write_tiny_model(tmp_path / "model")
    write_chats(tmp_path / "chats.jsonl")
    subprocess.run([sys.executable, "-c", WEIGHTS, str(model)], check=True, capture_output=True)
    return tmp_path


def sabotaged(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(folder / "trackio"))
    for name, value in write_sabotage(folder / "hook", body).items():
        monkeypatch.setenv(name, value)


def go_on(run: Run, *, until: str | None = None) -> Run:
    """Do what comes next, as the built-in planner does."""
    toolbox = Toolbox(run, decide=True)
    while (step := toolbox.expected()) is not None and step != until:
        toolbox.call(step, {})
    return toolbox.run


def kinds(run: Run) -> list[str]:
    return [event.kind for event in run.journal.events]


def value(run: Run, name: str) -> Any:
    assert run.script is not None
    return next(p.value for p in run.script.parameters if p.name == name)


# --- whole, with TRL --------------------------------------------------------------------------------------------------


def test_a_full_gpu_is_repaired_by_half_the_batch_and_the_run_completes(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotaged(real, monkeypatch, FULL_ABOVE_TWO_ROWS)
    run = go_on(settled_run(real))
    (repair,) = run.repairs
    assert (repair.failure.name, repair.rung) == ("cuda_memory", "smaller_batch")
    assert [(c.name, c.old, c.new) for c in repair.changes] == [("batch", 4, 2), ("accumulation", 1, 2)]
    assert any("CUDA out of memory. Tried to allocate 4.00 GiB" in line for line in repair.failure.evidence)
    assert run.report is not None and run.report.health == "done", run.report
    assert (value(run, "per_device_train_batch_size"), value(run, "gradient_accumulation_steps")) == (2, 2)
    once_more = ["repair_run", "write_script", "preflight", "approval", "job_intent", "submit_job", "monitor_job"]
    assert kinds(run)[-7:] == once_more
    assert run.attempts == 2 and run.report.result["steps"] == 9  # 36 rows, 4 a step: as it was planned
    report = render([run])
    assert "the batch is halved and accumulated twice as often" in report and "| `batch` | 4 | 2 |" in report


def test_a_broken_connection_is_answered_by_the_same_job_from_its_checkpoint(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotaged(real, monkeypatch, OUT_OF_TOUCH_ONCE.replace("FLAG", repr(str(real / "once"))))
    run = go_on(settled_run(real))
    (repair,) = run.repairs
    assert (repair.failure.name, repair.rung, repair.changes) == ("network", "again", ())
    assert run.report is not None and run.report.health == "done"
    assert run.report.result["resumed_from"] == 5 and "goes on from step 5" in repair.words
    assert kinds(run).count("write_script") == 1  # the script stays; it is proven and approved anew
    assert kinds(run).count("preflight") == kinds(run).count("approval") == 2


def test_a_loss_that_is_no_number_is_answered_by_half_the_learning_rate(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotaged(real, monkeypatch, NOT_FINITE_AT_THE_STATED_RATE)
    run = go_on(settled_run(real))
    (repair,) = run.repairs
    assert (repair.failure.name, repair.rung) == ("not_finite", "lower_learning_rate")
    assert value(run, "learning_rate") == pytest.approx(1.5e-4)
    assert run.report is not None and run.report.health == "done" and run.report.result["resumed_from"] is None
    assert (run.folder / "checkpoint-before-repair-1").is_dir()


def test_killed_at_every_line_of_a_repair_the_run_still_arrives_once(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotaged(real, monkeypatch, FULL_ABOVE_TWO_ROWS)
    run = go_on(settled_run(real), until="repair_run")
    run.journal.release()
    kills = 0
    while (ended := _resumed(real)).returncode == -signal.SIGKILL:
        kills += 1
        assert kills < 30, "resume makes no progress"
    assert ended.returncode == 0 and kills >= 6, ended.stderr
    run = find_run(real)
    assert run.status == "completed" and len(run.repairs) == 1
    counts = Counter(kinds(run))
    assert {counts[kind] for kind in ("write_script", "preflight", "approval", "job_intent", "submit_job")} == {2}


def _resumed(folder: Path) -> subprocess.CompletedProcess[str]:
    """Go on with the newest run, until the second new line of its journal."""
    command = [sys.executable, "-c", KILLED, "2", "resume", "--yes"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


# --- which repair, and which never ------------------------------------------------------------------------------------


@pytest.fixture
def failed(tmp_path: Path) -> Callable[..., Run]:
    """Make a run whose job ended as this class says; what differs from the usual run is given."""

    def make(name: str, *, stage: str = "failed", cost_usd: float = 0.0, **facts: Any) -> Run:
        write_tiny_model(tmp_path / "model")
        write_chats(tmp_path / "chats.jsonl")
        run = settled_run(tmp_path, **facts)
        run = run.record(write_script(run))
        return fail(run, name, stage=stage, cost_usd=cost_usd)

    return make


def fail(run: Run, name: str, *, stage: str = "failed", cost_usd: float = 0.0) -> Run:
    """Record a job that failed."""
    attempt = 1 + kinds(run).count("submit_job")
    entry = BY_NAME[name]
    assert run.script is not None
    sha256 = run.script.sha256
    run = run.record(PreflightReport(script_sha256=sha256, ok=True, seconds=1, checks=(), log="preflight.log"))
    job = Job(
        id=f"{run.id}-{attempt}",
        backend="local",
        flavor="local",
        label=run.id,
        attempt=attempt,
        script_sha256=sha256,
        submitted_at=datetime.now(UTC),
        timeout_s=3600,
        log="train.log",
    )
    failure = Failure(name=name, words=entry.words, evidence=("a line",), advice=entry.advice)
    report = JobReport(
        job_id=job.id,
        stage=stage,  # type: ignore[arg-type]
        health=entry.health,
        reason="test",
        seconds=600.0,
        cost_usd=cost_usd,
        failure=failure,
    )
    return run.record(job).record(report)


def repaired(run: Run) -> tuple[Run, Repair]:
    """Repair, and write the script again where it must be."""
    repair = repair_run(run)
    run = run.record(repair)
    if run.script is None:
        run = run.record(write_script(run))
    return run, repair


def test_what_the_person_stated_is_never_changed(failed: Callable[..., Run]) -> None:
    stated = {"per_device_train_batch_size": 4, "learning_rate": 1e-4}
    run = failed("cuda_memory", overrides=stated)
    assert rungs_left(run) == ("checkpointing",)
    assert rungs_left(fail(run, "not_finite")) == ()  # neither the rate nor a precision below fp32
    assert rungs_left(fail(run, "diverged")) == ()


def test_a_ladder_is_climbed_once_and_then_a_person_decides(failed: Callable[..., Run]) -> None:
    run = failed("cuda_memory")
    run, first = repaired(run)
    run, second = repaired(fail(run, "cuda_memory"))
    assert (first.rung, second.rung) == ("smaller_batch", "checkpointing")
    assert run.hardware is not None
    assert (run.hardware.batch, run.hardware.accumulation, run.hardware.checkpointing) == (2, 2, True)
    run = fail(run, "cuda_memory")
    assert rungs_left(run) == () and next_tool(run) is None
    with pytest.raises(GateClosed, match="no job failed for a reason that is known"):
        repair_run(run)
    assert "Decide: allow a shorter max_length" in render([run])


def test_no_run_is_repaired_more_than_three_times(failed: Callable[..., Run]) -> None:
    run = failed("network")
    for name in ("server_error", "rate_limited", "preempted"):
        run, _ = repaired(run)
        run = fail(run, name)
    assert len(run.repairs) == MOST_REPAIRS and rungs_left(run) == ()


def test_the_same_passing_failure_is_retried_once(failed: Callable[..., Run]) -> None:
    run, _ = repaired(failed("network"))
    assert rungs_left(fail(run, "network")) == ()


@pytest.mark.parametrize("name", ["missing_column", "chat_template", "payment", "gated", "wrong_argument"])
def test_what_only_a_person_can_mend_is_left_to_them(failed: Callable[..., Run], name: str) -> None:
    run = failed(name)
    assert next_tool(run) is None
    assert BY_NAME[name].advice in render([run]).replace("\\", "")


def test_a_version_that_drifted_since_has_the_script_written_anew(failed: Callable[..., Run]) -> None:
    run = failed("wrong_argument")
    assert run.script is not None
    old = run.script.model_copy(update={"pins": ("trl==0.9.6", *run.script.pins)})
    run, repair = repaired(fail(run.record(old), "wrong_argument"))
    assert repair.rung == "rewrite" and [(c.name, c.old) for c in repair.changes] == [("trl", "0.9.6")]


def test_a_script_that_was_edited_by_hand_is_not_written_anew(failed: Callable[..., Run]) -> None:
    run = failed("network")
    run = run.record(Resumed(script_sha256="e" * 64))
    assert rungs_left(fail(run, "cuda_memory")) == ()
    assert rungs_left(fail(run, "network")) == ("again",)


def test_a_timeout_gets_the_time_that_its_pace_asks_for(failed: Callable[..., Run]) -> None:
    run = failed("timeout", stage="timed_out", hardware={"timeout_s": 3600, "epochs": 1.0})
    saved = run.folder / "checkpoint" / "checkpoint-200"
    saved.mkdir(parents=True)
    (saved / "trainer_state.json").write_text("{}", encoding="utf-8")
    start = datetime.now(UTC).timestamp()
    points = [  # a step in 10 s; an epoch has 1000
        Point(
            step=s, time=datetime.fromtimestamp(start + 10 * s, UTC), values={"train/epoch": s / 1000, "train/loss": 1}
        )
        for s in range(1, 361)
    ]
    write_metrics(run.folder / "metrics.jsonl", points)
    repair = repair_run(run)
    assert repair.rung == "more_time" and repair.hardware is not None
    assert repair.hardware.timeout_s == 12_000  # 800 steps of 10 s, and half of that again
    assert "from step 200 of 1000" in repair.words
    run = fail(run.record(run.spec.model_copy(update={"max_hours": 2.0})), "timeout", stage="timed_out")  # type: ignore[union-attr]
    given_up = repair_run(run)
    assert given_up.rung is None and "of the allowed hours are left" in given_up.words
    assert next_tool(run.record(given_up)) is None


def test_the_script_itself_hears_of_the_longer_limit(failed: Callable[..., Run]) -> None:
    run = failed("timeout", stage="timed_out", hardware={"timeout_s": 3600, "epochs": 1.0})
    start = datetime.now(UTC).timestamp()
    points = [
        Point(step=s, time=datetime.fromtimestamp(start + 10 * s, UTC), values={"train/epoch": s / 1000})
        for s in range(1, 361)
    ]
    write_metrics(run.folder / "metrics.jsonl", points)
    run, repair = repaired(run)
    assert (repair.rung, repair.starts_anew) == ("more_time", False)
    assert {"TIMEOUT_S = 15000", "START = 1"} <= set((run.folder / "train.py").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("name", ["not_finite", "broken_checkpoint"])
def test_what_starts_anew_says_so_in_its_script(failed: Callable[..., Run], name: str) -> None:
    run, repair = repaired(failed(name))
    assert repair.starts_anew
    assert "\nSTART = 2\n" in (run.folder / "train.py").read_text(encoding="utf-8")
    run, again = repaired(fail(run, "network"))
    assert not again.starts_anew
    assert "\nSTART = 2\n" in (run.folder / "train.py").read_text(encoding="utf-8")


def test_a_timeout_before_the_first_steps_is_no_reason_to_pay_more(failed: Callable[..., Run]) -> None:
    repair = repair_run(failed("timeout", stage="timed_out"))
    assert repair.rung is None and "more time would be a guess" in repair.words


def test_a_full_disk_keeps_fewer_checkpoints_once(failed: Callable[..., Run]) -> None:
    run, repair = repaired(failed("disk_full"))
    assert [(c.name, c.old, c.new) for c in repair.changes] == [("save_total_limit", 2, 1)]
    assert "SAVE_TOTAL_LIMIT = 1\n" in (run.folder / "train.py").read_text(encoding="utf-8")
    assert rungs_left(fail(run, "disk_full")) == ()


def test_what_a_planner_set_and_an_earlier_repair_changed_stays(failed: Callable[..., Run]) -> None:
    run = failed("network")
    run = run.record(write_script(run, overrides={"r": 8, "learning_rate": 4e-4}))
    run, _ = repaired(fail(run, "not_finite"))
    run, _ = repaired(fail(run, "cuda_memory"))
    assert (value(run, "r"), value(run, "learning_rate"), value(run, "per_device_train_batch_size")) == (8, 2e-4, 2)


def test_a_repair_is_paid_from_the_same_cap(failed: Callable[..., Run]) -> None:
    two_usd_per_hour = {"cost_usd": Range(low=0.02, expected=0.04, high=0.08)}  # for 0.02 hours
    run = failed("network", cost_usd=1.0, spec={"budget_usd": 2.5}, hardware=two_usd_per_hour)
    run, _ = repaired(run)
    assert run.cost_usd == 1.0 and run.approval is None
    with pytest.raises(BudgetExceeded, match=r"could cost \$2.00 on top of \$1.00 spent; the cap is \$2.50"):
        hold_to_cap(run, make_quote(run))


def test_a_failure_that_has_a_repair_is_not_forgotten_on_resume(failed: Callable[..., Run]) -> None:
    run = failed("network")
    assert run.script is not None
    run = run.record(Resumed(script_sha256=run.script.sha256, keeps_failure=True))
    assert next_tool(refold(run.journal)) == "repair_run"
    edited = run.record(Resumed(script_sha256="e" * 64, keeps_failure=True))
    assert next_tool(edited) == "preflight"  # somebody mended it themselves


def test_where_no_smaller_batch_is_left_the_next_larger_flavor_is_taken(failed: Callable[..., Run]) -> None:
    small = {"flavor": "t4-small", "precision": "fp16", "batch": 1, "accumulation": 4, "checkpointing": True, "gpus": 1}
    run, repair = repaired(failed("cuda_memory", spec={"backend": "hf-jobs"}, hardware=small))
    assert repair.rung == "larger_flavor" and run.hardware is not None
    assert [(c.name, c.old) for c in repair.changes] == [("flavor", "t4-small"), ("precision", "fp16")]
    assert run.hardware.gpus == 1 and run.hardware.batch * run.hardware.accumulation == 4
    assert repair.cost_usd is not None and repair.cost_usd.expected > 0
    assert rungs_left(fail(run, "cuda_memory")) == ()


def test_a_flavor_that_breaks_the_budget_is_no_repair(failed: Callable[..., Run]) -> None:
    small = {"flavor": "t4-small", "precision": "fp16", "batch": 1, "checkpointing": True, "gpus": 1}
    run = failed("cuda_memory", spec={"backend": "hf-jobs", "budget_usd": 0.0001}, hardware=small)
    repair = repair_run(run)
    assert repair.rung is None and "no flavor with more memory than `t4-small` stays within the limits" in repair.words


def test_a_machine_s_memory_beside_a_gpu_is_not_mended_by_a_smaller_batch(failed: Callable[..., Run]) -> None:
    small = {"flavor": "t4-small", "precision": "fp16", "gpus": 1}
    assert rungs_left(failed("host_memory", spec={"backend": "hf-jobs"}, hardware=small)) == ("larger_flavor",)
