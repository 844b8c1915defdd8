"""Puts the package's skills where other agents look, and takes back what it put there.

An installed skill is named `ftagent-…`, since a name such as `jobs` says nothing beside the skills of other tools. Next
to it lies the hash of what was written: what a person changed since is never touched without `--force`.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ..tools.files import write_whole
from ..tools.skills import FILE

PLACES = {
    "claude": Path(".claude/skills"),  # https://code.claude.com/docs/en/skills
    "codex": Path(".agents/skills"),  # https://developers.openai.com/codex/skills
    "gemini": Path(".gemini/skills"),  # https://geminicli.com/docs/cli/using-agent-skills
    "cursor": Path(".cursor/skills"),  # https://cursor.com/docs/context/skills
}
"""Agent -> where it looks, below the home folder and below a project."""
FOR_ALL = ("claude", "codex")
"""Whose folders reach all four: Gemini CLI and Cursor read `.agents/skills` as well (their pages above), and would show
a skill twice that lies in their own folder, too."""
PREFIX = "ftagent-"
MARK = ".ftagent"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What was done with one skill in one place."""

    path: Path
    what: str
    """installed, updated, up to date, removed; or why it was left alone."""
    is_left: bool = False
    """Whether it was left alone since a person changed it, or made it."""


def install(base: Path, agents: Sequence[str], *, force: bool = False) -> Iterator[Done]:
    """Install every skill for these agents below `base`, and yield what was done with each.

    Args:
        base: The home folder, or a project.
        agents: Keys of `PLACES`.
        force: Overwrite what a person changed.

    Raises:
        OSError: A folder cannot be written.
    """
    for agent in agents:
        for name, text in installed_texts():
            yield _put(base / PLACES[agent] / name, text, force)


def uninstall(base: Path, agents: Sequence[str], *, force: bool = False) -> Iterator[Done]:
    """Remove what `install` put there, and yield what was done with each; what was changed stays without `force`."""
    for agent in agents:
        for name, _ in installed_texts():
            folder = base / PLACES[agent] / name
            if not folder.exists():
                continue
            if not (_is_ours(folder) or force):
                yield Done(path=folder, what="left: changed since it was installed (--force removes it)", is_left=True)
                continue
            _clear(folder)
            yield Done(path=folder, what="removed")


def installed_texts() -> list[tuple[str, str]]:
    """Return the packaged skills as they are installed: name and text."""
    folders = sorted(f.name for f in files("ftagent.skills").iterdir() if (f / FILE).is_file())
    return [(PREFIX + name, _renamed(name)) for name in folders]


def _renamed(name: str) -> str:
    text = (files("ftagent.skills") / name / FILE).read_text(encoding="utf-8")
    return re.sub(rf"^name: {re.escape(name)}$", f"name: {PREFIX}{name}", text, count=1, flags=re.MULTILINE)


def _put(folder: Path, text: str, force: bool) -> Done:
    file = folder / FILE
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        (folder / MARK).write_text(_hash(text), encoding="utf-8")
        return Done(path=folder, what="up to date")
    there = folder.exists()
    if there and not (_is_ours(folder) or force):
        return Done(path=folder, what="left: changed since it was installed (--force overwrites it)", is_left=True)
    if folder.is_symlink():
        _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, text.encode())
    (folder / MARK).write_text(_hash(text), encoding="utf-8")
    return Done(path=folder, what="updated" if there else "installed")


def _clear(folder: Path) -> None:
    """Remove a folder, or the link in its place and nothing behind it."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder holds exactly what was installed: nothing was changed, and nothing was added."""
    file, mark = folder / FILE, folder / MARK
    if folder.is_symlink() or not (file.is_file() and mark.is_file()):
        return False
    only = {path.name for path in folder.iterdir()} == {FILE, MARK}
    return only and mark.read_text(encoding="utf-8") == _hash(file.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
