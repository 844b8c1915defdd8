from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from ftagent.tools import monitor, rules
from ftagent.tools.backends.local import LocalBackend
from ftagent.tools.facts import Job, JobReport, Parameter
from ftagent.tools.jobs import submit_job
from ftagent.tools.journal import Event
from ftagent.tools.metrics import read_metrics
from ftagent.tools.monitor import monitor_job
from ftagent.tools.report import render
from ftagent.tools.run import Run, refold

# What `train.py` leaves behind when it has trained.
SAVE = """
import json, pathlib
pathlib.Path("checkpoint").mkdir(exist_ok=True)
pathlib.Path("checkpoint/adapter_model.safetensors").write_bytes(b"weights")
pathlib.Path("result.json").write_text(json.dumps({"train_loss": 1.0}))
"""


def logs(run_values: str) -> str:
    """A script that logs to the real trackio as `TrackioCallback` does; `run_values` yields step and values."""
    return f"""
import pathlib, time, trackio
run = pathlib.Path.cwd()
trackio.init(project=run.parent.name, name=run.name, resume="allow")
for step, values in {run_values}:
    trackio.log({{**values, "train/global_step": step}})
    print("step", step, flush=True)
    time.sleep(0.1)
trackio.finish()
"""


FALLING = logs(
    "((s, {'train/loss': 3.0 / s, 'train/epoch': s / 20, 'train/num_tokens': 100.0 * s}) for s in range(1, 21))"
)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "POLL_S", 0.1)


def submitted(run: Run) -> tuple[Run, list[Event]]:
    """Submit, and hear what is told from now on."""
    job = submit_job(run)
    run = refold(run.journal).record(job)
    heard: list[Event] = []
    run.journal.listeners.append(heard.append)
    return run, heard


def told(heard: list[Event], kind: str) -> list[dict[str, Any]]:
    return [event.data for event in heard if event.kind == kind]


def followed(run: Run) -> JobReport:
    return monitor_job(submitted(run)[0])


def test_a_training_that_ends_well_is_done_with_its_numbers(prove: Callable[..., Run]) -> None:
    run, heard = submitted(prove(FALLING + SAVE))
    report = monitor_job(run)

    assert (report.stage, report.health, report.exit_code) == ("completed", "done", 0)
    assert report.step == 20
    assert report.first_loss == pytest.approx((3 / 1 + 3 / 2) / 2)  # the first tenth, and the last
    assert report.last_loss == pytest.approx((3 / 19 + 3 / 20) / 2)
    assert report.result == {"train_loss": 1.0}
    assert report.tokens_per_s is not None
    assert 100 < report.tokens_per_s < 1500  # 100 tokens in 0.1 s and what trackio takes
    assert [p.step for p in read_metrics(run.folder / "metrics.jsonl")] == list(range(1, 21))
    assert (run.folder / "loss.png").read_bytes().startswith(b"\x89PNG")

    progress = told(heard, "progress")
    assert progress[0]["step"] is None  # told before the first step: nobody stares at nothing
    assert {p["total_steps"] for p in progress if p["step"]} == {20}
    steps = [p["step"] for p in progress if p["step"]]
    assert steps == sorted(set(steps))
    assert progress[-1]["fraction"] == 1.0
    assert progress[-1]["losses"][-1] == 0.15
    assert progress[-1]["seconds_left"] == 0


def test_seconds_left_follow_from_the_pace(prove: Callable[..., Run]) -> None:
    run, heard = submitted(prove(FALLING + SAVE, parameters=(Parameter(name="max_steps", value=40, origin="stated"),)))
    monitor_job(run)
    last = told(heard, "progress")[-1]
    assert (last["step"], last["total_steps"], last["fraction"]) == (20, 40, 0.5)
    assert 1.5 < last["seconds_left"] < 15  # 20 steps of 0.1 s and what trackio takes


def test_a_job_that_still_loads_gives_a_sign_of_life_with_its_last_line(
    prove: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "HEARTBEAT_S", 0.3)
    run, heard = submitted(prove("import time; print('loading weights', flush=True); time.sleep(30)"))
    report = monitor_job(run, wait_s=1.5)
    assert (report.stage, report.health) == ("running", "healthy")
    assert 2 <= len(told(heard, "progress")) <= 6
    assert told(heard, "progress")[-1]["text"] == "loading weights"


