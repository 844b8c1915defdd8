"""What the Hub keeps: repositories as commits over content that is named by its hash, as git and git-LFS name it.

Everything lies in one folder, so a Hub that is started again on the same folder has the same repositories:

    objects/<hash>                          content; git's SHA-1 of a blob, or SHA-256 where it came by LFS
    repos/<kind>s/<namespace>/<name>/       repo.json (settings, branches, tags) and commits/<oid>.json
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .errors import HubError

Kind = Literal["model", "dataset", "space"]
Gate = Literal[False, "auto", "manual"]
Content = bytes | str | Path

KINDS: tuple[Kind, ...] = ("model", "dataset", "space")
REPO_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
COMMIT_OID = re.compile(r"[0-9a-f]{40}")
FIRST_FILE = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
"""What the Hub itself commits to a new repository, in short."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of a commit."""

    path: str
    oid: str
    """Git's SHA-1 of the blob; of the pointer, where the content came by LFS."""
    size: int
    sha256: str | None = None
    """Of the content, where it came by LFS."""

    @property
    def content_hash(self) -> str:
        """The name of its content in the store."""
        return self.sha256 or self.oid


@dataclass(frozen=True, kw_only=True)
class Commit:
    """All files of a repository at one moment."""

    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    entries: dict[str, Entry]


@dataclass(kw_only=True)
class Repo:
    """One repository; `granted` are those to whom a gated one was opened."""

    kind: Kind
    id: str
    private: bool = False
    gated: Gate = False
    granted: list[str] = field(default_factory=list)
    created: str = ""
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The user or organisation that owns it."""
        return self.id.split("/")[0]

    @property
    def path(self) -> str:
        """Where it lies below the endpoint, for people and for downloads."""
        return self.id if self.kind == "model" else f"{self.kind}s/{self.id}"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of a commit: a file that is new or other than before, or a file or folder that goes."""

    path: str
    entry: Entry | None = None
    """None: it goes."""
    is_folder: bool = False


