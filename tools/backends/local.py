"""Jobs on this machine: a detached process group under a supervisor, its state in the run's `job/` folder.

Nothing here holds on to the process: every answer is read from the folder, so any process, now or after a crash, can
follow the job and end it. Whether a supervisor lives is told by its lock, never by its process id.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from ..errors import ToolError, UserError
from ..facts import TERMINAL_STAGES, Job, JobIntent, Stage
from ..launch import launch_command
from ..metrics import Point, read_log, read_trackio, trackio_folder
from ..run import Run, experiment_name
from ..settings import ENVIRONMENT_PREFIX
from ..trained import CHECKPOINT
from ..worker import WORKER_ENVIRONMENT
from . import JobState, logging_steps

JOB_FOLDER = "job"
LOG = "train.log"

# In the environment of everything that a job starts: its strays are found by it, even outside the process group.
MARK = "FTAGENT_JOB"

GRACE_S = 10.0
"""Between asking the script to end and killing it."""
KILL_S = 5.0
"""For everything that was killed to be gone."""
TAIL_BYTES = 256 * 1024
"""Read from the end of a log; some thousand lines."""
NEAR_LIMIT = 0.8
"""Share of the machine's memory above which SIGKILL is taken for the kernel's. The peak is one process's resident
memory, and the rest of the machine uses some, too: a process rarely gets to more than 80–90 % before it is killed."""


class LocalBackend:
    """Runs a job as a process group of its own, which outlives ftagent and its terminal."""

    name = "local"

    def submit(self, run: Run, intent: JobIntent) -> Job:
        """Start the intended job, or return the one that was started for this intent already.

        Raises:
            UserError: The interpreter of the settings cannot be started.
            ToolError: The job could not be put on its way; nothing runs.
        """
        if job := self.find(run, intent):
            return job
        folder = _folder(run)
        folder.mkdir(exist_ok=True)
        _end_processes(folder, up_to=intent.attempt - 1)  # a dead supervisor may have left its script behind
        _start_supervisor(run, intent)
        if job := self.find(run, intent):
            return job
        said = _tail(folder / "supervisor.log", 0) or ["no output"]
        raise ToolError(f"the job could not be started: {said[-1]}", hint=f"see {folder / 'supervisor.log'}")

    def find(self, run: Run, intent: JobIntent) -> Job | None:
        """Return the job of this attempt if it was ever started, whatever became of it."""
        record = _read(run)
        if record is None or record.attempt != intent.attempt:
            return None
        return Job(
            id=f"{record.label}-{record.attempt}",
            backend=self.name,
            flavor=run.hardware.flavor if run.hardware else "local",
            label=record.label,
            attempt=record.attempt,
            script_sha256=record.script_sha256,
            submitted_at=record.submitted_at,
            timeout_s=record.timeout_s,
            log=LOG,
        )

    def status(self, run: Run, job: Job) -> JobState:
        """Return how the job stands, read from its folder."""
        record = _read(run)
        if record is not None and record.stage not in TERMINAL_STAGES and _lock_is_free(run):
            record = _read(run)  # it may have ended between the two looks: only now a missing supervisor is missing
            if record is not None and record.stage not in TERMINAL_STAGES:
                return _orphaned(run, record)
        if record is None or record.attempt != job.attempt:
            return JobState(stage="failed", reason=f"`{_folder(run)}` no longer tells of this job")
        return JobState(
            stage=record.stage,
            started_at=record.started_at,
            seconds=record.seconds(record.finished_at or datetime.now(UTC)),
            exit_code=record.exit_code,
            reason=record.reason + _out_of_memory(record),
            peak_memory_gib=record.peak_memory_gib,
        )

    def cancel(self, run: Run, job: Job) -> JobState:
        """End the job and everything it started, from whichever process; idempotent."""
        folder = _folder(run)
        if self.status(run, job).stage not in TERMINAL_STAGES:
            _cancel_mark(folder, job.attempt).touch()
            _wait(lambda: _lock_is_free(run), GRACE_S + KILL_S)
        _end_processes(folder, up_to=job.attempt)
        return self.status(run, job)

    def collect(self, run: Run, job: Job, state: JobState) -> None:
        """Do nothing: a local job works in the run's own folder."""

    def log_tail(self, run: Run, job: Job, lines: int) -> list[str]:
        """Return the last lines that this attempt printed, oldest first."""
        record = _read(run)
        return _tail(run.folder / LOG, record.log_start if record else 0)[-lines:]

    def metrics(self, run: Run, job: Job) -> list[Point]:
        """Return what Trackio holds of this run, all attempts together; without any, what this attempt printed."""
        record = _read(run)
        if record is None or run.spec is None:
            return []
        points = read_trackio(record.trackio_dir, experiment_name(run.spec), run.id)
        return points or read_log(run.folder / LOG, record.log_start, logging_steps=logging_steps(run))

    def saved_step(self, run: Run) -> int:
        """Return the step of the newest whole checkpoint in the run's folder, 0 without any."""
        states = (run.folder / CHECKPOINT).glob("checkpoint-*/trainer_state.json")
        return max((int(state.parent.name.rpartition("-")[2]) for state in states), default=0)


