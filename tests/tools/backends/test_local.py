from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from ftagent.tools.backends import JobState, local
from ftagent.tools.backends.local import LocalBackend
from ftagent.tools.errors import UserError
from ftagent.tools.facts import TERMINAL_STAGES, Job, JobIntent
from ftagent.tools.run import Run, open_run

Until = Callable[[Callable[[], object]], None]

BACKEND = LocalBackend()

TELL_PID = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid()))\n"
SLEEP = TELL_PID + "time.sleep(60)\n"
COUNT_STARTS = "open('starts', 'a').write('x')\n"


def intend(run: Run, attempt: int = 1, timeout_s: int = 30) -> JobIntent:
    assert run.script is not None
    return JobIntent(
        backend="local", label=run.id, attempt=attempt, script_sha256=run.script.sha256, timeout_s=timeout_s
    )


def start(run: Run, **intent: Any) -> Job:
    return BACKEND.submit(run, intend(run, **intent))


def wait(run: Run, job: Job) -> JobState:
    deadline = time.monotonic() + 15
    while (state := BACKEND.status(run, job)).stage not in TERMINAL_STAGES:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return state


def told_pid(run: Run, name: str = "pid") -> int:
    file = run.folder / name
    deadline = time.monotonic() + 15
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(file.read_text())


def record(run: Run) -> dict[str, Any]:
    return json.loads((run.folder / "job" / "state.json").read_text())


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_job_runs_in_the_runs_folder_and_its_output_is_the_log(prove: Callable[..., Run]) -> None:
    run = prove("import pathlib, sys; print(pathlib.Path.cwd().name); print('a word', file=sys.stderr)")
    job = start(run)
    state = wait(run, job)
    assert (state.stage, state.exit_code, state.reason) == ("completed", 0, "")
    assert BACKEND.log_tail(run, job, 10) == [run.id, "a word"]


def test_submit_answers_while_the_script_still_runs(prove: Callable[..., Run]) -> None:
    run = prove(SLEEP)
    job = start(run)
    assert BACKEND.status(run, job).stage in ("queued", "running")


def test_a_failure_keeps_its_exit_code(prove: Callable[..., Run]) -> None:
    run = prove("raise SystemExit(7)")
    state = wait(run, start(run))
    assert (state.stage, state.exit_code, state.reason) == ("failed", 7, "exit code 7")


def test_the_peak_memory_is_in_gib(prove: Callable[..., Run]) -> None:
    run = prove("block = bytearray(300 * 2**20)")
    state = wait(run, start(run))
    assert state.peak_memory_gib == pytest.approx(300 / 1024, abs=0.05)


def test_an_interpreter_that_does_not_exist_is_the_persons_to_mend(prove: Callable[..., Run]) -> None:
    run = prove("")
    run = run.model_copy(update={"settings": run.settings.model_copy(update={"python": "/no/such/python"})})
    with pytest.raises(UserError, match="/no/such/python"):
        start(run)
    assert BACKEND.find(run, intend(run)) is None


def test_submits_that_race_start_one_training(prove: Callable[..., Run]) -> None:
    run = prove(COUNT_STARTS + "import time; time.sleep(0.5)")
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: start(run), range(8)))
    assert wait(run, jobs[0]).stage == "completed"
    assert (run.folder / "starts").read_text() == "x"
    assert jobs == [jobs[0]] * 8


def test_who_asks_for_the_status_does_not_keep_the_job_from_starting(prove: Callable[..., Run]) -> None:
    run = prove(COUNT_STARTS)
    (run.folder / "job").mkdir()
    asking = True

    def ask() -> None:
        while asking:
            local._lock_is_free(run)

    with ThreadPoolExecutor(2) as pool:
        pool.submit(ask)
        pool.submit(ask)
        try:
            state = wait(run, start(run))
        finally:
            asking = False
    assert state.stage == "completed"


