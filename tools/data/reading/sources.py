"""Where a dataset comes from: a local file or folder, the Hub, or a function; and the rows that are read of it.

Small local text is read whole, by `datasets.load_dataset` as the training script will. Of all else a sample is read
from places all over its files: nothing is downloaded or converted whole.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError, UserError
from ...facts import DatasetRef
from ...settings import Settings
from ...wording import one_line
from ..shaping.holdouts import HOLDOUTS
from ..shaping.mappings import Row
from .columns import read_arrow, read_parquet
from .conflicts import conflict_in
from .formats import MAX_COLUMNS, WHOLE_BYTES, is_compressed, is_remote, open_text
from .hub import Unreachable, find_hub_path, find_on_hub, hub_layout, is_plain_id, looks_like_hub_path
from .layout import Layout
from .local import close_names, find_local, local_layout, refuse_if_changed, stamp_of
from .sample import HELDOUT_SHARE, NUMBER, WEIGHED_ROWS, Read, cut, numbered, spread
from .splits import EVALUATION_SIDES, Splits, choose_splits, known_split
from .texts import read_text

UNNAMED = "__index_level_0__"
"""What pandas calls the values of a CSV file that its header has no name for."""


def resolve_dataset(name: str, settings: Settings, *, hashed: bool = True) -> DatasetRef:
    """Find the dataset that a person named: a file, a folder (relative to the current one), or on the Hub.

    Args:
        name: What the person said: a name from the settings, a path, `owner/name`, `owner/name@revision` or `hf://datasets/owner/name/…`.
        settings: The run's settings.
        hashed: Whether the bytes of local files make the revision, which takes a second a gigabyte; without, it is
            empty.

    Raises:
        InputError: It cannot be found, or a local file has something in it that no reader could take.
    """
    if file := settings.datasets.get(name):
        return resolve_dataset(str(file), settings, hashed=hashed).model_copy(update={"id": name})
    path = Path(name)
    try:
        if looks_like_hub_path(name):
            return find_hub_path(name)
        path = _expanded(name)
        if name.strip() and path.exists():
            return find_local(name, path, hashed=hashed)
        if name.startswith((".", "/", "~")) or not is_plain_id(name):
            elsewhere = f"paths are relative to `{Path.cwd()}`"
            raise InputError(
                f"there is no file or folder `{one_line(str(path), 200)}`.", hint=close_names(path) or elsewhere
            )
        return find_on_hub(name)
    except Unreachable as error:
        why, way_out = error.args
        raise InputError(
            f"`{one_line(name)}` is no file or folder below `{Path.cwd()}`, and {why}.",
            hint=close_names(path) or way_out,
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        raise InputError(
            f"`{one_line(name)}` cannot be read: {_reason(error)}.", hint="check the path, and who may read it"
        ) from error


def _expanded(name: str) -> Path:
    return Path(name).expanduser().resolve()


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return one_line(text.rstrip(".") or type(error).__name__, 200)


# --- what was read ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset of which rows were read."""

    id: str
    loader: dict[str, Any]
    """With `split`, what the training script gives to `datasets.load_dataset`."""
    subset: str | None
    split: str
    holdout: str
    """A name in `HOLDOUTS`."""
    columns: tuple[str, ...]
    train: Any
    """A `datasets.Dataset`; column `NUMBER` has the row's number in the dataset as the script will load it."""
    heldout: Any
    """Likewise. Of a dataset that was not read whole these rows stand for the ones that the script will hold out."""
    train_total: int
    heldout_total: int
    exact: bool
    """Whether the totals, and the numbers of the rows, were counted and not estimated."""
    files: tuple[str, ...]
    """Local paths or hf:// addresses of the chosen splits, for a full scan."""
    format: str
    """`json`, `csv`, `text`, `parquet` or `arrow`."""
    choices: dict[str, str]
    """`subset` and `split`, where a rule chose them: which rule, in words."""

    @property
    def sample(self) -> list[Row]:
        """At most 256 rows, evenly spread, without their numbers."""
        rows = self.train.remove_columns(NUMBER)
        return list(rows.select(spread(len(rows), WEIGHED_ROWS)))


