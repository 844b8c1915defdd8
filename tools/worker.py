"""Heavy steps in a process of their own: ftagent itself never imports torch.

A worker is a standalone script in `tools/templates/`. It reads one JSON object from the file named by its first
argument, writes one to the file named by its second, and prints what it does. A line that starts with `@progress `
carries a JSON object for the run's listeners. The process gets its own group, and the whole group ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from .errors import ToolError
from .settings import Settings

PROGRESS = "@progress "
TAIL_LINES = 40

# Quiet, unbuffered and without telemetry: a worker's log is evidence, and nothing leaves this machine unasked.
# OMP_WAIT_POLICY: torch's OpenMP threads spin at every barrier by default; with any other process on the machine a
# small operation then waits for a whole scheduler slice (a 3 MB multiply took 12 ms instead of 0.3 ms, measured).
WORKER_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc gives every large tensor back to the kernel and faults its pages in anew: with both of these 15 % more
    # tokens a second, and a peak that does not grow from step to step (measured; one alone is slower).
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


def run_worker(
    settings: Settings,
    template: str,
    request: dict[str, Any],
    *,
    log: Path,
    timeout_s: float,
    environment: dict[str, str] | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Run `tools/templates/<template>` on `request` and return what it answers.

    Args:
        settings: Names the interpreter.
        template: File name of the script.
        request: What the script reads; must be JSON.
        log: Where its output goes; appended to, so that earlier tries stay readable.
        timeout_s: Seconds after which the whole process group is killed.
        environment: Variables beside the inherited ones.
        on_progress: Called with the object of each progress line.

    Raises:
        ToolError: The script failed or ran out of time; the message has the last lines of its log.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ftagent-") as scratch,
        as_file(files("ftagent.tools.templates") / template) as script,
    ):
        request_file, answer_file = Path(scratch, "request.json"), Path(scratch, "answer.json")
        request_file.write_text(json.dumps(request), encoding="utf-8")
        command = [settings.python, str(script), str(request_file), str(answer_file)]
        exit_code, tail = _run(command, log, timeout_s, environment or {}, on_progress)
        if answer_file.exists() and exit_code == 0:
            return json.loads(answer_file.read_text(encoding="utf-8"))
    raise ToolError(_why(template, exit_code, timeout_s, tail), hint=_way_out(settings, tail, log))


def _run(
    command: list[str],
    log: Path,
    timeout_s: float,
    environment: dict[str, str],
    on_progress: Callable[[dict[str, Any]], None] | None,
) -> tuple[int, deque[str]]:
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as log_file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            env={**os.environ, **WORKER_ENVIRONMENT, **environment},
        )
        timer = threading.Timer(timeout_s, _kill_group, [process])
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(PROGRESS) and on_progress is not None:
                    on_progress(json.loads(line.removeprefix(PROGRESS)))
                else:
                    log_file.write(line)
                    tail.append(line.rstrip())
            return process.wait(), tail
        finally:
            timer.cancel()
            _kill_group(process)
            process.wait()


def _kill_group(process: subprocess.Popen[str]) -> None:
    """End the worker and everything it started; a group that is already gone is what we want."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _why(template: str, exit_code: int, timeout_s: float, tail: deque[str]) -> str:
    if exit_code == -signal.SIGKILL:
        return f"{template} was killed: it ran longer than {timeout_s:.0f} s, or the machine ran out of memory."
    last = next((line for line in reversed(tail) if line.strip()), "no output")
    return f"{template} stopped with exit code {exit_code}: {last}"


def _way_out(settings: Settings, tail: deque[str], log: Path) -> str:
    for line in tail:
        if line.startswith("ModuleNotFoundError"):
            return f"{settings.python} -m pip install 'ftagent[local,demo]'"
    return f"its whole output is in {log}"
