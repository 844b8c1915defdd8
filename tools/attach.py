"""Finds a run by its id or by a job's; one whose folder is on another machine is taken up from what it left there."""

from __future__ import annotations

from .backends.hf_record import attach, is_job_id
from .errors import UserError
from .run import Run, find_run
from .settings import Settings


def find_or_attach(settings: Settings, name: str | None = None) -> Run:
    """Return the run of this name, below the working folder or rebuilt there from the job of this id on the Hub.

    Args:
        settings: Name the working folder, and whose jobs are looked at.
        name: A run's id, or a unique beginning or end of it, or a job's id; None for the newest run of the folder.

    Raises:
        UserError: No run, or several, match, or the job is none of ftagent's.
        ToolError: The Hub does not answer.
    """
    try:
        return find_run(settings.workdir, name)
    except UserError:
        if name is None or not is_job_id(name):
            raise
        return attach(settings, name)