def test_a_nan_loss_ends_the_job_as_diverged(prove: Callable[..., Run]) -> None:
    script = logs("((s, {'train/loss': 1.0 if s < 4 else float('nan')}) for s in range(1, 1000))")
    run, heard = submitted(prove(script))
    report = monitor_job(run)
    assert (report.stage, report.health) == ("failed", "diverged")
    assert report.reason == "train/loss is NaN or infinite at step 4"
    assert [alert.rule for alert in report.alerts] == ["loss_not_finite"]
    assert report.last_loss == 1.0
    assert told(heard, "alert") == [report.alerts[0].model_dump()]
    line = (run.folder / "metrics.jsonl").read_text().splitlines()[3]
    assert json.loads(line)["train/loss"] is None
    assert monitor_job(run) == report


def test_a_person_may_let_a_hopeless_job_go_on(prove: Callable[..., Run]) -> None:
    script = logs("((s, {'train/loss': float('nan') if s == 2 else 1.0}) for s in range(1, 9))")
    run, heard = submitted(prove(script + SAVE, cancel_hopeless=False))
    report = monitor_job(run)
    assert (report.stage, report.health, report.step) == ("completed", "done", 8)
    assert [alert["rule"] for alert in told(heard, "alert")] == ["loss_not_finite"]


def test_what_leads_grpo_is_its_reward(prove: Callable[..., Run]) -> None:
    values = "((s, {'train/loss': 0.0, 'train/reward': s / 10, 'train/learning_rate': 1e-6}) for s in range(1, 11))"
    run, heard = submitted(prove(logs(values) + SAVE, method="grpo"))
    report = monitor_job(run)
    assert report.course is not None
    assert (report.course.label, report.course.first, report.course.last) == ("reward", 0.1, 1.0)
    last = told(heard, "progress")[-1]
    assert (last["leading"], last["value"], last["values"][-2:]) == ("reward", 1.0, [0.9, 1.0])
    assert (last["loss"], last["learning_rate"], last["cost_usd"]) == (0.0, 1e-6, 0.0)
    assert "Training reward 0.1 → 1 over 10 steps" in render([run.record(report)])


def test_without_trackio_the_log_itself_is_read(prove: Callable[..., Run]) -> None:
    run = prove("import time\nfor i in range(3): print({'loss': f'{3 - i}'}, flush=True); time.sleep(0.3)\n" + SAVE)
    report = followed(run)
    assert (report.health, report.first_loss, report.last_loss, report.step) == ("done", 3.0, 1.0, 3)
    assert all(p.time for p in read_metrics(run.folder / "metrics.jsonl"))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "wrote no result.json"),
        ("open('result.json', 'w').write('{}')", "checkpoint/ holds no weights"),
    ],
)
def test_exit_code_0_alone_is_not_believed(prove: Callable[..., Run], script: str, reason: str) -> None:
    report = followed(prove(script))
    assert (report.stage, report.health) == ("failed", "failed")
    assert reason in report.reason


def test_the_result_of_an_earlier_attempt_is_not_believed(prove: Callable[..., Run]) -> None:
    run = prove("import pathlib\nif not pathlib.Path('result.json').exists():\n" + SAVE.replace("\n", "\n    "))
    run, _ = submitted(run)
    first = monitor_job(run)
    assert first.health == "done"
    second = followed(run.record(first))
    assert second.reason == "the script ended without an error, but wrote no result.json"


@pytest.mark.parametrize(
    ("script", "health", "reason"),
    [
        ("print('{}'); {}['no such column']\n", "failed", "KeyError: 'no such column'"),
        (
            "import sys, atexit; atexit.register(print, '* trackio is done'); raise ValueError('two\\nlines')",
            "failed",
            "ValueError: two",
        ),
        ("raise MemoryError", "out_of_memory", "MemoryError"),
        (
            "raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: you tried to allocate 9 bytes')",
            "out_of_memory",
            "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
        ),
        (
            "class OutOfMemoryError(RuntimeError): __module__ = 'torch'\nraise OutOfMemoryError('CUDA out of memory.')",
            "out_of_memory",
            "torch.OutOfMemoryError: CUDA out of memory.",
        ),
        ("print('no config'); raise SystemExit(2)", "failed", "exit code 2; its last line: no config"),
        ("import os; os.abort()", "failed", "killed by SIGABRT"),
    ],
)
def test_a_failure_is_explained_by_what_the_script_said(
    prove: Callable[..., Run], script: str, health: str, reason: str
) -> None:
    report = followed(prove(script))
    assert (report.stage, report.health, report.reason) == ("failed", health, reason)


