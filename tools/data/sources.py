"""Where a dataset comes from: a local file, a local folder, or the Hub, looked for in this order.

Local files are read once from end to end: their bytes become the revision, and a line that no reader could take is
refused here, with its number, before anything heavy is imported and before anything is written.
"""

from __future__ import annotations

import difflib
import errno
import glob
import gzip
import hashlib
import importlib
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import InputError, UserError
from ..facts import DatasetRef
from ..settings import Settings
from ..wording import one_line
from .mappings import Row

HUB = "https://huggingface.co/datasets"
HUB_TIMEOUT_S = 10.0

# File ending -> what `datasets.load_dataset` is told.
FORMATS: dict[str, dict[str, Any]] = {
    ".jsonl": {"path": "json"},
    ".json": {"path": "json"},
    ".csv": {"path": "csv"},
    ".tsv": {"path": "csv", "sep": "\t"},
    ".parquet": {"path": "parquet"},
}
COMPRESSIONS = (".gz", ".zst")

# What people call the side that is not trained on: in a `split` column, as a split, or in a file's name.
EVALUATION_SIDES = ("test", "validation", "eval", "dev", "valid", "val")
RECOGNISED_ROWS = 256

NUMBER = "__row__"
"""The column in which rows carry their number through hold-out, filter and mapping."""
UNNAMED = "__index_level_0__"
"""What pandas calls the values of a CSV file that its header has no name for."""


def resolve_dataset(name: str, settings: Settings) -> DatasetRef:
    """Find the dataset that a person named: a file, a folder (relative to the current one), or a Hub id.

    Args:
        name: What the person said.
        settings: The run's settings.

    Raises:
        InputError: It cannot be found, or a local file has something in it that no reader could take.
    """
    try:
        path = Path(name).expanduser().resolve()
        if path.is_file():
            return _file(name, path)
        if path.is_dir() and name.strip():
            return _folder(name, path)
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        raise InputError(
            f"`{one_line(name)}` cannot be read: {_reason(error)}.", hint="check the path, and who may read it"
        ) from error
    if _looks_local(name):
        elsewhere = f"paths are relative to `{Path.cwd()}`"
        raise InputError(f"there is no file or folder `{one_line(str(path), 200)}`.", hint=_close(path) or elsewhere)
    return _on_the_hub(name, path)


# --- local files and folders ------------------------------------------------------------------------------------------


def _file(name: str, path: Path) -> DatasetRef:
    if _ending(path) is None:
        raise InputError(f"`{one_line(name)}` is no data file that ftagent reads.", hint=f"it reads {_endings()}")
    return _local(name, "file", {"train": [path]})


def _folder(name: str, folder: Path) -> DatasetRef:
    inside = [*folder.glob("[!.]*"), *folder.glob("[!.]*/[!.]*")]
    files = sorted(file for file in inside if file.is_file() and _ending(file))
    if not files:
        raise InputError(f"folder `{one_line(name)}` has no data files.", hint=f"ftagent reads {_endings()}")
    endings = sorted({_ending(file) or "" for file in files})
    if len({str(FORMATS[ending]) for ending in endings}) > 1:
        raise InputError(
            f"folder `{one_line(name)}` mixes {' and '.join(endings)} files.", hint="name one of its files"
        )
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(_split_of(file), []).append(file)
    return _local(name, "folder", splits)


def _local(name: str, source: Any, splits: dict[str, list[Path]]) -> DatasetRef:
    digest = hashlib.sha256()
    for file in (file for files in splits.values() for file in files):
        _check(file)
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    loader = dict(FORMATS[_ending(next(iter(splits.values()))[0]) or ""])
    loader["data_files"] = {split: [glob.escape(str(file)) for file in files] for split, files in splits.items()}
    return DatasetRef(id=name, source=source, revision=f"sha256:{digest.hexdigest()}", loader=loader)


def _ending(file: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in COMPRESSIONS]
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def _endings() -> str:
    return f"{', '.join(FORMATS)}, each also as {' and '.join(COMPRESSIONS)}"


