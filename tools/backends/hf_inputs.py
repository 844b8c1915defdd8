"""Data of this machine on its way to a job: named in the quote, uploaded to a private dataset once that is approved.

The script names the uploaded files (`hf://datasets/…`); in a rehearsal here it reads those of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.reading.local import unescaped
from ..facts import DatasetRef
from ..run import Run
from .hf_client import patiently, uploaded
from .hf_results import repository_for

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def travels(ref: DatasetRef) -> bool:
    """Whether a dataset lies on this machine, in files that can be uploaded."""
    return ref.source in ("file", "folder") and isinstance(ref.loader.get("data_files"), dict)


def goes_along(run: Run) -> bool:
    """Whether this run's job needs data that lies on this machine."""
    spec = run.spec
    return spec is not None and spec.backend == "hf-jobs" and spec.dataset_ref is not None and travels(spec.dataset_ref)


def data_repository(run: Run) -> str:
    """Return the private dataset that a run's own data goes to; each run has one of its own.

    Raises:
        UserError: There is no token, or not a good one.
    """
    return f"{repository_for(run)}-data"


def loader_there(run: Run) -> dict[str, Any]:
    """Return by what a script loads the run's data: as it was found, or from where it is uploaded to.

    Raises:
        UserError: It is uploaded, and there is no token to say to whom.
    """
    assert run.spec is not None and run.spec.dataset_ref is not None
    loader = run.spec.dataset_ref.loader
    if not goes_along(run):
        return loader
    home = f"hf://datasets/{data_repository(run)}"
    files = {split: [f"{home}/{name}" for _, name in there] for split, there in _files(run.spec.dataset_ref).items()}
    return loader | {"data_files": files}


def upload_words(run: Run) -> str:
    """Say what leaves this machine with the job, and where to; nothing where nothing does."""
    if not goes_along(run):
        return ""
    assert run.spec is not None and run.spec.dataset_ref is not None
    sizes = [file.stat().st_size for file, _ in _pairs(run.spec.dataset_ref)]
    count = f"{len(sizes)} files" if len(sizes) > 1 else "1 file"
    what = f"{count} of {run.spec.dataset_ref.id}, {sum(sizes) / 1e6:.1f} MB"
    return f"{what}, to the private dataset {data_repository(run)}"


def upload_inputs(api: HfApi, run: Run) -> None:
    """Upload the data that the run's job needs; what is there already is not sent again.

    Raises:
        UserError: The Hub refuses.
        ToolError: It does not answer.
    """
    if not goes_along(run):
        return
    assert run.spec is not None and run.spec.dataset_ref is not None
    ref, repo_id = run.spec.dataset_ref, data_repository(run)
    what = f"create the private dataset `{repo_id}`"
    patiently(lambda: api.create_repo(repo_id, repo_type="dataset", private=True, exist_ok=True), what, changes=True)
    for file, name in _pairs(ref):
        run.journal.tell("progress", step="upload", text=f"{file.name} to {repo_id}")
        patiently(lambda: _upload(api, repo_id, file, name), f"upload `{file.name}` to `{repo_id}`", changes=True)  # noqa: B023


def _upload(api: HfApi, repo_id: str, file: Path, name: str) -> None:
    known = api.get_paths_info(repo_id, [name], repo_type="dataset")
    if not known or getattr(known[0], "size", None) != file.stat().st_size:
        send = lambda: api.upload_file(repo_id=repo_id, repo_type="dataset", path_in_repo=name, path_or_fileobj=file)  # noqa: E731
        uploaded(send)


def _files(ref: DatasetRef) -> dict[str, list[tuple[Path, str]]]:
    """Return each split's files with the names that they get."""
    return {
        split: [
            (Path(unescaped(path)), f"{_plain(split)}/{number:03d}-{_plain(Path(unescaped(path)).name)}")
            for number, path in enumerate(paths)
        ]
        for split, paths in ref.loader["data_files"].items()
    }


def _pairs(ref: DatasetRef) -> Iterator[tuple[Path, str]]:
    for files in _files(ref).values():
        yield from files


def _plain(name: str) -> str:
    """Return a name in which nothing is a pattern."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)
