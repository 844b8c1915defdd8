"""What the job of a step after the training has pushed, and its way into the run's folder, held against its hashes.

The script (`tools/templates/step.py`) pushes to a folder of the run's repository, `ftagent/<purpose>-<key>/`, and at
its end a manifest that names the job and the hash of each file; the log has the hash of the manifest.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ToolError
from ..facts import Job, Purpose
from ..files import sha256_of
from .hf_logs import read_lines
from .hf_results import constant_of, download

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CONSTANT = "STEP"
MANIFEST = "manifest.json"
_SAID = re.compile(r"pushed (\S+), manifest sha256 ([0-9a-f]{64})$")


class WrongResults(ToolError):
    """What a job has pushed is not what it says that it pushed."""


def results_folder(purpose: Purpose) -> str:
    """Return where the results of a step's job lie, relative to the run's folder."""
    return f"{purpose}-job"


def fetch_step(api: HfApi, repo_id: str, folder: Path, job: Job) -> None:
    """Download what a step's job has pushed, once, and believe it when every hash holds.

    Args:
        api: The client.
        repo_id: Where the job pushed to.
        folder: The run's folder, with the script and the log of the job in it.
        job: The job.

    Raises:
        WrongResults: They are another job's, or a file is missing or has another hash.
        UserError: The Hub refuses.
        ToolError: It could not be downloaded; what had arrived is kept for the next try.
    """
    script = (folder / f"{job.purpose}.py").read_text(encoding="utf-8")
    step, target = constant_of(script, CONSTANT) or "", folder / results_folder(job.purpose)
    if _is_of(target, job):
        return
    staging = folder / f"{job.purpose}-{job.attempt}-pushed"
    download(api, repo_id, staging, wanted=[f"{step}/*"])
    _require_true(staging / step, step, folder / job.log, job)
    shutil.rmtree(target, ignore_errors=True)
    (staging / step).rename(target)
    shutil.rmtree(staging)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of fetched results, empty where there is none."""
    file = folder / MANIFEST
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _is_of(target: Path, job: Job) -> bool:
    return read_manifest(target).get("job") == job.id.split("/")[-1]


def _require_true(results: Path, step: str, log: Path, job: Job) -> None:
    """Hold the manifest against job and log, and each file against the manifest.

    Raises:
        WrongResults: Something does not agree.
    """
    manifest = read_manifest(results)
    if not manifest:
        raise WrongResults(f"the job {job.id} ended without an error, but pushed no {MANIFEST} to `{step}`.")
    if (manifest["job"], manifest["step"]) != (job.id.split("/")[-1], step):
        raise WrongResults(f"what lies in `{step}` was pushed by the job {manifest['job']}, not by {job.id}.")
    said = [found for line in read_lines(log) if (found := _SAID.match(line.text))]
    if said and said[-1][2] != sha256_of(results / MANIFEST):
        raise WrongResults(f"{MANIFEST} in `{step}` is not the one that the job's log tells of.")
    for name, told in manifest["files"].items():
        if not (results / name).is_file():
            raise WrongResults(f"`{step}/{name}` was pushed, and is not there.")
        if sha256_of(results / name) != told["sha256"]:
            raise WrongResults(f"`{step}/{name}` is not what the job pushed: its hash is another one.")
