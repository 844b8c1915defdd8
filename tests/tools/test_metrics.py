from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ftagent.tools.metrics import (
    EVAL_LOSS,
    LOSS,
    Point,
    merged,
    pace,
    points_in,
    read_log,
    read_metrics,
    read_trackio,
    write_metrics,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def trackio_writes(folder: Path, script: str) -> None:
    """Let the real trackio write into `folder`, in a process of its own, as a training does."""
    prelude = "import trackio\ndef log(**values): trackio.log({k.replace('_', '/', 1): v for k, v in values.items()})\n"
    subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(script)],
        env={**os.environ, "TRACKIO_DIR": str(folder)},
        check=True,
        capture_output=True,
    )


def points(*losses: float | None, step_s: float = 1.0) -> list[Point]:
    return [
        Point(step=i, time=START + timedelta(seconds=i * step_s), values={LOSS: loss}) for i, loss in enumerate(losses)
    ]


def test_trackio_points_carry_the_trainers_step_and_merge_its_evaluation(tmp_path: Path) -> None:
    trackio_writes(
        tmp_path,
        """
        trackio.init(project="tiny-0.1b-rows-sft", name="run-1")
        log(train_loss=2.5, train_global_step=10)
        log(train_loss=1.5, train_global_step=20)
        log(eval_loss=1.75, train_global_step=20)
        trackio.init(project="tiny-0.1b-rows-sft", name="run-2")
        log(train_loss=9.0, train_global_step=10)
        trackio.finish()
        """,
    )
    found = read_trackio(tmp_path, "tiny-0.1b-rows-sft", "run-1")
    assert [(p.step, p.values) for p in found] == [(10, {LOSS: 2.5}), (20, {LOSS: 1.5, EVAL_LOSS: 1.75})]
    assert all(p.time and abs(p.time - datetime.now(UTC)) < timedelta(minutes=1) for p in found)


def test_a_resumed_training_neither_loses_nor_repeats_steps(tmp_path: Path) -> None:
    trackio_writes(
        tmp_path,
        """
        trackio.init(project="p", name="run", resume="allow")
        for step in (1, 2, 3): log(train_loss=float(step), train_global_step=step)
        trackio.finish()
        """,
    )
    trackio_writes(
        tmp_path,
        """
        trackio.init(project="p", name="run", resume="allow")
        for step in (3, 4): log(train_loss=10.0 * step, train_global_step=step)
        trackio.finish()
        """,
    )
    found = read_trackio(tmp_path, "p", "run")
    assert [(p.step, p.values[LOSS]) for p in found] == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0)]


def test_a_row_without_the_trainers_step_belongs_to_the_step_before_it(tmp_path: Path) -> None:
    trackio_writes(
        tmp_path,
        """
        trackio.init(project="p", name="run")
        log(train_loss=1.0, train_global_step=50)
        log(eval_extra=2.0)
        trackio.finish()
        """,
    )
    found = read_trackio(tmp_path, "p", "run")
    assert [(p.step, p.values) for p in found] == [(50, {LOSS: 1.0, "eval/extra": 2.0})]


def test_values_that_are_no_finite_numbers_are_none(tmp_path: Path) -> None:
    trackio_writes(
        tmp_path,
        """
        trackio.init(project="p", name="run")
        log(train_loss=float("nan"), train_grad_norm=float("inf"), train_note="words", train_global_step=1)
        trackio.finish()
        """,
    )
    assert read_trackio(tmp_path, "p", "run")[0].values == {LOSS: None, "train/grad_norm": None}


def test_a_store_that_is_missing_or_just_being_made_has_no_points(tmp_path: Path) -> None:
    assert read_trackio(tmp_path / "nowhere", "p", "run") == []
    (tmp_path / "p.db").touch()
    assert read_trackio(tmp_path, "p", "run") == []


