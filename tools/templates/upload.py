"""Put a file into a repository of the Hub once, see what it holds already, and leave alone what a person wrote there.

Imported by ftagent and by exported.py, which runs where ftagent is not installed: the standard library and
huggingface_hub alone. Whatever the Hub refuses is raised as huggingface_hub raises it.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MADE_BY = "ftagent"
"""The tag on every card of ours, by which a repository of our own is told from somebody else's."""
TABLE = "<!-- quantisations -->"
"""What stands in a card where the table of the files belongs."""
UNWRITTEN = frozenset({".gitattributes"})
"""What the Hub itself puts into a new repository."""
CARD = "README.md"
BEGIN = re.compile(r"<!-- ftagent writes from here ([0-9a-f]{12}) ([0-9a-f]{12})[^\n]*-->\n")
END = "<!-- ftagent writes to here -->"
FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
MOVED = 412
"""HTTP status of a commit whose parent is not the newest any more."""
TRIES = 5


class Foreign(Exception):
    """A repository of this name holds something that ftagent did not put there."""


class Opened(NamedTuple):
    """A repository that may be written to."""

    private: bool
    is_new: bool
    """Whether nothing is in it yet, not even a card."""


def open_repository(api: HfApi, repo_id: str, *, private: bool, is_known: bool = False) -> Opened:
    """Make the repository if it is not there, and refuse one that holds another's work.

    Args:
        api: The client.
        repo_id: The repository.
        private: Whether a new one is.
        is_known: Whether it is surely of our making, such as one that the run's training pushes to.

    Raises:
        Foreign: It has files, and no card of ours.
    """
    api.create_repo(repo_id, private=private, exist_ok=True)
    api.auth_check(repo_id, write=True)
    info = api.model_info(repo_id)
    files = {file.rfilename for file in info.siblings or []} - UNWRITTEN
    is_ours = is_known or not files or MADE_BY in (info.tags or [])
    if not is_ours and not BEGIN.search(read_text(api, repo_id, CARD) or ""):
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


