"""Heavy steps in a process of their own: ftagent itself never imports torch.

A worker is a standalone script in `tools/templates/`. It reads one JSON object from the file named by its first
argument (its standard input), writes one to the file named by its second, and prints what it does. A line that starts
with `@progress ` carries a JSON object for the run's listeners. The process gets its own group, and the whole group
ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Self

from . import stopping
from .errors import ToolError
from .settings import Settings

PROGRESS = "@progress "
TAIL_LINES = 40
SHORT_WRITE = re.compile(r"No space left on device|File too large|\d+ requested and \d+ written")
"""What Python says of a write that the disk cut short; the last is numpy's `tofile`, which hides the reason."""
PROGRESS_BAR = re.compile(r"\d+%\|")
"""What tqdm draws, once more at its end, below the error that ended it."""

# Quiet, unbuffered and without telemetry: a worker's log is evidence, and nothing leaves this machine unasked.
# GOMP_SPINCOUNT: torch's OpenMP threads spin for long at every barrier by default, and on a machine that does anything
# else they spin away the time of the thread that they wait for. A training of 10.8 s took 52 s beside two busy
# processes; where threads sleep at once 13.9 and 33 s; with this count 12.5 and 23 s (two cores, measured).
WORKER_ENVIRONMENT = {
    "GOMP_SPINCOUNT": "1000",
    # oneDNN keeps about 30 MB of kernels for every length of a batch in bf16: a training grew to 3.5 instead of 2.7 GiB
    # in 45 steps, for 6 % more tokens a second (measured).
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    # glibc gives every large tensor back to the kernel and faults its pages in anew: with both of these 15 % more
    # tokens a second, and a peak that does not grow from step to step (measured; one alone is slower).
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # `load_dataset` of a set on the Hub tells a bucket on s3.amazonaws.com of it
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
    """Run `tools/templates/<template>` on `request` and return what it answers; see `Worker`."""
    with Worker(settings, template, log=log, timeout_s=timeout_s, environment=environment) as worker:
        worker.give(request)
        return worker.answer(on_progress)


class Worker:
    """A worker that starts at once and gets its request later: what it imports takes seconds.

    Args:
        settings: Names the interpreter.
        template: File name of a script in `tools/templates/`.
        log: Where its output goes; appended to, so that earlier tries stay readable.
        timeout_s: Seconds after which the whole process group is killed.
        environment: Variables beside the inherited ones.
    """

    def __init__(
        self,
        settings: Settings,
        template: str,
        *,
        log: Path,
        timeout_s: float,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._settings, self._template, self._log, self._timeout_s = settings, template, log, timeout_s
        self._environment = {**os.environ, **WORKER_ENVIRONMENT, **(environment or {})}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftagent-")))
            """A folder for what the request points to; it goes with the worker."""
            self._file = self.scratch / "answer.json"
            script = stack.enter_context(as_file(files("ftagent.tools.templates") / self._template))
            self._process = subprocess.Popen(
                [self._settings.python, str(script), "/dev/stdin", str(self._file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
                env=self._environment | {"TMPDIR": str(self.scratch)},  # what it leaves goes with it
            )
            stack.enter_context(self._process)  # waits for it and closes its pipes
            stack.callback(_kill_group, self._process)
            stack.enter_context(stopping.calling(partial(_kill_group, self._process)))
            timer = threading.Timer(self._timeout_s, _kill_group, [self._process])
            timer.start()
            stack.callback(timer.cancel)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def give(self, request: dict[str, Any]) -> None:
        """Give the worker its request, which must be JSON."""
        self._writer = threading.Thread(target=self._write, args=[json.dumps(request)])
        self._writer.start()

    def answer(self, on_progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """Wait until the worker is done with its request, and return what it answers.

        Args:
            on_progress: Called with the object of each progress line.

        Raises:
            ToolError: The script failed or ran out of time; the message has the last lines of its log.
            Stopped: The work is to stop, and the worker was ended.
        """
        tail = self._follow(on_progress)
        exit_code = self._process.wait()
        self._writer.join()
        stopping.check()
        if self._file.exists() and exit_code == 0:
            return json.loads(self._file.read_text(encoding="utf-8"))
        why = _why(self._template, exit_code, self._timeout_s, tail)
        raise ToolError(why, hint=_way_out(self._settings, tail, self._log))

    def _write(self, request: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:  # where it died, its log says why
            stdin.write(request)

    def _follow(self, on_progress: Callable[[dict[str, Any]], None] | None) -> deque[str]:
        """Log what the worker prints until it ends, and return the last lines."""
        assert self._process.stdout is not None
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as log_file:
            for line in self._process.stdout:
                if line.startswith(PROGRESS) and on_progress is not None:
                    on_progress(json.loads(line.removeprefix(PROGRESS)))
                else:
                    log_file.write(line)
                    tail.append(line.rstrip())
        return tail


def _kill_group(process: subprocess.Popen[str]) -> None:
    """End the worker and everything it started; a group that is already gone is what we want."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _why(template: str, exit_code: int, timeout_s: float, tail: deque[str]) -> str:
    if exit_code == -signal.SIGKILL:
        return f"{template} was killed: it ran longer than {timeout_s:.0f} s, or the machine ran out of memory."
    said = [line for line in tail if line.strip() and not PROGRESS_BAR.search(line)]
    last = said[-1] if said else "no output"
    return f"{template} stopped with exit code {exit_code}: {last}"


def _way_out(settings: Settings, tail: deque[str], log: Path) -> str:
    for line in tail:
        if line.startswith("ModuleNotFoundError"):
            return f"{settings.python} -m pip install 'ftagent[local,demo]'"
        if SHORT_WRITE.search(line):
            return f"the disk is full, or files may not grow so large here: make room and go on; its output is in {log}"
    return f"its whole output is in {log}"
