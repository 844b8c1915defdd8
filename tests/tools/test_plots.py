"""Pictures are small files that the same numbers draw again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ftagent.tools.metrics import EVAL_LOSS, LOSS, Point
from ftagent.tools.plots import draw_lengths, draw_loss


def is_small_png(picture: Path) -> bool:
    return picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 60_000


def test_a_loss_curve_is_a_small_png_that_the_same_points_draw_again(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    curve = [Point(step=i, time=start, values={LOSS: 3 / (1 + i / 20)}) for i in range(200)]
    curve.append(Point(step=200, time=start, values={LOSS: None, EVAL_LOSS: 0.7}))
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for picture in pictures:
        draw_loss(picture, curve, "tiny-rows-sft")
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert is_small_png(pictures[0])


def test_rows_by_length_are_drawn_even_where_all_are_as_long(tmp_path: Path) -> None:
    for number, histogram in enumerate([((8, 3), (16, 5), (24, 1)), ((1, 7),)]):
        picture = tmp_path / f"{number}.png"
        draw_lengths(picture, histogram, 16)
        assert is_small_png(picture)
