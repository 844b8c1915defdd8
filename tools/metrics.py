"""What a training logged: read from Trackio or from its log, kept as one JSON line a step.

Trackio's store is read as the SQLite file that it is (trackio 0.43, `sqlite_storage.py`), read-only: importing trackio
costs half a second, fixes its folder at import, and would write to the store while the training does.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from .files import write_whole

LOSS = "train/loss"
EVAL_LOSS = "eval/loss"
REWARD = "train/reward"
REWARD_STD = "train/reward_std"
GRADIENT_NORM = "train/grad_norm"
LEARNING_RATE = "train/learning_rate"
STEP = "train/global_step"
"""Trackio's own step only counts log calls; the trainer's step is among the values."""

_PAIR = re.compile(r"'([\w/]+)': '?(-?(?:\d[\d.]*(?:e[-+]?\d+)?|nan|inf))\b")

_RESUMED = re.compile(r"goes on from step (\d+)")
OF_METRICS = ("{'", "goes on from step ")
"""How a line begins that says something of the training's metrics."""


@dataclass(frozen=True, kw_only=True)
class Leading:
    """The number by which a person sees whether a training gets anywhere."""

    name: str = LOSS
    """As it is logged."""
    label: str = "loss"
    higher_is_better: bool = False

    @property
    def evaluated(self) -> str:
        """The name of the same number on held-out rows."""
        return self.name.replace("train/", "eval/")


LOSS_LEADS = Leading()

# The loss of GRPO and RLOO is near zero from the first step to the last: it has the right gradient, and says nothing.
LEADING: dict[str, Leading] = {
    method: Leading(name=REWARD, label="reward", higher_is_better=True) for method in ("grpo", "rloo")
}


def leading_of(method: str | None) -> Leading:
    """Return the leading number of a method: its loss, where the table says nothing else."""
    return LEADING.get(method or "", LOSS_LEADS)


def first_and_last(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the means of the first and of the last tenth, None without values.

    One batch says little: its number goes up and down with its rows.
    """
    tenth = max(1, len(values) // 10)
    return (statistics.fmean(values[:tenth]), statistics.fmean(values[-tenth:])) if values else None


@dataclass(frozen=True, kw_only=True)
class Point:
    """Everything that was logged for one step of the training."""

    step: int
    time: datetime | None
    """When; None where the source does not say."""
    values: dict[str, float | None]
    """Trackio's names, `train/loss` and so on; None stands for a value that is no finite number."""


def trackio_folder() -> Path:
    """Return the absolute folder where Trackio keeps its store here (`trackio.utils._get_trackio_dir`)."""
    from huggingface_hub.constants import HF_HOME

    return Path(os.environ.get("TRACKIO_DIR") or Path(HF_HOME) / "trackio").resolve()


def read_trackio(folder: Path, project: str, run_name: str) -> list[Point]:
    """Return the points of one run in order; none where Trackio has no such run, or not yet.

    Args:
        folder: Trackio's folder, absolute.
        project: The project, as it was called at `trackio.init`.
        run_name: The run; a resumed one goes on under the same name.
    """
    # `trackio.utils.canonical_project_name`: the file has only these characters of the project's name.
    name = "".join(c for c in project if c.isalnum() or c in "-_").rstrip() or "default"
    store = folder / f"{name}.db"
    if not store.exists():
        return []
    query = "SELECT timestamp, step, metrics FROM metrics WHERE run_name = ? ORDER BY id"
    try:
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True, timeout=1)) as database:
            rows = database.execute(query, (run_name,)).fetchall()
    except sqlite3.OperationalError:  # made this moment, its tables yet to come; or held longer than a second
        return []
    return merged(_from_trackio(rows))


def _from_trackio(rows: Iterable[tuple[str, int, bytes | str]]) -> Iterator[Point]:
    """Yield a point for each row; one that names no trainer's step belongs to the step before it."""
    last: int | None = None
    for timestamp, count, metrics in rows:
        values = {name: _number(value) for name, value in json.loads(metrics).items() if _is_scalar(value)}
        if (step := values.pop(STEP, None)) is not None:
            last = int(step)
        yield Point(step=count if last is None else last, time=datetime.fromisoformat(timestamp), values=values)