def git_sha1_of(content: bytes) -> str:
    """Return the name that git gives to a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def put(api: HfApi, repo_id: str, file: Path, name: str, *, sha256: str, message: str) -> bool:
    """Upload a large file unless this very one is there; tell whether it was uploaded now."""
    if is_there(api, repo_id, name, sha256=sha256):
        return False
    api.upload_file(path_or_fileobj=str(file), path_in_repo=name, repo_id=repo_id, commit_message=message)
    return True


def put_text(api: HfApi, repo_id: str, text: str, name: str, *, message: str) -> None:
    """Write a small file unless it is there as it is."""
    content = text.encode()
    if not is_there(api, repo_id, name, sha256=hashlib.sha256(content).hexdigest(), git_sha1=git_sha1_of(content)):
        api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=repo_id, commit_message=message)


def read_text(api: HfApi, repo_id: str, name: str, revision: str | None = None) -> str | None:
    """Return a small file of a repository, None where there is none."""
    from huggingface_hub.errors import RemoteEntryNotFoundError
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    # No download through the client: one that cannot reach the Hub says of a file that it does not exist.
    url = f"{api.endpoint}/{repo_id}/resolve/{revision or 'main'}/{name}"
    answer = get_session().get(url, headers=build_hf_headers(token=api.token), follow_redirects=True)
    try:
        hf_raise_for_status(answer)
    except RemoteEntryNotFoundError:
        return None
    return answer.content.decode()


# --- cards ------------------------------------------------------------------------------------------------------------


class Laid(NamedTuple):
    """A card as it is to be, and what of it a person wrote where ftagent would have written."""

    text: str
    kept: str


def laid_over(there: str | None, new: str) -> Laid:
    """Return the card that is there with our part of it written anew.

    Our part stands between two lines, of which the first has the hashes of what we wrote; the head of the card (YAML)
    has one, too. What has another hash by now was changed by a person, and stays; so does all that stands outside, and
    a card without the two lines.

    Args:
        there: The card in the repository, None where there is none.
        new: The card that we would write.
    """
    front, body = _parted(new)
    line = f"<!-- ftagent writes from here {_hash(front)} {_hash(body)}: what is added outside, or changed, stays -->"
    ours = f"{line}\n{body.strip()}\n\n{END}\n"
    if not (there or "").strip():
        return Laid(f"---\n{front}\n---\n\n{ours}", "")
    there = (there or "").replace("\r\n", "\n")
    begins, ends = BEGIN.search(there), there.find(END)
    if begins is None or ends < begins.end():
        return Laid(there, "the whole card, which has no part of ftagent's")
    before, old_body, after = there[: begins.start()], there[begins.end() : ends], there[ends + len(END) + 1 :]
    old_front, top = _parted(before)
    kept: list[str] = []
    if _hash(old_front) == begins[1]:
        before = f"---\n{front}\n---\n{top}"
    else:
        kept.append("the head of the card")
    if _hash(old_body) != begins[2]:
        kept.append("the text between ftagent's lines")
        ours = f"{line}\n{old_body.strip()}\n\n{END}\n"
    return Laid(before + ours + after, " and ".join(kept))


def _parted(card: str) -> tuple[str, str]:
    """Return the head of a card, and what comes after it."""
    found = FRONT.match(card)
    return (found[1], card[found.end() :]) if found else ("", card)


def _hash(text: str) -> str:
    """Return a hash that white space at the ends of lines does not change."""
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def put_card(api: HfApi, repo_id: str, card: str, *, beside: dict[str, Any] | None = None, message: str) -> str:
    """Write the card, and in the same commit what belongs to it; return what of the card a person wrote and stays.

    Args:
        api: The client.
        repo_id: The repository.
        card: The card that we would write.
        beside: Further files, by name: a path, or bytes.
        message: Of the commit.
    """
    for tries_left in reversed(range(TRIES)):
        head = api.model_info(repo_id).sha
        there = read_text(api, repo_id, CARD, head)
        laid = laid_over(there, card)
        changed = {} if laid.text == there else {CARD: laid.text.encode()}
        if is_committed(api, repo_id, changed | (beside or {}), head, message, may_give_up=not tries_left):
            return laid.kept
    raise AssertionError("the last try returns or raises")


def is_committed(
    api: HfApi, repo_id: str, files: dict[str, Any], parent: str | None, message: str, *, may_give_up: bool
) -> bool:
    """Commit files on top of a commit; tell whether it was done, or somebody else was quicker."""
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import HfHubHTTPError

    if not files:
        return True
    added = [CommitOperationAdd(name, str(file) if isinstance(file, Path) else file) for name, file in files.items()]
    try:
        api.create_commit(repo_id, added, commit_message=message, parent_commit=parent)
    except HfHubHTTPError as error:
        if may_give_up or error.response.status_code != MOVED:
            raise
        return False
    return True


# --- the table of the files ------------------------------------------------------------------------------------------


def quantisation_table(files: list[dict], reference: float | None, others: list[str] | None = None) -> str:
    """Return the files of exported.py as a Markdown table: true sizes, and the quality of each quantisation.

    Args:
        files: As exported.py answers them.
        reference: The perplexity of the merged model in transformers.
        others: Names of files in the same repository of which nothing is known.
    """
    named = ", ".join(f"`{name}`" for name in sorted(others or []))
    told = f"\n\nOf an earlier run, and not measured here: {named}" if named else ""
    if not files or reference is None:
        return "No file has been proven yet." + told
    lines = [
        "| file | quantisation | size | perplexity | against the merged model | same greedy tokens | tokens/s |",
        "|---|---|---|---|---|---|---|",
        *map(_table_line, files),
        f"| the merged model, in transformers | – | – | {reference:.4g} | – | – | – |",
    ]
    return "\n".join(lines) + told


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


def tell(**told: Any) -> None:
    """Print one line of progress for whoever follows a program."""
    print("@progress " + json.dumps(told), flush=True)