def test_a_supervisor_that_comes_late_does_not_train_again(prove: Callable[..., Run]) -> None:
    run = prove(COUNT_STARTS)
    job = start(run)
    wait(run, job)
    local._start_supervisor(run, intend(run))
    assert (run.folder / "starts").read_text() == "x"
    assert BACKEND.status(run, job).stage == "completed"


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.15])
def test_an_agent_that_is_killed_while_it_submits_leaves_one_training(
    prove: Callable[..., Run], after_s: float
) -> None:
    run = prove(COUNT_STARTS + "import time; time.sleep(0.5)")
    agent = textwrap.dedent(
        f"""
        from pathlib import Path
        from ftagent.tools.backends.local import LocalBackend
        from ftagent.tools.facts import JobIntent
        from ftagent.tools.run import open_run
        run = open_run(Path({str(run.folder)!r}))
        Path({str(run.folder / "ready")!r}).touch()
        LocalBackend().submit(run, JobIntent.model_validate_json({intend(run).model_dump_json()!r}))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", agent])
    while not (run.folder / "ready").exists():
        time.sleep(0.005)
    time.sleep(after_s)
    process.kill()
    process.wait()

    job = start(run)
    assert wait(run, job).stage == "completed"
    time.sleep(0.3)  # a second one would have started by now
    assert (run.folder / "starts").read_text() == "x"


def test_a_second_attempt_follows_a_failed_one_and_reads_its_own_log(prove: Callable[..., Run]) -> None:
    run = prove("import pathlib; print('go', len(list(pathlib.Path().glob('job/cancel*')))); raise SystemExit(1)")
    first = start(run)
    wait(run, first)
    (run.folder / "job" / "cancel-1").touch()  # meant for the first: the second must not listen to it
    second = start(run, attempt=2)
    assert (wait(run, second).reason, second.attempt) == ("exit code 1", 2)
    assert BACKEND.log_tail(run, second, 10) == ["go 1"]
    assert (run.folder / "train.log").read_text() == "go 0\ngo 1\n"


def test_a_script_that_ignores_sigterm_is_killed_at_its_timeout(prove: Callable[..., Run]) -> None:
    run = prove("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP)
    state = wait(run, start(run, timeout_s=1))
    assert (state.stage, state.exit_code) == ("timed_out", -signal.SIGKILL)
    assert 1 <= state.seconds < 4
    assert is_gone(told_pid(run))


def test_grandchildren_end_with_the_script(prove: Callable[..., Run], until: Until) -> None:
    run = prove(
        """
        import signal, subprocess, sys
        stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=1); time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
        child.stdout.readline()
        open("pid", "w").write(str(child.pid))
        """
    )
    assert wait(run, start(run)).stage == "completed"
    until(lambda: is_gone(told_pid(run)))


def test_cancel_ends_script_grandchildren_and_those_who_left_the_group(prove: Callable[..., Run]) -> None:
    run = prove(
        """
        import os, subprocess, sys, time
        same = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        away = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
        for name, pid in (("same", same.pid), ("away", away.pid), ("pid", os.getpid())):
            open(name, "w").write(str(pid))
        time.sleep(60)
        """
    )
    job = start(run)
    pids = [told_pid(run, name) for name in ("pid", "same", "away")]
    supervisor = record(run)["pid"]

    state = BACKEND.cancel(run, job)

    assert (state.stage, state.reason) == ("cancelled", "it was cancelled")
    assert [pid for pid in (*pids, supervisor) if not is_gone(pid)] == []
    assert BACKEND.cancel(run, job) == state


def test_cancel_of_a_job_that_has_ended_leaves_its_end_alone(prove: Callable[..., Run]) -> None:
    run = prove("")
    job = start(run)
    before = wait(run, job)
    assert BACKEND.cancel(run, job) == before
    assert before.stage == "completed"


def test_a_job_that_is_cancelled_before_its_script_starts_is_cancelled(prove: Callable[..., Run]) -> None:
    run = prove(SLEEP)
    (run.folder / "job").mkdir()
    (run.folder / "job" / "cancel-1").touch()
    assert wait(run, start(run)).stage == "cancelled"


def test_a_closed_terminal_does_not_end_the_job(prove: Callable[..., Run]) -> None:
    run = prove(TELL_PID + "time.sleep(1)")
    job = start(run)
    told_pid(run)
    os.killpg(record(run)["pgid"], signal.SIGHUP)
    assert wait(run, job).stage == "completed"


def test_a_stop_of_the_supervisor_from_outside_takes_the_script_along(prove: Callable[..., Run]) -> None:
    run = prove(SLEEP)
    job = start(run)
    script = told_pid(run)
    os.kill(record(run)["pid"], signal.SIGTERM)
    state = wait(run, job)
    assert (state.stage, state.reason) == ("failed", "ended from outside by SIGTERM")
    assert is_gone(script)


def test_a_killed_supervisor_is_seen_and_cancel_ends_the_script_it_left(
    prove: Callable[..., Run], until: Until
) -> None:
    run = prove(SLEEP)
    job = start(run)
    script = told_pid(run)
    os.kill(record(run)["pid"], signal.SIGKILL)
    until(lambda: is_gone(record(run)["pid"]))

    state = BACKEND.status(run, job)
    assert state.stage == "failed"
    assert "supervisor is gone" in state.reason
    assert not is_gone(script)

    assert BACKEND.cancel(run, job).stage == "failed"
    assert is_gone(script)


def test_a_next_attempt_first_ends_what_a_killed_supervisor_left(prove: Callable[..., Run], until: Until) -> None:
    run = prove(SLEEP)
    start(run)
    script = told_pid(run)
    os.kill(record(run)["pid"], signal.SIGKILL)
    until(lambda: is_gone(record(run)["pid"]))
    start(run, attempt=2)
    assert is_gone(script)


def test_a_stopped_supervisor_cannot_keep_a_job_from_being_cancelled(
    prove: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "KILL_S", 1.0)
    run = prove(SLEEP)
    job = start(run)
    script, supervisor = told_pid(run), record(run)["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    assert BACKEND.cancel(run, job).stage == "cancelled"
    assert is_gone(script)
    assert is_gone(supervisor)


def test_a_reused_process_id_is_not_taken_for_the_supervisor(prove: Callable[..., Run]) -> None:
    run = prove("")
    job = start(run)
    wait(run, job)
    state = {**record(run), "stage": "running", "pid": os.getpid(), "pgid": os.getpgrp(), "script_pid": os.getpid()}
    (run.folder / "job" / "state.json").write_text(json.dumps(state))
    assert BACKEND.status(run, job).stage == "failed"
    assert BACKEND.cancel(run, job).stage == "failed"


def test_sigkill_near_the_memory_limit_is_out_of_memory(
    prove: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prove("import os; block = bytearray(200 * 2**20); os.kill(os.getpid(), 9)")
    job = start(run)
    assert wait(run, job).reason == "killed by SIGKILL"
    monkeypatch.setattr(local, "_memory_limit_gib", lambda: 0.25)
    assert BACKEND.status(run, job).reason == "killed by SIGKILL: out of memory, 0.2 of 0.2 GiB were in use"


def test_of_a_progress_bar_the_log_tail_has_the_last_state(prove: Callable[..., Run]) -> None:
    run = prove(r"print('loading'); print('\r 1/3\r 2/3\r 3/3\n\ndone', end='')")
    job = start(run)
    wait(run, job)
    assert BACKEND.log_tail(run, job, 10) == ["loading", " 3/3", "done"]
    assert BACKEND.log_tail(run, job, 1) == ["done"]


def test_another_process_finds_and_follows_the_job(prove: Callable[..., Run]) -> None:
    run = prove(SLEEP)
    job = start(run)
    again = open_run(Path(run.folder))
    assert BACKEND.find(again, intend(run)) == job
    assert BACKEND.cancel(again, job).stage == "cancelled"
    assert BACKEND.status(run, job).stage == "cancelled"