def _is_scalar(value: object) -> bool:
    """Trackio writes `NaN` and the infinities as strings; everything else that is no number is not for a curve."""
    return isinstance(value, int | float) or value in ("NaN", "Infinity", "-Infinity")


def _number(value: float | str) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def read_log(log: Path, start: int = 0, *, logging_steps: int = 1) -> list[Point]:
    """Return the points that transformers printed into `log`; see `points_in`.

    Args:
        log: The log file; it may not exist yet.
        start: The byte to start at.
        logging_steps: Steps between two lines.
    """
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", errors="replace").replace("\r", "\n").split("\n")
    return points_in(((None, line) for line in lines), logging_steps=logging_steps)


def points_in(lines: Iterable[tuple[datetime | None, str]], *, logging_steps: int = 1) -> list[Point]:
    """Return the points in lines such as `{'loss': '1.234', 'epoch': '0.5'}`, one a step, in order.

    The lines carry no step (`ProgressCallback.on_log`, `PrinterCallback.on_log`), so it is counted: the first step is
    logged, then every multiple of `logging_steps`. A resumed training says where it goes on (`templates/base.py`).

    Args:
        lines: When each was printed, where that is known, and its text.
        logging_steps: Steps between two lines.
    """
    points: list[Point] = []
    step = 0
    for time, line in lines:
        if not line.startswith(OF_METRICS):
            continue
        if resumed := _RESUMED.match(line):
            step = int(resumed[1])
        values = {_trackio_name(name): _number(value) for name, value in _PAIR.findall(line)}
        if LOSS in values:
            step = (step // logging_steps + 1) * logging_steps if step else 1
        if LOSS in values or EVAL_LOSS in values:
            points.append(Point(step=step, time=time, values=values))
    return merged(points)


def _trackio_name(name: str) -> str:
    """Return what transformers calls this value in Trackio (`integration_utils.rewrite_logs`)."""
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"


def merged(points: Iterable[Point]) -> list[Point]:
    """Return one point a step, in order, from points in the order in which they were logged.

    A step back means that a training was resumed from a checkpoint, or begun anew: what was logged beyond it before
    is void.
    """
    kept: list[Point] = []
    for new in points:
        while kept and kept[-1].step > new.step:
            kept.pop()
        if kept and kept[-1].step == new.step:
            old = kept.pop()
            time = new.time if old.time is None or (new.time and LOSS in new.values) else old.time
            new = replace(new, time=time, values={**old.values, **new.values})
        kept.append(new)
    return kept


def pace(points: list[Point], counter: str | None = None) -> float | None:
    """Return how much a counter of the log grows in a second; by default the step itself."""
    counts = [
        (p.time, count)
        for p in points
        if p.time and (count := p.step if counter is None else p.values.get(counter)) is not None
    ]
    if len(counts) < 2 or (seconds := (counts[-1][0] - counts[0][0]).total_seconds()) <= 0:
        return None
    return (counts[-1][1] - counts[0][1]) / seconds


def read_metrics(path: Path) -> list[Point]:
    """Return the points of a `metrics.jsonl`; none when it does not exist."""
    if not path.exists():
        return []
    points: list[Point] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        step, time = values.pop("step"), values.pop("time")
        points.append(Point(step=step, time=datetime.fromisoformat(time) if time else None, values=values))
    return points


def write_metrics(path: Path, points: list[Point]) -> None:
    """Replace `path` with these points, one JSON object a line; a value that is no finite number is null."""
    lines = (
        json.dumps({"step": p.step, "time": p.time.astimezone(UTC).isoformat() if p.time else None, **p.values})
        for p in points
    )
    write_whole(path, "".join(f"{line}\n" for line in lines).encode())