def open_source(
    ref: DatasetRef,
    settings: Settings,
    subset: str | None,
    split: str | None,
    *,
    benchmarks: Sequence[str] = (),
) -> Source:
    """Read rows of a dataset that was found, and settle which of them are held out.

    Args:
        ref: The dataset.
        settings: The run's settings.
        subset: The subset (configuration) of a Hub dataset; None lets a rule choose.
        split: The split to train on; None takes the training split, and the evaluation split beside it.
        benchmarks: Names of the benchmarks that will judge the model: subsets in their language are preferred.

    Raises:
        InputError: It cannot be read, nothing can be chosen, or it has fewer than two rows.
        UserError: The cache cannot be written.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    # What it prints would tear the run's own live line, and what it logs comes back in the exception.
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    layout: Layout | None = None
    try:
        layout = _layout(ref, subset, benchmarks)
        chosen = _splits(ref, layout, split)
        return _source(ref, layout, chosen, *_sides(ref, layout, chosen))
    except (DatasetsError, OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(ref, layout, error) from error


def _layout(ref: DatasetRef, subset: str | None, benchmarks: Sequence[str]) -> Layout:
    if ref.source == "hub":
        return hub_layout(ref, subset, benchmarks)
    if subset:
        raise InputError(
            f"`{one_line(ref.id)}` is a local {ref.source} and has no subset `{one_line(subset)}`.",
            hint="leave it out",
        )
    return local_layout(ref)


def _splits(ref: DatasetRef, layout: Layout, split: str | None) -> Splits:
    names = [name for name, files in layout.splits.items() if files]
    if not names:
        raise InputError(f"`{one_line(ref.id)}` has no data files.", hint="name another subset or dataset")
    if split:
        return Splits(known_split(ref.id, names, split), None, "")
    return choose_splits(names)


def _sides(ref: DatasetRef, layout: Layout, chosen: Splits) -> tuple[Read, Read | None]:
    train = _read(layout, chosen.train)
    _refuse_unless_usable(ref, layout, chosen.train, train)
    if chosen.heldout is None:
        return train, None
    heldout = _read(layout, chosen.heldout)
    if not len(heldout.rows):
        raise InputError(
            f"split `{one_line(chosen.heldout)}` of `{one_line(ref.id)}` is empty.",
            hint=f"--split {one_line(chosen.train)}",
        )
    return train, heldout


def _read(layout: Layout, split: str) -> Read:
    files, total = layout.splits[split], layout.totals.get(split)
    before = {file: stamp_of(Path(file)) for file in files if not is_remote(file)}
    if layout.format == "parquet":
        read = read_parquet(files, total)
    elif layout.format == "arrow":
        read = read_arrow(files, total)
    elif _is_small(files):
        read = _whole(layout, split)
    else:
        read = read_text(layout.format, layout.options, files, total)
    for file, stamp in before.items():
        refuse_if_changed(Path(file), stamp)
    return read


def _is_small(files: Sequence[str]) -> bool:
    """Whether local text is small enough to be read whole."""
    left = WHOLE_BYTES
    for file in files:
        if is_remote(file) or left < 0:
            return False
        left -= _expanded_size(file, left) if is_compressed(file) else Path(file).stat().st_size
    return left >= 0


def _expanded_size(file: str, limit: int) -> int:
    size = 0
    with open_text(file) as stream:
        while size <= limit and (chunk := stream.read(2**20)):
            size += len(chunk)
    return size


def _whole(layout: Layout, split: str) -> Read:
    import datasets

    rows: Any = datasets.load_dataset(**layout.loader, split=split)
    return Read(rows=numbered(rows, range(len(rows))), total=len(rows), exact=True)


def _refuse_unless_usable(ref: DatasetRef, layout: Layout, split: str, read: Read) -> None:
    name, columns = one_line(ref.id), read.rows.column_names
    if read.total < 2:
        raise InputError(
            f"`{name}` has too few rows: {read.total} in its split `{one_line(split)}`.",
            hint="2 are the least, since one is held out",
        )
    if layout.format == "csv" and UNNAMED in columns:
        raise InputError(f"`{name}` has rows with more values than its header has names.", hint="name every column")
    if len(columns) > MAX_COLUMNS:
        raise InputError(f"`{name}` has {len(columns)} columns.", hint=f"ftagent takes {MAX_COLUMNS}")


# --- hold-out ---------------------------------------------------------------------------------------------------------


class Counted:
    """Rows that are only numbered: hold-out functions divide them as they divide a dataset."""

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def select(self, places: range) -> Counted:
        """Keep some."""
        return Counted(self.numbers[places.start : places.stop : places.step])

    def train_test_split(self, test_size: int, seed: int) -> dict[str, Counted]:
        """Say how many go to either side."""
        return {"train": Counted(self.numbers[test_size:]), "test": Counted(self.numbers[:test_size])}


def _source(ref: DatasetRef, layout: Layout, chosen: Splits, train: Read, heldout: Read | None) -> Source:
    holdout = "split_given" if heldout else _holdout(train.rows)
    if heldout:
        sides, totals = _given(train, heldout)
    else:
        sides = HOLDOUTS[holdout](train.rows)
        totals = _totals(holdout, train, [len(side) for side in sides])
    whole = len(train.rows) == train.total
    return Source(
        id=ref.id,
        loader=layout.loader,
        subset=layout.subset,
        split=f"{chosen.train}+{chosen.heldout}" if heldout else chosen.train,
        holdout=holdout,
        columns=tuple(name for name in train.rows.column_names if name != NUMBER),
        train=cut(sides[0]),
        heldout=cut(sides[1], HELDOUT_SHARE),
        train_total=totals[0],
        heldout_total=totals[1],
        exact=train.exact and (heldout is None or heldout.exact) and (whole or holdout != "split_by_column"),
        files=tuple(file for name in chosen[:2] if name for file in layout.splits[name]),
        format=layout.format,
        choices={name: why for name, why in (("subset", layout.why_subset), ("split", chosen.why)) if why},
    )


def _holdout(rows: Any) -> str:
    if "split" not in rows.column_names:
        return "split_by_seed"
    sides = {str(side).lower() for side in rows["split"]}
    has_both = not sides.isdisjoint(EVALUATION_SIDES) and sides.difference(EVALUATION_SIDES)
    return "split_by_column" if has_both else "split_by_seed"


def _given(train: Read, heldout: Read) -> tuple[tuple[Any, Any], tuple[int, int]]:
    """Hold out rows of the evaluation split: those that the script will take, where they were read."""
    step = -(-heldout.total // 200)
    taken = [place for place, number in enumerate(heldout.rows[NUMBER]) if number % step == 0]
    rows = heldout.rows.select(taken or range(min(200, len(heldout.rows))))
    moved = [train.total + number for number in rows[NUMBER]]
    return (train.rows, numbered(rows.remove_columns(NUMBER), moved)), (train.total, -(-heldout.total // step))


def _totals(holdout: str, read: Read, sides: list[int]) -> tuple[int, int]:
    if holdout == "split_by_seed":
        parts = HOLDOUTS[holdout](Counted(range(read.total)))
        return len(parts[0]), len(parts[1])
    train = round(read.total * sides[0] / sum(sides))
    return train, min(200, read.total - train)


# --- refusals ---------------------------------------------------------------------------------------------------------


def _unreadable(ref: DatasetRef, layout: Layout | None, error: Exception) -> UserError:
    cause = error.__cause__ or error
    files = [file for files in layout.splits.values() for file in files] if layout else []
    no_room = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES)
    if isinstance(cause, OSError) and no_room and cause.filename not in files:
        return UserError(
            f"the cache of datasets cannot be written: {cause.strerror}.", hint="free some space, or set HF_HOME"
        )
    if layout and (conflict := conflict_in(layout.format, layout.options, files)):
        return InputError(
            f"`{one_line(ref.id)}` cannot be loaded: {conflict}.", hint="give all rows the same columns and types"
        )
    return InputError(f"`{one_line(ref.id)}` cannot be loaded: {_reason(cause)}.", hint="check what wrote it")
