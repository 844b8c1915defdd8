"""Where jobs run: one class a place, all of one shape.

Nobody inherits from `Backend`; whatever has these methods is one. A backend starts, finds, follows and ends jobs. It
judges nothing: what a job's numbers mean is `tools/monitor.py`'s business, and what may start is `tools/jobs.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Protocol

from ..errors import ToolError
from ..facts import Job, JobIntent, Stage
from ..metrics import Point
from ..run import Run


@dataclass(frozen=True, kw_only=True)
class JobState:
    """How a job stands, in the words of the place where it runs."""

    stage: Stage
    started_at: datetime | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    """Negative: the number of the signal that ended the script."""
    reason: str = ""
    peak_memory_gib: float | None = None
    """Of the largest process, once the job has ended."""


class Backend(Protocol):
    """A place where jobs run."""

    name: str

    def submit(self, run: Run, intent: JobIntent) -> Job:
        """Start the intended job, or return the one that was started for this intent already.

        Raises:
            ToolError: Nothing was started.
        """
        ...

    def find(self, run: Run, intent: JobIntent) -> Job | None:
        """Return the job that carries this intent's label and attempt, whatever its stage."""
        ...

    def status(self, run: Run, job: Job) -> JobState:
        """Return how the job stands now."""
        ...

    def cancel(self, run: Run, job: Job) -> JobState:
        """End the job and everything it started; a job that has ended already stays as it ended."""
        ...

    def collect(self, run: Run, job: Job, state: JobState) -> None:
        """Bring what a job that has ended left behind into the run's folder; calling again does no harm.

        Raises:
            ToolError: It could not be brought; calling again goes on.
        """
        ...

    def log_tail(self, run: Run, job: Job, lines: int) -> list[str]:
        """Return the last lines of the job's output, oldest first."""
        ...

    def metrics(self, run: Run, job: Job) -> list[Point]:
        """Return everything that the training logged so far, one point a step, in order."""
        ...

    def saved_step(self, run: Run) -> int:
        """Return the step of the newest whole checkpoint that the run's next job will find, 0 without any.

        Raises:
            ToolError: The place cannot be asked.
        """
        ...


@cache
def backend_of(name: str) -> Backend:
    """Return the backend called `name`: one for all of this process, so that a job's log is followed once.

    Raises:
        ToolError: There is no such backend.
    """
    if name == "local":
        from .local import LocalBackend

        return LocalBackend()
    if name == "hf-jobs":
        from .hf_jobs import HfJobsBackend

        return HfJobsBackend()
    raise ToolError(f"there is no backend `{name}`.", hint="--backend local, or --backend hf-jobs")


def logging_steps(run: Run) -> int:
    """Return how many steps lie between two logs, 1 when the script's parameters don't say."""
    parameters = run.script.parameters if run.script else ()
    return next((int(p.value) for p in parameters if p.name == "logging_steps" and p.value >= 1), 1)
