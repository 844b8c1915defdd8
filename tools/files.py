"""Files that are the old ones or the new ones, never half of each; their hashes, and the room that they need."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path

from .errors import UserError


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` in place of `path` in one step: whoever reads it, at any time, reads one version whole.

    Raises:
        OSError: It cannot be written; the former version stays, and no draft is left.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read in pieces: weights are larger than memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_space(folder: Path, needed: float) -> None:
    """Refuse a folder (it need not exist yet) whose disk has less room than a run will take.

    Raises:
        UserError: With what is left and what is needed, in bytes `needed`.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"no space is left on `{there}`: {free / 1e6:.0f} MB, where this run needs about {needed / 1e6:.0f} MB.",
            hint="free some, or choose another folder with --workdir",
        )