def _split_of(file: Path) -> str:
    words = re.split(r"[^a-z]+", file.name.lower())
    return next((word for word in words if word in EVALUATION_SIDES), "train")


# --- reading every line -----------------------------------------------------------------------------------------------


def _check(file: Path) -> None:
    """Refuse a file with something in it that no reader could take.

    Raises:
        InputError: It has no rows, or a line is no UTF-8 or no JSON; the message has the line's number.
        OSError, EOFError, zlib.error: It cannot be opened or decompressed.
    """
    ending = _ending(file)
    if file.stat().st_size > 0 and ending == ".parquet":
        return
    with _open(file) as stream:
        lines = _decoded(file.name, stream)
        if ending in (".json", ".jsonl"):
            rows = _check_json(file.name, lines, may_be_list=ending == ".json")
        else:
            rows = sum(1 for _, line in lines if line.strip()) - 1
    if rows < 1:
        raise InputError(f"`{file.name}` has no rows.", hint="check what wrote it")


def _open(file: Path) -> IO[bytes] | gzip.GzipFile:
    match file.suffix.lower():
        case ".gz":
            return gzip.open(file)
        case ".zst":
            try:
                return importlib.import_module("zstandard").open(file)
            except ModuleNotFoundError as error:
                raise InputError(
                    f"`{file.name}` cannot be decompressed here.", hint="pip install zstandard, or `zstd -d` it"
                ) from error
        case _:
            return file.open("rb")


def _decoded(name: str, stream: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(stream, 1):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"`{name}` line {number} is not UTF-8: byte {line[error.start]:#x} at column {error.start + 1}.",
                hint="save the file as UTF-8",
            ) from error


def _check_json(name: str, lines: Iterator[tuple[int, str]], *, may_be_list: bool) -> int:
    """Return the number of rows of a file with one object a line or, in a `.json` file, one list of objects."""
    rows = 0
    for number, line in lines:
        if may_be_list and not rows and line.lstrip().startswith("["):
            whole = "\n" * (number - 1) + line + "".join(rest for _, rest in lines)
            return sum(_is_object(name, f"item {item}", row) for item, row in enumerate(_parse(name, 1, whole), 1))
        if line.strip():
            rows += _is_object(name, f"line {number}", _parse(name, number, line.strip()))
    return rows


