"""What a remote job leaves behind: the private repository that it pushes to, and its way into the run's folder.

The script pushes by itself, since its machine is gone when it ends (`HUB_MODEL_ID` in `tools/templates/base.py`):

    last-checkpoint/            while it trains, at each save: what the next job goes on from
    adapter or model, README    at its end, at the root
    result.json heldout.jsonl
"""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import stopping
from ..files import write_whole
from ..run import Run, experiment_name
from ..settings import Settings
from ..trained import CHECKPOINT, HELDOUT
from .hf_client import PAUSES_S, explained, http_error, hub, is_transient, patiently

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CONSTANT = "HUB_MODEL_ID"
RESULT = "result.json"
ELSEWHERE = (RESULT, HELDOUT)
"""What belongs beside the checkpoint's folder, not into it."""
PUSHED_STATE = "last-checkpoint/trainer_state.json"
NOT_WANTED = ("last-checkpoint/*", ".gitattributes", "ftagent/*")
LONGEST_NAME = 96 - 25
"""What `validate_repo_id` of huggingface_hub allows, less the hyphen and the job's id that each firing adds."""


def owner_of(run: Run) -> str:
    """Return the namespace that the settings name, else the user whose token it is.

    Raises:
        UserError: There is no token, or not a good one.
    """
    return owner_by(run.settings)


def owner_by(settings: Settings) -> str:
    """Return the namespace that the settings name, else the user whose token it is.

    Raises:
        UserError: There is no token, or not a good one.
    """
    return settings.namespace or patiently(lambda: hub().whoami(cache=True)["name"], "tell whose token it is")


def repository_for(run: Run) -> str | None:
    """Return the repository that a run's script shall push to, None where it trains on this machine.

    Each run has one of its own: a script goes on from the checkpoint that it finds there.

    Raises:
        UserError: There is no token, or not a good one.
    """
    assert run.spec is not None
    if run.spec.backend != "hf-jobs":
        return None
    return f"{owner_of(run)}/{experiment_name(run.spec)[: LONGEST_NAME - len(run.id) - 1].rstrip('-.')}-{run.id}"


def repository_of(script: str) -> str | None:
    """Return the repository that a training script pushes to, None where it pushes to none."""
    return constant_of(script, CONSTANT)


def constant_of(script: str, name: str) -> str | None:
    """Return the text that stands in a script under this name, None where there is none."""
    value = literal_of(script, name)
    return value if isinstance(value, str) else None


def literal_of(script: str, name: str) -> Any:
    """Return the literal that stands in a script under this name, None where there is none."""
    for node in ast.parse(script).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                try:
                    return ast.literal_eval(value)
                except ValueError:  # it is computed
                    return None
            case _:
                continue
    return None


def prepare_repository(api: HfApi, repo_id: str) -> None:
    """Make the private repository, and see that it can be written to, before anything is paid.

    Raises:
        UserError: The token may not create it or write to it.
        ToolError: The Hub does not answer.
    """
    patiently(
        lambda: api.create_repo(repo_id, private=True, exist_ok=True),
        f"create the private repository `{repo_id}`",
        changes=True,
    )
    patiently(lambda: api.auth_check(repo_id, write=True), f"write to the repository `{repo_id}`")


def pushed_step(api: HfApi, repo_id: str) -> int:
    """Return the step of the checkpoint that the next job goes on from, 0 where none was pushed.

    Raises:
        UserError: The Hub refuses.
        ToolError: The Hub does not answer.
    """
    from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    def read() -> int:
        # No download through the client: one that cannot reach the Hub says of a file that it does not exist.
        url = f"{api.endpoint}/{repo_id}/resolve/main/{PUSHED_STATE}"
        answer = get_session().get(url, headers=build_hf_headers(token=api.token), follow_redirects=True)
        try:
            hf_raise_for_status(answer)
        except (RemoteEntryNotFoundError, RepositoryNotFoundError):
            return 0
        return answer.json()["global_step"]

    return patiently(read, f"look for a checkpoint in `{repo_id}`")


def fetch_results(api: HfApi, repo_id: str, folder: Path, name: str) -> None:
    """Put what a finished job has pushed where a local job would have left it, once.

    Args:
        api: The client.
        repo_id: Where the job pushed to.
        folder: The run's folder.
        name: Of the folder below it to which is downloaded first; and of the JSON file that then says what came.

    Raises:
        UserError: The Hub refuses.
        ToolError: It could not be downloaded; what had arrived is kept for the next try.
    """
    note, staging, checkpoint = folder / f"{name}.json", folder / name, folder / CHECKPOINT
    if note.exists() and checkpoint.exists():
        return
    known = json.loads(note.read_text(encoding="utf-8"))["revision"] if note.exists() else None
    revision = download(api, repo_id, staging, revision=known)
    shutil.rmtree(checkpoint, ignore_errors=True)
    checkpoint.mkdir()
    shutil.rmtree(staging / ".cache")  # the client's own notes on what it has downloaded
    for item in staging.iterdir():
        target = folder if item.name in ELSEWHERE else checkpoint
        item.replace(target / item.name)
    staging.rmdir()
    write_whole(note, json.dumps({"repository": repo_id, "revision": revision}).encode())


def pushed_revision(run: Run, attempt: int) -> str | None:
    """Return the revision of the finished model that an attempt of the training has pushed."""
    note = run.folder / f"pushed-{attempt}.json"
    return json.loads(note.read_text(encoding="utf-8"))["revision"] if note.exists() else None


def download(
    api: HfApi, repo_id: str, staging: Path, *, wanted: Sequence[str] | None = None, revision: str | None = None
) -> str:
    """Download a run's repository, and return its revision; what breaks off is taken up again.

    Args:
        api: The client.
        repo_id: The repository.
        staging: Where to.
        wanted: Patterns of paths; by default all of the finished model.
        revision: The newest by default.

    Raises:
        UserError: The Hub refuses.
        ToolError: It could not be downloaded; what had arrived is kept for the next try.

    `huggingface_hub` 1.33 itself goes on after a connection was closed, and gives up after a reset (`httpx.ReadError`).
    """
    what = f"download the results from `{repo_id}`"
    revision = revision or patiently(lambda: api.model_info(repo_id).sha, what)
    assert revision is not None
    for pause in (*PAUSES_S, None):
        try:
            stopping.unless_stopped(
                lambda: api.snapshot_download(
                    repo_id,
                    revision=revision,
                    local_dir=staging,
                    allow_patterns=list(wanted) if wanted else None,
                    ignore_patterns=None if wanted else list(NOT_WANTED),
                )
            )
        except (OSError, http_error()) as error:
            is_refusal = isinstance(error, http_error()) and not is_transient(error)
            if is_refusal or pause is None:
                raise explained(error, what) from error
            stopping.pause(pause)
        else:
            return revision
    raise AssertionError("the last try returns or raises")