def test_a_job_past_its_timeout_is_timed_out(prove: Callable[..., Run]) -> None:
    report = followed(prove("import time; time.sleep(60)", timeout_s=1))
    assert (report.stage, report.health) == ("timed_out", "timed_out")
    assert report.reason == "it ran longer than its limit of 1 s"


def test_an_interruption_leaves_the_job_running(prove: Callable[..., Run]) -> None:
    run, _ = submitted(prove("import time; time.sleep(2)\n" + SAVE))
    threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        monitor_job(run)
    assert monitor_job(run).health == "done"


def test_a_watcher_that_comes_back_neither_loses_nor_repeats_points(prove: Callable[..., Run]) -> None:
    run, _ = submitted(prove(FALLING + SAVE))
    metrics = run.folder / "metrics.jsonl"
    while not read_metrics(metrics):
        monitor_job(run, wait_s=0.5)
    assert monitor_job(run).health == "done"
    assert [p.step for p in read_metrics(metrics)] == list(range(1, 21))

    for store in (run.settings.workdir / "trackio").glob("*.db"):
        store.unlink()
    assert monitor_job(run).step == 20
    assert [p.step for p in read_metrics(metrics)] == list(range(1, 21))


def test_an_earlier_attempts_nan_does_not_end_the_next_one(prove: Callable[..., Run]) -> None:
    script = logs(
        "((s, {'train/loss': 1.0 if run.joinpath('second').exists() else float('nan')}) for s in range(1, 4))"
    )
    run, _ = submitted(prove(script + "run.joinpath('second').touch()\n" + SAVE))
    first = monitor_job(run)
    assert first.health == "diverged"
    (run.folder / "second").touch()
    second = followed(run.record(first))
    assert (second.health, second.first_loss, second.alerts) == ("done", 1.0, ())


def test_a_script_whose_supervisor_was_killed_does_not_go_on_unseen(prove: Callable[..., Run], until: Any) -> None:
    run, _ = submitted(prove("import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"))
    until(lambda: (run.folder / "pid").exists() and (run.folder / "pid").read_text())
    state = json.loads((run.folder / "job" / "state.json").read_text())
    os.kill(state["pid"], signal.SIGKILL)
    report = monitor_job(run)
    assert report.stage == "failed"
    assert "supervisor is gone" in report.reason
    script = int((run.folder / "pid").read_text())
    assert not psutil.pid_exists(script) or psutil.Process(script).status() == psutil.STATUS_ZOMBIE


def test_a_stalled_job_is_told_and_goes_on(prove: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = [
        rules.Rule(
            name="stalled",
            level="warn",
            health="stalled",
            test=lambda watched: rules.has_stalled(watched, factor=1, least_s=1),
            holds_at_end=False,
        )
    ]
    monkeypatch.setattr(monitor, "RULES", quick)
    script = logs("((s, {'train/loss': 1.0}) for s in range(1, 6))") + "time.sleep(2)\n" + SAVE
    run, heard = submitted(prove(script))
    stalled = None
    deadline = time.monotonic() + 15
    while stalled is None and time.monotonic() < deadline:
        report = monitor_job(run, wait_s=0.2)
        stalled = report if report.health == "stalled" else None
    assert stalled is not None
    assert stalled.stage == "running"
    assert told(heard, "alert")
    assert monitor_job(run).health == "done"


def test_the_job_of_another_time_is_said_to_be_lost(prove: Callable[..., Run]) -> None:
    run, _ = submitted(prove(""))
    assert run.job is not None
    other: Job = run.job.model_copy(update={"attempt": 7})
    state = LocalBackend().status(run, other)
    assert state.stage == "failed"
    assert "no longer tells of this job" in state.reason