def _parse(name: str, first_line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {first_line + error.lineno - 1} is not JSON: {error.msg} at column {error.colno}"
    except (RecursionError, ValueError) as error:
        where = f"line {first_line} cannot be read: {_reason(error)}"
    raise InputError(f"`{name}` {where}.", hint="mend or remove it; a file holds one JSON object a line")


def _is_object(name: str, where: str, row: Any) -> bool:
    if not isinstance(row, dict):
        raise InputError(
            f"`{name}` {where} is {one_line(json.dumps(row))}, which is no object.",
            hint='each row is an object such as {"text": "…"}',
        )
    return True


# --- the Hub ----------------------------------------------------------------------------------------------------------


def _on_the_hub(name: str, path: Path) -> DatasetRef:
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        info = HfApi().dataset_info(name, timeout=HUB_TIMEOUT_S)
    except GatedRepoError as error:
        raise InputError(
            f"the Hub dataset `{name}` is gated.", hint=f"ask for access at {HUB}/{name}, then `hf auth login`"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        why = "the Hub knows no such dataset (or it is private and no token of yours opens it)"
        raise _not_found(name, path, why, "check the spelling") from error
    except (HTTPError, OSError) as error:
        why = f"the Hub cannot be reached ({_reason(error)})"
        raise _not_found(name, path, why, "name a local file, or look at the network and HF_ENDPOINT") from error
    licence = info.card_data.get("license") if info.card_data else None
    return DatasetRef(
        id=name,
        source="hub",
        revision=info.sha or "",
        loader={"path": name, "revision": info.sha},
        licence=licence if isinstance(licence, str) else None,
    )


def _looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or _ending(Path(name)) is not None


def _not_found(name: str, path: Path, why: str, way_out: str) -> InputError:
    return InputError(
        f"`{one_line(name)}` is no file or folder below `{Path.cwd()}`, and {why}.", hint=_close(path) or way_out
    )


def _close(path: Path) -> str:
    """Name the files beside `path` that somebody may have meant."""
    try:
        beside = [other.name for other in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, beside)
    return f"did you mean {' or '.join(f'`{name}`' for name in close)}?" if close else ""


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return one_line(text.rstrip(".") or type(error).__name__, 120)


# --- loading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that was loaded."""

    id: str
    rows: Any
    """A `datasets.Dataset`."""
    sample: list[Row]
    loader: dict[str, Any]
    subset: str | None
    split: str
    holdout: str


def load_rows(ref: DatasetRef, subset: str | None, split: str | None) -> Source:
    """Load the rows of a dataset that was found, and settle which of them are held out.

    Args:
        ref: The dataset.
        subset: The subset (configuration) of a Hub dataset.
        split: The split that was asked for; None takes the training split, and the evaluation split beside it.

    Raises:
        InputError: It cannot be loaded, or it has fewer than two rows.
        UserError: The cache cannot be written.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    if subset and ref.source != "hub":
        raise InputError(
            f"`{one_line(ref.id)}` is a local {ref.source} and has no subset `{subset}`.", hint="leave it out"
        )
    loader: dict[str, Any] = ref.loader | ({"name": subset} if subset else {})
    # What it prints would tear the run's own live line, and what it logs comes back in the exception.
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        names = () if split else tuple(loader.get("data_files") or datasets.get_dataset_split_names(**loader))
        wanted = split or choose_split(names)
        rows: Any = datasets.load_dataset(**loader, split=wanted)
        _refuse_unless_usable(ref, rows)
        sample = list(rows.select(range(0, len(rows), math.ceil(len(rows) / RECOGNISED_ROWS))))
    except (DatasetsError, ValueError, OSError) as error:
        raise _unreadable(ref, error) from error
    return Source(
        id=ref.id,
        rows=rows,
        sample=sample,
        loader=loader,
        subset=subset,
        split=wanted,
        holdout="split_given" if not split and "+" in wanted else _holdout(rows),
    )


def _refuse_unless_usable(ref: DatasetRef, rows: Any) -> None:
    name = one_line(ref.id)
    if len(rows) < 2:
        raise InputError(f"`{name}` has too few rows: {len(rows)}.", hint="2 are the least, since one is held out")
    if NUMBER in rows.column_names:
        raise InputError(f"`{name}` has a column `{NUMBER}`, which ftagent uses itself.", hint="rename that column")
    if UNNAMED in rows.column_names:
        raise InputError(f"`{name}` has rows with more values than its header has names.", hint="name every column")


def choose_split(names: Sequence[str]) -> str:
    """Return the split to train on, as `train+test` when there is one to evaluate on.

    Raises:
        InputError: No split is plainly the training split.
    """
    train = next((name for name in names if name == "train"), None)
    train = train or next((name for name in names if name.startswith("train")), None)
    if train is None and len(names) != 1:
        raise InputError(f"none of the splits {', '.join(names)} is a training split.", hint="--split NAME")
    train = train or names[0]
    others = (train.replace("train", word) for word in EVALUATION_SIDES)
    return next((f"{train}+{other}" for other in others if other != train and other in names), train)


def _holdout(rows: Any) -> str:
    if "split" not in rows.column_names:
        return "split_by_seed"
    sides = {str(side).lower() for side in rows["split"]}
    has_both = not sides.isdisjoint(EVALUATION_SIDES) and sides.difference(EVALUATION_SIDES)
    return "split_by_column" if has_both else "split_by_seed"


def _unreadable(ref: DatasetRef, error: Exception) -> UserError:
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES):
        return UserError(
            f"the cache of datasets cannot be written: {cause.strerror}.", hint="free some space, or set HF_HOME"
        )
    reason = one_line(str(cause), 200).rstrip(".")
    hint = "check what wrote it"
    if "Config name is missing" in reason:
        hint = "--subset NAME"
    elif "split" in reason:
        hint = "--split NAME"
    return InputError(f"`{one_line(ref.id)}` cannot be loaded: {reason}.", hint=hint)