class _Record(BaseModel):
    """What `supervisor.py` wrote, as far as it matters here."""

    model_config = ConfigDict(frozen=True)

    attempt: int
    label: str
    script_sha256: str
    timeout_s: int
    trackio_dir: Path
    stage: Stage
    submitted_at: datetime
    log_start: int
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""
    peak_memory_gib: float | None = None

    def seconds(self, until: datetime) -> float:
        """Return how long the script has run."""
        return max(0.0, (until - self.started_at).total_seconds()) if self.started_at else 0.0


def _folder(run: Run) -> Path:
    return run.folder.resolve() / JOB_FOLDER


def _cancel_mark(folder: Path, attempt: int) -> Path:
    return folder / f"cancel-{attempt}"


def _read(run: Run) -> _Record | None:
    try:
        return _Record.model_validate_json((_folder(run) / "state.json").read_bytes())
    except FileNotFoundError:
        return None


def _start_supervisor(run: Run, intent: JobIntent) -> None:
    """Run the supervisor until it has let go of us; what it says goes to its own log."""
    folder = _folder(run)
    trackio_dir = trackio_folder()
    request: dict[str, Any] = {
        "attempt": intent.attempt,
        "label": intent.label,
        "script_sha256": intent.script_sha256,
        "command": launch_command(run.settings.python, run.script.path if run.script else "", run.hardware),
        "cwd": str(run.folder.resolve()),
        "log": str(run.folder.resolve() / LOG),
        "timeout_s": intent.timeout_s,
        "grace_s": GRACE_S,
        "trackio_dir": str(trackio_dir),
    }
    environment = {"TRACKIO_DIR": str(trackio_dir), MARK: f"{folder}#{intent.attempt}"}
    supervisor = files("ftagent.tools.backends") / "supervisor.py"
    with as_file(supervisor) as script, (folder / "supervisor.log").open("ab") as log:
        try:
            subprocess.run(
                [run.settings.python, str(script), str(folder), json.dumps(request)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**_inherited(), **WORKER_ENVIRONMENT, **environment},
                check=False,
            )
        except OSError as error:
            raise UserError(
                f"the interpreter `{run.settings.python}` cannot be started: {error.strerror}.",
                hint="name another one with FTAGENT_PYTHON",
            ) from error


def _inherited() -> dict[str, str]:
    """Return this process's environment without ftagent's own variables, by which preflight changes the script."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}


def _lock_is_free(run: Run) -> bool:
    """Tell whether no supervisor lives; a shared lock, so that two who ask don't take each other for one."""
    with (_folder(run) / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until the condition holds, but no longer than this."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def _orphaned(run: Run, record: _Record) -> JobState:
    """Return the state of a job whose supervisor was killed, or went down with the machine."""
    cancelled = _cancel_mark(_folder(run), record.attempt).exists()
    log = run.folder / LOG
    last_sign = datetime.fromtimestamp(log.stat().st_mtime, UTC) if log.exists() else record.submitted_at
    return JobState(
        stage="cancelled" if cancelled else "failed",
        started_at=record.started_at,
        seconds=record.seconds(last_sign),
        reason="it was cancelled" if cancelled else "the supervisor is gone: it was killed, or the machine went down",
    )


def _end_processes(folder: Path, *, up_to: int) -> None:
    """Kill whatever jobs of this folder left running, up to this attempt."""
    left = [p for p in psutil.process_iter() if _attempt_of(p, folder) in range(1, up_to + 1)]
    for process in left:
        try:
            process.kill()  # psutil looks at the start time first: a reused process id is not hit
        except psutil.NoSuchProcess:
            continue
    _wait(lambda: all(_has_ended(process) for process in left), KILL_S)


def _has_ended(process: psutil.Process) -> bool:
    """Tell whether a process runs no more; init may take seconds to reap it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _attempt_of(process: psutil.Process, folder: Path) -> int | None:
    """Return which attempt of this folder's job started `process`, None when it was started by something else."""
    try:
        mark = process.environ().get(MARK, "")
    except (psutil.Error, OSError):  # another user's, or gone
        return None
    home, _, attempt = mark.rpartition("#")
    return int(attempt) if home == str(folder) and process.pid != os.getpid() else None


def _out_of_memory(record: _Record) -> str:
    """Say so when SIGKILL came at a peak that only the kernel's out-of-memory killer explains."""
    limit = _memory_limit_gib()
    peak = record.peak_memory_gib or 0.0
    if record.exit_code != -signal.SIGKILL or record.stage != "failed" or peak < NEAR_LIMIT * limit:
        return ""
    return f": out of memory, {peak:.1f} of {limit:.1f} GiB were in use"


def _memory_limit_gib() -> float:
    """Return the machine's memory, or its container's where that is less (cgroup v2, `memory.max`)."""
    limits = [psutil.virtual_memory().total]
    cgroup = Path("/sys/fs/cgroup/memory.max")
    if cgroup.exists() and (text := cgroup.read_text(encoding="utf-8").strip()).isdigit():
        limits.append(int(text))
    return min(limits) / 2**30


def _tail(path: Path, start: int) -> list[str]:
    """Return the last lines of `path` from byte `start` on, without blank ones; of a progress bar its last state."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in text.split("\n"))
    return [line for line in lines if line]
