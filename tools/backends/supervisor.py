"""Runs one training script and writes down how it went: the process that outlives ftagent.

A standalone script of the standard library alone, started by `tools/backends/local.py`:

    python supervisor.py JOB_FOLDER REQUEST      REQUEST is one JSON object, see `main`

It returns as soon as the job is on its way, which is then watched by a child in the background. Three files in the
job's folder are all that it shares with the world:

    lock              held as long as the job lives. Process ids get reused; a lock does not
    state.json        how the job stands; replaced as a whole, never half-written
    cancel-<attempt>  made by whoever wants the job to end
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

POLL_S = 0.2
LOCK_TRIES, LOCK_PAUSE_S = 200, 0.05  # 10 s: a job that is being ended needs a moment to let go


def main(folder: Path, request: dict[str, Any]) -> int:
    """Start the job of `request`, unless a job of this attempt, or of a later one, was started before.

    Args:
        folder: The job's folder; must exist.
        request: `attempt`, `label`, `command`, `cwd`, `log`, `timeout_s`, `grace_s`; what else it holds is copied to
            the state.
    """
    lock = take_lock(folder, request["attempt"])
    if lock is None:
        return 0
    state = {
        **request,
        "stage": "queued",
        "pgid": os.getpgrp(),
        "submitted_at": now(),
        "log_start": size(Path(request["log"])),
    }
    write_state(folder, state)
    if os.fork() == 0:  # the child inherits the lock; without a living parent nobody has to reap it
        atexit.register(os.killpg, 0, signal.SIGKILL)  # the last act: strays of the script go, and this process too
        supervise(folder, state)
    return 0


def take_lock(folder: Path, attempt: int) -> int | None:
    """Return the held lock, or None when this attempt is somebody else's already, running or ended."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(LOCK_TRIES):
        held = try_lock(lock)
        if last_attempt(folder) >= attempt:
            return None
        if held:
            return lock
        time.sleep(LOCK_PAUSE_S)
    raise SystemExit("the job before this one has not let go of its lock")


def try_lock(lock: int) -> bool:
    """Try to become the only supervisor; a status request holds the lock for a moment, too."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def last_attempt(folder: Path) -> int:
    """Return the attempt that the state on disk tells of, 0 without any."""
    try:
        return json.loads((folder / "state.json").read_text(encoding="utf-8"))["attempt"]
    except FileNotFoundError:
        return 0


def supervise(folder: Path, state: dict[str, Any]) -> None:
    """Run the script to its end and write down how it ended."""
    stop_requests: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends neither us nor, by inheritance, the script
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stop_requests.append(number))
    try:
        with Path(state["log"]).open("ab") as log:
            script = subprocess.Popen(
                state["command"], cwd=state["cwd"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
    except OSError as error:
        end: dict[str, Any] = {"stage": "failed", "reason": f"the script could not be started: {error}"}
    else:
        state |= {"stage": "running", "started_at": now(), "pid": os.getpid(), "script_pid": script.pid}
        write_state(folder, state)
        end = follow(script, folder, state, stop_requests)
        end |= {"exit_code": script.returncode, "peak_memory_gib": peak_memory_gib()}
    write_state(folder, {**state, **end, "finished_at": now()})


def follow(
    script: subprocess.Popen[bytes], folder: Path, state: dict[str, Any], stop_requests: list[int]
) -> dict[str, Any]:
    """Wait until the script ends or must end; return the stage and the reason."""
    deadline = time.monotonic() + state["timeout_s"]
    while script.poll() is None:
        if (folder / f"cancel-{state['attempt']}").exists():
            stop(script, state["grace_s"])
            return {"stage": "cancelled", "reason": "it was cancelled"}
        if time.monotonic() > deadline:
            stop(script, state["grace_s"])
            return {"stage": "timed_out", "reason": f"it ran longer than its limit of {state['timeout_s']} s"}
        if stop_requests:
            stop(script, state["grace_s"])
            return {"stage": "failed", "reason": f"ended from outside by {signal_name(stop_requests[0])}"}
        time.sleep(POLL_S)
    if script.returncode == 0:
        return {"stage": "completed", "reason": ""}
    if script.returncode < 0:
        return {
            "stage": "failed",
            "reason": f"killed by {signal_name(-script.returncode)}",
        }
    return {"stage": "failed", "reason": f"exit code {script.returncode}"}


def signal_name(number: int) -> str:
    """Return a name such as `SIGKILL`."""
    known = signal.Signals.__members__.values()
    return next((s.name for s in known if s == number), f"signal {number}")


def stop(script: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask the whole group to end; the script is killed when it has not ended after `grace_s` seconds."""
    os.killpg(0, signal.SIGTERM)
    try:
        script.wait(grace_s)
    except subprocess.TimeoutExpired:
        script.kill()
        script.wait()


def peak_memory_gib() -> float:
    """Return the peak resident memory of the largest process that has ended: KiB on Linux, bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 2**30


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace the state on disk in one step."""
    draft = folder / f"state.{os.getpid()}.tmp"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(state, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / "state.json")


def size(path: Path) -> int:
    """Return the size of a file in bytes, 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


def now() -> str:
    """Return this moment, in UTC."""
    return datetime.now(UTC).isoformat()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
