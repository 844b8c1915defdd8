"""The export as a job does it: each file goes to a repository when it is proven, and comes home from there by its hash.

Where the files are to be published it is that repository, else the run's own private one. A job that dies between two
files has lost the one that it was making; the next takes up what lies there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from .backends.hf_client import hub
from .backends.hf_request import script_of
from .backends.hf_results import download, pushed_revision, repository_of
from .errors import ToolError
from .files import sha256_of
from .later_script import WORK_ROOM
from .publish import Publisher
from .run import Run
from .trained import Checkpoint

OWN_FOLDER = "ftagent/gguf/"
"""In the run's own repository, beside what the jobs after the training push."""
NOT_MADE_FROM = ("model", "adapter", "folder", "quantisations", "checkout", "repository")
"""Entries of the request that say where and which, and not from what: that is the pushed model at its revision."""


def shelf_for(run: Run, publisher: Publisher | None, request: dict[str, Any]) -> dict[str, Any]:
    """Return the repository that takes the files, as `templates/exported.py` is told of it.

    Args:
        run: The run, its model pushed.
        publisher: Who publishes its files, if they are to be published.
        request: What will be asked for.

    Raises:
        UserError: The Hub refuses, or the repository is somebody else's: said before a job is paid.
        ToolError: It does not answer, or the training has pushed no model.
    """
    revision = pushed_revision(run, run.job.attempt) if run.job else None
    own = repository_of(script_of(run))
    if revision is None or own is None:
        raise ToolError("the training has pushed no model that a job could read.", hint="call monitor_job")
    told = {name: value for name, value in request.items() if name not in NOT_MADE_FROM}
    of = hashlib.sha256(json.dumps([revision, told], sort_keys=True).encode()).hexdigest()
    if publisher is not None:
        return publisher.shelf(run, of)
    return {"id": own, "private": True, "folder": OWN_FOLDER, "card": None, "run": run.id, "of": of}


def in_a_job(request: dict[str, Any], checkpoint: Checkpoint, shelf: dict[str, Any]) -> dict[str, Any]:
    """Return the request as a job takes it: merged there, where the checkpoint is an adapter, and made from that."""
    there: dict[str, Any] = {"folder": f"{WORK_ROOM}gguf", "checkout": None, "repository": shelf}
    if not checkpoint.is_adapter:
        return request | there | {"model": str(checkpoint.folder), "adapter": None}
    adapter = {"base": checkpoint.base, "revision": checkpoint.revision, "checkpoint": str(checkpoint.folder)}
    return request | there | {"model": f"{WORK_ROOM}merged", "adapter": adapter}


def bring_home(run: Run, shelf: dict[str, Any], files: list[dict[str, Any]], folder: Path) -> None:
    """Download the proven files that are not here, and believe each by its hash.

    Raises:
        UserError: The Hub refuses.
        ToolError: One is not what was proven, or could not be downloaded; what had arrived is kept.
    """
    folder.mkdir(exist_ok=True)
    staging = run.folder / "export-pushed"
    for file in files:
        target, name = folder / file["path"], shelf["folder"] + file["path"]
        if target.exists() and sha256_of(target) == file["sha256"]:
            continue
        run.journal.tell("progress", step="download", text=f"{file['path']} from {shelf['id']}")
        download(hub(), shelf["id"], staging, wanted=[name])
        came = staging / name
        if not came.exists() or sha256_of(came) != file["sha256"]:
            raise ToolError(
                f"`{name}` in `{shelf['id']}` is not the file that the job has proven.", hint="export it again"
            )
        came.replace(target)
    shutil.rmtree(staging, ignore_errors=True)