class Store:
    """All repositories and their content.

    Args:
        folder: Where to keep them; made when it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.objects = folder / "objects"
        self._repos = folder / "repos"
        self.objects.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()

    # --- content

    def put(self, path: str, content: Content) -> Entry:
        """Keep small content as git keeps it, and return the entry that a commit takes."""
        data = _read(content)
        oid = git_hash(data)
        self.write_object(oid, data)
        return Entry(path=path, oid=oid, size=len(data))

    def put_lfs(self, path: str, sha256: str, size: int | None = None) -> Entry:
        """Return the entry for content that was uploaded before.

        Raises:
            HubError: Nothing was uploaded under this hash.
        """
        file = self.objects / sha256
        if not file.exists():
            raise HubError(400, f"LFS pointer pointed to a file that does not exist: {path}")
        if size is not None and size != file.stat().st_size:
            raise HubError(400, f"{path} has {file.stat().st_size} bytes, and {size} were said")
        return Entry(
            path=path, oid=git_hash(_pointer(sha256, file.stat().st_size)), size=file.stat().st_size, sha256=sha256
        )

    def write_object(self, name: str, data: bytes) -> None:
        """Write content under its hash, whole or not at all."""
        with self._lock:
            if not (self.objects / name).exists():
                draft = self.objects / f"{name}.part"
                draft.write_bytes(data)
                draft.rename(self.objects / name)

    def read(self, entry: Entry) -> bytes:
        """Return a file's content."""
        return self.file(entry).read_bytes()

    def file(self, entry: Entry) -> Path:
        """Return where a file's content lies."""
        return self.objects / entry.content_hash

    # --- repositories

    def create(self, kind: Kind, repo_id: str, *, private: bool = False, gated: Gate = False) -> Repo:
        """Make a repository with its first commit.

        Raises:
            HubError: There is one already (409), or the name is none (400).
        """
        if not REPO_ID.fullmatch(repo_id):
            raise HubError(400, f"`{repo_id}` is no repository id: namespace/name")
        with self._lock:
            folder = self._folder(kind, repo_id)
            if folder.exists():
                raise HubError(409, f"You already created this {kind} repo")
            (folder / "commits").mkdir(parents=True)
            repo = Repo(kind=kind, id=repo_id, private=private, gated=gated, created=now())
            first = [Change(path=path, entry=self.put(path, data)) for path, data in FIRST_FILE.items()]
            self.commit(repo, first, title="initial commit", author=repo.namespace)
            return repo

    def get(self, kind: Kind, repo_id: str) -> Repo:
        """Return a repository.

        Raises:
            HubError: There is none.
        """
        file = self._folder(kind, repo_id) / "repo.json"
        if not REPO_ID.fullmatch(repo_id) or not file.exists():
            raise HubError(404, "Repository not found", code="RepoNotFound")
        return Repo(**json.loads(file.read_text(encoding="utf-8")))

    def all(self, kind: Kind) -> list[Repo]:
        """Return every repository of a kind, by name."""
        files = sorted((self._repos / f"{kind}s").glob("*/*/repo.json"))
        return [Repo(**json.loads(file.read_text(encoding="utf-8"))) for file in files]

    def save(self, repo: Repo) -> None:
        """Write settings, branches and tags down."""
        with self._lock:
            file = self._folder(repo.kind, repo.id) / "repo.json"
            draft = file.with_suffix(".part")
            draft.write_text(json.dumps(asdict(repo), indent=1), encoding="utf-8")
            draft.rename(file)

    def delete(self, repo: Repo) -> None:
        """Remove a repository; content stays, since others may share it."""
        with self._lock:
            shutil.rmtree(self._folder(repo.kind, repo.id))

    def _folder(self, kind: Kind, repo_id: str) -> Path:
        return self._repos / f"{kind}s" / repo_id

    # --- commits

    def commit(
        self,
        repo: Repo,
        changes: Iterable[Change],
        *,
        title: str,
        message: str = "",
        author: str,
        branch: str = "main",
        parent: str | None = None,
    ) -> Commit:
        """Put changes on a branch, and return the commit.

        Args:
            repo: The repository; its branch moves.
            changes: What the commit changes; of two about one path the later wins.
            title: The commit's first line.
            message: What else it says.
            author: Who commits.
            branch: The branch; it must exist unless it is the first commit.
            parent: The commit that the branch must be at.

        Raises:
            HubError: The branch is elsewhere (412), or a path that should go is not there (404).
        """
        with self._lock:
            head = self.head(repo, branch) if repo.branches else None
            if parent and head and parent != head.oid:
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            entries = dict(head.entries) if head else {}
            for change in changes:
                _apply(entries, change)
            body = {
                "parent": head.oid if head else None,
                "title": title,
                "message": message,
                "author": author,
                "date": now(),
                "entries": {path: asdict(entry) for path, entry in sorted(entries.items())},
            }
            oid = hashlib.sha1(json.dumps([repo.kind, repo.id, body]).encode()).hexdigest()
            (self._folder(repo.kind, repo.id) / "commits" / f"{oid}.json").write_text(
                json.dumps(body), encoding="utf-8"
            )
            repo.branches[branch] = oid
            self.save(repo)
            return self._load(repo, oid)

    def add_files(self, repo: Repo, files: Mapping[str, Content], *, title: str = "add files") -> Commit:
        """Commit files to `main` as a test has them: text, bytes, or a path on disk."""
        changes = [Change(path=path, entry=self.put(path, content)) for path, content in files.items()]
        return self.commit(repo, changes, title=title, author=repo.namespace)

    def head(self, repo: Repo, revision: str) -> Commit:
        """Return the commit that a branch, a tag or a hash means.

        Raises:
            HubError: There is no such revision.
        """
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        oid = repo.branches.get(name) or repo.tags.get(name) or name
        if not COMMIT_OID.fullmatch(oid) or not self._commit_file(repo, oid).exists():
            raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        return self._load(repo, oid)

    def history(self, repo: Repo, revision: str) -> list[Commit]:
        """Return a commit and all before it, newest first."""
        found = [self.head(repo, revision)]
        while parent := found[-1].parent:
            found.append(self._load(repo, parent))
        return found

    def _commit_file(self, repo: Repo, oid: str) -> Path:
        return self._folder(repo.kind, repo.id) / "commits" / f"{oid}.json"

    def _load(self, repo: Repo, oid: str) -> Commit:
        body: dict[str, Any] = json.loads(self._commit_file(repo, oid).read_text(encoding="utf-8"))
        entries = {path: Entry(**entry) for path, entry in body.pop("entries").items()}
        return Commit(oid=oid, entries=entries, **body)


def _apply(entries: dict[str, Entry], change: Change) -> None:
    if change.entry:
        entries[change.path] = change.entry
        return
    prefix = change.path.rstrip("/") + "/"
    gone = (
        [p for p in entries if p.startswith(prefix)] if change.is_folder else [p for p in entries if p == change.path]
    )
    if not gone:
        raise HubError(404, f"A file with this name doesn't exist: {change.path}", code="EntryNotFound")
    for path in gone:
        del entries[path]


def git_hash(data: bytes) -> str:
    """Return the name that git gives to a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer_size(entry: Entry) -> int:
    """Return the size of the LFS pointer that stands in git for this file."""
    return len(_pointer(entry.sha256 or "", entry.size))


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _read(content: Content) -> bytes:
    if isinstance(content, Path):
        return content.read_bytes()
    return content.encode() if isinstance(content, str) else content


def now() -> str:
    """Return this moment as the Hub writes it: ISO 8601, milliseconds, `Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
