"""Pictures for the report, as PNG files; the same numbers give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from .files import write_whole
from .metrics import LOSS_LEADS, Leading, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_loss(path: Path, points: list[Point], title: str, leading: Leading = LOSS_LEADS) -> None:
    """Draw the loss over the steps, training and evaluation; or what leads the method in its place."""
    figure = _figure()
    axes = figure.add_subplot()
    for name, label, style in ((leading.name, "training", "-"), (leading.evaluated, "evaluation", "o--")):
        curve = [(p.step, math.nan if (y := p.values[name]) is None else y) for p in points if name in p.values]
        if curve:
            axes.plot(*zip(*curve, strict=True), style, label=label, linewidth=1.5, markersize=4)
    axes.set(title=title, xlabel="step", ylabel=leading.label)
    axes.legend()
    _write(figure, path)


def draw_lengths(path: Path, histogram: Sequence[tuple[int, int]], max_length: int) -> None:
    """Draw how many rows have how many tokens, and where `max_length` cuts them.

    Args:
        path: The file to write.
        histogram: The most tokens of each stretch, and its rows; stretches are equally wide.
        max_length: Tokens at which rows are cut.
    """
    figure = _figure()
    axes = figure.add_subplot()
    width = histogram[0][0]
    axes.bar([most - width for most, _ in histogram], [rows for _, rows in histogram], width=0.9 * width, align="edge")
    axes.axvline(max_length, color="tab:red", label=f"max_length {max_length}")
    axes.set(title="Length of the rows", xlabel="tokens", ylabel="rows")
    axes.legend()
    _write(figure, path)


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(7, 4), dpi=100, layout="constrained")


def _write(figure: Figure, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axes in figure.axes:
        axes.grid(alpha=0.3)
    picture = BytesIO()
    FigureCanvasAgg(figure).print_png(picture, metadata={"Software": None})
    write_whole(path, picture.getvalue())
