"""What a training logged, as a planner or a shell reads it: a few points of the curve, or those around one step."""

from __future__ import annotations

from .errors import ToolError
from .metrics import Point, read_metrics
from .monitor import METRICS
from .run import Run

MOST_POINTS = 20


def show_metrics(run: Run, *, names: list[str] | None = None, around_step: int | None = None) -> str:
    """Show what the training logged: loss, learning rate, gradient and whatever else, step by step.

    Returns a table of at most 20 points, spread over the whole course, the first and the last among them. By default
    every number that was logged at more than one step is a column.

    Args:
        run: The run, with a job that has logged something.
        names: The numbers to show, such as train/loss and eval/loss.
        around_step: Show the points next to this step, one by one, instead of the whole course.

    Raises:
        ToolError: Nothing was logged yet, or there is no number of these names.
    """
    points = read_metrics(run.folder / METRICS) if run.journal.folder is not None else []
    if not points:
        raise ToolError("nothing is logged yet.", hint="call monitor_job")
    known = list(dict.fromkeys(name for point in points for name in point.values))
    if unknown := [name for name in names or () if name not in known]:
        raise ToolError(f"`{unknown[0]}` was not logged.", hint=f"logged: {', '.join(known)}")
    columns = names or [name for name in known if sum(name in point.values for point in points) > 1] or known
    rows = [point for point in points if any(name in point.values for name in columns)]
    shown = _around(rows, around_step) if around_step is not None else _spread(rows)
    lines = ["\t".join(["step", *columns]), *("\t".join([str(p.step), *(_cell(p, n) for n in columns)]) for p in shown)]
    left_out = f"{len(rows) - len(shown)} of {len(rows)} points are left out" if len(shown) < len(rows) else ""
    return "\n".join(filter(None, [*lines, left_out]))


def _spread(points: list[Point]) -> list[Point]:
    """Return at most `MOST_POINTS` points from all over the course, with the first and the last."""
    most = min(len(points), MOST_POINTS)
    return [points[number * (len(points) - 1) // max(1, most - 1)] for number in range(most)]


def _around(points: list[Point], step: int) -> list[Point]:
    middle = min(range(len(points)), key=lambda number: abs(points[number].step - step))
    start = max(0, middle - MOST_POINTS // 2)
    return points[start : start + MOST_POINTS]


def _cell(point: Point, name: str) -> str:
    value = point.values.get(name)
    return "" if value is None else f"{value:.4g}"
