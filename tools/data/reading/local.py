"""Local files and folders: found, checked line by line where they are small, and named by the hash of their bytes."""

from __future__ import annotations

import difflib
import glob
import hashlib
import re
from pathlib import Path
from typing import Any, Literal

from ...errors import InputError
from ...facts import DatasetRef
from ...wording import one_line
from .formats import BINARY, FORMATS, WHOLE_BYTES, ending_of, endings, is_compressed
from .layout import Layout
from .lines import check_text
from .splits import EVALUATION_SIDES

# Files that `save_to_disk` and `push_to_hub` write beside the data; `datasets` leaves them out, too.
NOT_DATA = ("dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json")


def find_local(name: str, path: Path, *, hashed: bool = True) -> DatasetRef:
    """Read the files at a path that exists.

    Args:
        name: What the person said.
        path: The file or folder.
        hashed: Whether its bytes make the revision; without, it is empty.

    Raises:
        InputError: There is no data, or something in it that no reader could take.
        OSError, EOFError, RuntimeError, ValueError, zlib.error: It cannot be read.
    """
    if path.is_dir():
        return _folder(name, path, hashed)
    if ending_of(path) is None:
        raise InputError(f"`{one_line(name)}` is no data file that ftagent reads.", hint=f"it reads {endings()}")
    return _reference(name, "file", {"train": [path]}, None, hashed)


def _folder(name: str, folder: Path, hashed: bool) -> DatasetRef:
    inside = [*folder.glob("[!.]*"), *folder.glob("[!.]*/[!.]*")]
    files = sorted(file for file in inside if file.is_file() and ending_of(file) and file.name not in NOT_DATA)
    rest = [file for file in files if ending_of(file) != ".txt"]
    files = rest or files  # beside data, a .txt is a licence or a list of requirements
    if not files:
        raise InputError(f"folder `{one_line(name)}` has no data files.", hint=f"ftagent reads {endings()}")
    found = sorted({ending_of(file) or "" for file in files})
    if len({str(FORMATS[ending]) for ending in found}) > 1:
        raise InputError(f"folder `{one_line(name)}` mixes {' and '.join(found)} files.", hint="name one of its files")
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(split_of(file.relative_to(folder).as_posix()), []).append(file)
    return _reference(name, "folder", splits, folder, hashed)


def split_of(path: str) -> str:
    """Return the split that a file belongs to, by its name, else by its folder's."""
    for part in reversed(path.lower().split("/")):
        words = re.split(r"[^a-z]+", part)
        side = next((word for word in words if word in (*EVALUATION_SIDES, "train")), None)
        if side:
            return side
    return "train"


def _reference(
    name: str, source: Literal["file", "folder"], splits: dict[str, list[Path]], folder: Path | None, hashed: bool
) -> DatasetRef:
    digest = hashlib.sha256()
    for file in (file for files in splits.values() for file in files):
        digest.update(_checked(file, hashed))
    loader = dict(FORMATS[ending_of(next(iter(splits.values()))[0]) or ""])
    loader["data_files"] = {split: [glob.escape(str(file)) for file in files] for split, files in splits.items()}
    licence = _licence(folder) if folder else None
    revision = f"sha256:{digest.hexdigest()}" if hashed else ""
    return DatasetRef(id=name, source=source, revision=revision, loader=loader, licence=licence)


def revision_now(dataset: DatasetRef) -> str:
    """Return the revision that the local files of a dataset have today, whatever they had when they were found.

    Raises:
        InputError: A file is gone.
    """
    digest = hashlib.sha256()
    for pattern in (pattern for files in dataset.loader["data_files"].values() for pattern in files):
        file = Path(re.sub(r"\[([*?[])\]", r"\1", pattern))  # as it was before `glob.escape`
        if not file.is_file():
            raise InputError(f"`{one_line(file.name)}` is gone.", hint="put it back, or plan anew")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def _checked(file: Path, hashed: bool) -> bytes:
    """Return the hash, if it is wanted, of a file that no one writes to and that its reader can take.

    Raises:
        InputError: It is empty, changes, or has a line that no reader could take.
    """
    before = stamp_of(file)
    if not before[0]:
        raise InputError(f"`{one_line(file.name)}` is empty: it has no rows.", hint="check what wrote it")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest() if hashed else b""
    if ending_of(file) not in BINARY and (before[0] <= WHOLE_BYTES or is_compressed(file.name)):
        check_text(str(file))
    refuse_if_changed(file, before)
    return digest


def stamp_of(file: Path) -> tuple[int, int]:
    """Return what changes when somebody writes to a file."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def refuse_if_changed(file: Path, before: tuple[int, int]) -> None:
    """Refuse a file that was written to since its `stamp_of` was taken."""
    if stamp_of(file) != before:
        raise InputError(
            f"`{one_line(file.name)}` changed while it was read: something is still writing it.",
            hint="wait until it is whole, or copy it elsewhere",
        )


def _licence(folder: Path) -> str | None:
    """Return what the front matter of the folder's README.md says."""
    import yaml

    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(65_536)
        front = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") and text.count("---") > 1 else None
    except (OSError, yaml.YAMLError, RecursionError):
        return None
    licence: Any = front.get("license") if isinstance(front, dict) else None
    return one_line(licence) if isinstance(licence, str) else None


def local_layout(ref: DatasetRef) -> Layout:
    """Return the files of a dataset that was found here."""
    files: dict[str, list[str]] = ref.loader["data_files"]
    return Layout(
        loader=dict(ref.loader),
        format=ref.loader["path"],
        options={key: value for key, value in ref.loader.items() if key not in ("path", "data_files")},
        splits={split: tuple(map(unescaped, paths)) for split, paths in files.items()},
    )


def unescaped(pattern: str) -> str:
    """Undo `glob.escape`, which the loader needs and nothing else."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


def close_names(path: Path) -> str:
    """Name the files beside `path` that somebody may have meant."""
    try:
        beside = [other.name for other in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, beside)
    return f"did you mean {' or '.join(f'`{one_line(name, 80)}`' for name in close)}?" if close else ""
