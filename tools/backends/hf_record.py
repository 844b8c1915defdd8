"""A run's own record on the Hub, beside what its jobs push: any machine takes the run up with a job's id alone.

Before each job is started, the journal and the scripts go to `ftagent/run/` in the run's private repository, and with
them the files that a step after the training reads (`INPUTS` in `templates/step.py`). What the journal says of this
machine (folders, interpreter) is replaced by whoever takes the run up.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UserError
from ..facts import TERMINAL_STAGES
from ..journal import JOURNAL, read_events
from ..run import REPORTS, Run, experiment_name, open_run
from ..settings import Settings
from ..templates.upload import git_sha1_of, is_there
from .hf_client import hub, patiently, uploaded
from .hf_request import RUN_LABEL, script_in
from .hf_results import constant_of, download, literal_of, owner_by, repository_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FOLDER = "ftagent/run"
JOB_ID = re.compile(r"(?:(?P<namespace>[\w.-]+)/)?(?P<id>[0-9a-f]{24})")
"""A job's id, alone or behind its namespace."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a job says of the run that started it."""

    run_id: str
    repository: str


def is_job_id(text: str) -> bool:
    """Whether a text can be the id of a job on the Hub."""
    return JOB_ID.fullmatch(text) is not None


def push_record(api: HfApi, repo_id: str, run: Run, script: str) -> None:
    """Push the journal, the scripts, and which revision each job has pushed, as they are now.

    Args:
        api: The client.
        repo_id: Where to.
        run: The run.
        script: The text of the one that is about to run; what it reads of the record goes along.

    Raises:
        UserError: The Hub refuses.
        ToolError: It does not answer.
    """
    from huggingface_hub import CommitOperationAdd

    what = f"write the run's record to `{repo_id}`"
    names = [JOURNAL, *sorted(file.name for pattern in ("*.py", "pushed-*.json") for file in run.folder.glob(pattern))]
    names += literal_of(script, "INPUTS") or ()
    files = {f"{FOLDER}/{name}": (run.folder / name).read_bytes() for name in names}
    new = patiently(lambda: _not_there(api, repo_id, files), what)
    if new:
        added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=files[name]) for name in new]
        commit = lambda: api.create_commit(repo_id, added, commit_message="The run's own record")  # noqa: E731
        patiently(lambda: uploaded(commit), what, changes=True)


def _not_there(api: HfApi, repo_id: str, files: dict[str, bytes]) -> list[str]:
    """Return the names of those that the repository does not hold as they are."""
    return [
        name
        for name, content in files.items()
        if not is_there(api, repo_id, name, sha256=hashlib.sha256(content).hexdigest(), git_sha1=git_sha1_of(content))
    ]


def attach(settings: Settings, job_id: str) -> Run:
    """Make the folder of the run that started a job, from what the job and its run have left on the Hub.

    Args:
        settings: Name the working folder, and whose jobs are looked at where the id does not say it.
        job_id: The job, alone or behind its namespace.

    Raises:
        UserError: There is no such job, it is none of ftagent's, or its run left no record.
        ToolError: The Hub does not answer.
    """
    api, known = hub(), _asked(settings, job_id)
    staging = settings.workdir / REPORTS / f".{known.run_id}"
    download(api, known.repository, staging, wanted=[f"{FOLDER}/*"])
    left = staging / FOLDER
    events = list(read_events(left / JOURNAL))
    specs = [event.data for event in events if event.kind == "plan_run"]
    if not specs:
        raise UserError(
            f"the run of the job `{job_id}` left no record in `{known.repository}`.",
            hint="copy its folder below training_reports/, and name the run",
        )
    run = open_run(left)
    assert run.spec is not None
    folder = settings.workdir / REPORTS / experiment_name(run.spec) / known.run_id
    if not folder.exists():  # an earlier try may have come as far as this
        folder.parent.mkdir(parents=True, exist_ok=True)
        left.rename(folder)
    shutil.rmtree(staging, ignore_errors=True)
    return _with_its_job(open_run(folder))


def _asked(settings: Settings, job_id: str) -> Known:
    """Ask the Hub which run a job belongs to, and where that pushes to."""
    found = JOB_ID.fullmatch(job_id)
    if found is None:
        raise UserError(f"`{job_id}` is no id of a job.", hint="`hf jobs ps --all` lists them")
    namespace = found["namespace"] or owner_by(settings)
    info = patiently(lambda: hub().inspect_job(job_id=found["id"], namespace=namespace), f"read the job `{job_id}`")
    script, run_id = script_in(info.environment or {}), (info.labels or {}).get(RUN_LABEL)
    repository = (repository_of(script) or constant_of(script, "REPOSITORY")) if script else None
    if run_id is None or repository is None:
        raise UserError(f"the job `{job_id}` was not started by ftagent.", hint="`hf jobs ps --all` lists the jobs")
    return Known(run_id=run_id, repository=repository)


def _with_its_job(run: Run) -> Run:
    """Return the run with the job that was meant when its record was pushed, and what that has left."""
    from . import JobState, backend_of

    assert run.spec is not None
    backend = backend_of(run.spec.backend)
    for intent, job in ((run.intent, run.job), *((step.intent, step.job) for step in run.later.values())):
        if intent is not None and job is None and (found := backend.find(run, intent)):
            run = run.record(found)
    if run.job is not None and run.report is not None and run.report.stage in TERMINAL_STAGES:
        backend.collect(run, run.job, JobState(stage=run.report.stage))
    return run