def test_reading_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    trackio_writes(
        tmp_path, "trackio.init(project='p', name='run'); log(train_loss=1.0, train_global_step=1); trackio.finish()"
    )
    before = (tmp_path / "p.db").read_bytes()
    assert len(read_trackio(tmp_path, "p", "run")) == 1
    assert (tmp_path / "p.db").read_bytes() == before


def test_the_lines_that_transformers_prints_are_read(tmp_path: Path) -> None:
    script = """
        from types import SimpleNamespace
        from transformers.trainer_callback import PrinterCallback, ProgressCallback
        state = SimpleNamespace(is_local_process_zero=True, is_world_process_zero=True, max_steps=8, global_step=0)
        logs = [
            {"loss": 2.34567, "learning_rate": 2e-05, "rewards/chosen": -0.5, "epoch": 0.5},
            {"loss": float("nan"), "epoch": 1.0},
            {"eval_loss": 1.25, "epoch": 1.0},
            {"train_runtime": 3.0, "train_loss": 1.9, "epoch": 1.0},
        ]
        bar, plain = ProgressCallback(), PrinterCallback()
        bar.on_train_begin(None, state, None)
        for log in logs:
            state.global_step += 2
            bar.on_step_end(None, state, None)
            bar.on_log(None, state, None, logs=log)
        bar.on_train_end(None, state, None)
        for log in logs:
            plain.on_log(None, state, None, logs=log)
    """
    log = tmp_path / "train.log"
    with log.open("w") as file:
        file.write("{'loss': '9.9'} of an earlier attempt\n")
        file.flush()
        start = file.tell()
        subprocess.run([sys.executable, "-uc", textwrap.dedent(script)], stdout=file, stderr=file, check=True)
    first = {LOSS: 2.346, "train/learning_rate": 2e-05, "train/rewards/chosen": -0.5, "train/epoch": 0.5}
    second = {LOSS: None, "train/epoch": 1.0, EVAL_LOSS: 1.25}
    found = [(p.step, p.values) for p in read_log(log, start, logging_steps=2)]
    assert found == [(1, first), (2, second), (4, first), (6, second)]


def test_a_resumed_training_counts_on_from_where_it_says() -> None:
    lines = ["goes on from step 25", "{'loss': '2.0'}", "{'eval_loss': '1.5'}", "loss: 3", "{'loss': '1.0'}"]
    at = [START + timedelta(seconds=n) for n in range(len(lines))]
    found = points_in(zip(at, lines, strict=True), logging_steps=10)
    assert [(p.step, p.time, p.values) for p in found] == [
        (30, at[1], {LOSS: 2.0, EVAL_LOSS: 1.5}),
        (40, at[4], {LOSS: 1.0}),
    ]


def test_metrics_survive_the_way_to_disk_with_nan_as_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_metrics(path, points(2.0, None))
    assert read_metrics(path) == points(2.0, None)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1] == {"step": 1, "time": "2026-01-01T00:00:01+00:00", LOSS: None}
    assert list(tmp_path.iterdir()) == [path]


def test_a_later_point_wins_its_step_and_brings_its_time() -> None:
    old, new = points(1.0)[0], Point(step=0, time=START + timedelta(hours=1), values={LOSS: 2.0})
    evaluation = Point(step=0, time=START + timedelta(hours=2), values={EVAL_LOSS: 3.0})
    assert merged([old, new, evaluation]) == [Point(step=0, time=new.time, values={LOSS: 2.0, EVAL_LOSS: 3.0})]


def test_a_training_that_begins_anew_voids_what_was_logged_beyond() -> None:
    anew = [replace(p, time=START + timedelta(hours=1)) for p in points(9.0, 8.0)]
    assert merged([*points(3.0, 2.0, 1.0), *anew]) == anew


def test_the_pace_is_counted_from_the_first_point_to_the_last() -> None:
    assert pace(points(1.0, 1.0, 1.0, step_s=4.0)) == 0.25
    assert pace(points(1.0)) is None
    assert pace(points(1.0, 1.0, step_s=0.0)) is None
