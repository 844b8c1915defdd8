"""Runs on disk: begun, read back, listed, found by what a person remembers of them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from ..errors import UnreadableJournal, UserError
from ..journal import JOURNAL, Journal, unreadable
from ..settings import Settings
from .folding import fold
from .names import REPORTS
from .state import Run


def new_run(settings: Settings) -> Run:
    """Begin a run in memory; `Journal.settle` gives it a folder.

    Ids sort by time to the microsecond, five hexadecimal digits of it; three are drawn, for runs that begin together.
    """
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%d-%H%M%S}-{now.microsecond:05x}{secrets.randbits(12):03x}"
    journal = Journal(run_id)
    journal.append(settings)
    return refold(journal)


def open_run(folder: Path) -> Run:
    """Read a run back from its folder.

    Raises:
        UnreadableJournal: A line of its journal cannot be read.
        UserError: The folder holds no journal.
    """
    journal = Journal(folder.name, folder)
    if not journal.events:
        raise UserError(f"`{folder}` holds no journal.", hint="`ftagent runs` lists the runs of this folder")
    return refold(journal)


def refold(journal: Journal) -> Run:
    """Fold all of a journal's events from the beginning."""
    first, line = journal.events[0], 1
    try:
        settings = Settings.model_validate(first.data)
        run = Run(id=journal.run_id, journal=journal, settings=settings, created=first.at)
        for event in journal.events:
            run = fold(run, event)
            line += 1
    except (KeyError, ValueError) as error:
        if journal.folder is None:
            raise
        raise unreadable(journal.folder, line, error) from error
    return run


def list_runs(workdir: Path) -> list[Run]:
    """Return every run below `workdir` that can be read, newest first."""
    return read_runs(workdir)[0]


def read_runs(workdir: Path) -> tuple[list[Run], list[UnreadableJournal]]:
    """Return every run below `workdir`, newest first, and why others cannot be read."""
    runs: list[Run] = []
    unread: list[UnreadableJournal] = []
    for folder in sorted(_folders(workdir), key=lambda f: f.name, reverse=True):
        try:
            runs.append(open_run(folder))
        except UnreadableJournal as error:
            unread.append(error)
    return runs, unread


def has_other_runs(run: Run) -> bool:
    """Whether there is another run below the same working folder."""
    return any(folder.name != run.id for folder in _folders(run.settings.workdir))


def find_run(workdir: Path, run_id: str | None = None) -> Run:
    """Return the run with this id (or a unique beginning or end of it), or that of this job; or the newest one.

    Raises:
        UserError: No run, or several, match.
    """
    folders = _folders(workdir)
    if run_id is None and not folders:
        raise UserError(f"there is no run below `{workdir / REPORTS}`.", hint='start one: ftagent "fine-tune … on …"')
    if run_id is None:
        return open_run(max(folders, key=lambda f: f.name))
    found = _matching(folders, run_id)
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise UserError(f"{what} match `{run_id}`.", hint="`ftagent runs` lists the runs of this folder")
    return open_run(found[0])


def _folders(workdir: Path) -> list[Path]:
    """Return the folder of every run below `workdir`."""
    return [journal.parent for journal in (workdir / REPORTS).glob(f"*/*/{JOURNAL}")]


def _matching(folders: list[Path], run_id: str) -> list[Path]:
    """Return the folders of the runs that an id may mean: the very id, else an end of it, else that of a job."""
    return (
        [f for f in folders if f.name == run_id]
        or [f for f in folders if f.name.startswith(run_id) or f.name.endswith(run_id)]
        or [f for f in folders if _had_job(f, run_id)]
    )


def _had_job(folder: Path, job_id: str) -> bool:
    """Whether the run of this folder ever had this job, its namespace named or not."""
    try:
        events = Journal(folder.name, folder).events
    except UnreadableJournal:  # then nobody knows, and the run is not looked for by its own name
        return False
    jobs = (event.data["id"] for event in events if event.kind == "submit_job")
    return any(job == job_id or job.endswith(f"/{job_id}") for job in jobs)
