"""What a step after the training has standalone programs do: here one after the other, or in a job of its own.

A program is a file of `tools/templates/` that answers a request; see `tools/worker.py`. What its request names by path
below the run's folder can travel with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .run import Run
from .worker import run_worker

TIMEOUT_S = 4 * 3600


@dataclass(frozen=True, kw_only=True)
class Task:
    """One program and its request."""

    program: str
    """File name of a script in `tools/templates/`."""
    request: dict[str, Any]
    """JSON; a path is an absolute one."""


def do_here(run: Run, step: str, tasks: Mapping[str, Task]) -> dict[str, dict[str, Any]]:
    """Return what each program answers, run on this machine.

    Args:
        run: The run.
        step: What its log and its progress are called.
        tasks: The programs, by the names of their answers.

    Raises:
        ToolError: One failed or ran out of time.
    """
    return {
        name: run_worker(
            run.settings,
            task.program,
            task.request,
            log=run.log(step),
            timeout_s=TIMEOUT_S,
            on_progress=lambda progress: run.journal.tell("progress", step=step, **progress),
        )
        for name, task in tasks.items()
    }
