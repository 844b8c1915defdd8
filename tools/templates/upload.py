"""Put a file into a repository of the Hub once, and see what it holds already.

Imported by ftagent and by exported.py, which runs where ftagent is not installed: the standard library and
huggingface_hub alone. Whatever the Hub refuses is raised as huggingface_hub raises it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MADE_BY = "ftagent"
"""The tag on every card of ours, by which a repository of our own is told from somebody else's."""
TABLE = "<!-- quantisations -->"
"""What stands in a card where the table of the files belongs."""
UNWRITTEN = frozenset({".gitattributes"})
"""What the Hub itself puts into a new repository."""


class Foreign(Exception):
    """A repository of this name holds something that ftagent did not put there."""


class Opened(NamedTuple):
    """A repository that may be written to."""

    private: bool
    is_new: bool
    """Whether nothing is in it yet, not even a card."""


def open_repository(api: HfApi, repo_id: str, *, private: bool) -> Opened:
    """Make the repository if it is not there, and refuse one that holds another's work.

    Raises:
        Foreign: It has files, and no card of ours.
    """
    api.create_repo(repo_id, private=private, exist_ok=True)
    api.auth_check(repo_id, write=True)
    info = api.model_info(repo_id)
    files = {file.rfilename for file in info.siblings or []} - UNWRITTEN
    if files and MADE_BY not in (info.tags or []):
        raise Foreign(f"`{repo_id}` exists, and holds {len(files)} files that are not of ftagent's making")
    return Opened(private=bool(info.private), is_new=not files)


def large_files(api: HfApi, repo_id: str) -> list[str]:
    """Return the names of the GGUF files that a repository holds."""
    return [file.rfilename for file in api.model_info(repo_id).siblings or [] if file.rfilename.endswith(".gguf")]


def is_there(api: HfApi, repo_id: str, name: str, *, sha256: str, git_sha1: str = "") -> bool:
    """Tell whether the repository holds this very file, in LFS or as a blob of git's."""
    found = [item for item in api.get_paths_info(repo_id, [name]) if item.path == name]
    if not found:
        return False
    lfs = getattr(found[0], "lfs", None)
    return lfs.sha256 == sha256 if lfs is not None else getattr(found[0], "blob_id", None) == git_sha1


def put(api: HfApi, repo_id: str, file: Path, name: str, *, sha256: str, message: str) -> bool:
    """Upload a large file unless this very one is there; tell whether it was uploaded now."""
    if is_there(api, repo_id, name, sha256=sha256):
        return False
    api.upload_file(path_or_fileobj=str(file), path_in_repo=name, repo_id=repo_id, commit_message=message)
    return True


def put_text(api: HfApi, repo_id: str, text: str, name: str, *, message: str) -> None:
    """Write a small file unless it is there as it is."""
    content = text.encode()
    git_sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if not is_there(api, repo_id, name, sha256=hashlib.sha256(content).hexdigest(), git_sha1=git_sha1):
        api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=repo_id, commit_message=message)


def quantisation_table(files: list[dict], reference: float | None) -> str:
    """Return the files of exported.py as a Markdown table: true sizes, and the quality of each quantisation.

    Args:
        files: As exported.py answers them.
        reference: The perplexity of the merged model in transformers.
    """
    if not files or reference is None:
        return "No file has been proven yet."
    lines = [
        "| file | quantisation | size | perplexity | against the merged model | same greedy tokens | tokens/s |",
        "|---|---|---|---|---|---|---|",
        *map(_table_line, files),
        f"| the merged model, in transformers | – | – | {reference:.4g} | – | – | – |",
    ]
    return "\n".join(lines)


def _table_line(file: dict) -> str:
    proof, weighed = file["proof"], " + importance matrix" if file["importance"] else ""
    change = 100 * (proof["perplexity"] / proof["reference_perplexity"] - 1)
    speed = f"{proof['tokens_per_s']:.0f}" if proof["tokens_per_s"] else "–"
    return (
        f"| `{Path(file['path']).name}` | {file['quantisation']}{weighed} | {file['size_bytes'] / 1e6:.1f} MB "
        f"| {proof['perplexity']:.4g} | {change:+.2f} % | {100 * proof['agreement']:.1f} % | {speed} |"
    )


def sha256_of(file: Path) -> str:
    """Return the hash of a file's bytes, as Git LFS names it."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def as_json(found: dict) -> str:
    """Return what is kept beside the files, as text."""
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
