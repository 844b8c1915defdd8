from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools import ledger
from ftagent.tools.facts import HardwareChoice, JobReport, MemoryGib, Range, Spec
from ftagent.tools.ledger import correction, enter, entries
from ftagent.tools.run import Run, new_run
from ftagent.tools.settings import Settings, load_settings

DEVICE = "1 × L4"
CHOICE = HardwareChoice(
    flavor="l4x1",
    adapter="lora",
    precision="bf16",
    batch=4,
    accumulation=4,
    max_length=1024,
    checkpointing=False,
    memory_gib=MemoryGib(weights=1, gradients=1, optimizer=1, activations=1, logits=1, overhead=1, total=6),
    hours=Range(low=0.8, expected=1, high=1.5),
    cost_usd=Range(low=0.64, expected=0.8, high=1.2),
    timeout_s=7200,
    tokens=4_000_000,
    tokens_per_s=1000,
    device=DEVICE,
    epochs=1,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = new_run(Settings(workdir=tmp_path, data_dir=tmp_path / "data"))
    return run.record(Spec(request="test", model="Tiny-0.1B", dataset="rows.jsonl")).record(CHOICE)


JOBS = itertools.count()


def finished(tokens_per_s: float | None = 2000, **changes: Any) -> JobReport:
    """Return how another job ended."""
    values: dict[str, Any] = {
        "job_id": str(next(JOBS)),
        "stage": "completed",
        "health": "done",
        "reason": "",
        "seconds": 1800,
    }
    return JobReport(**values | {"tokens_per_s": tokens_per_s, "peak_memory_gib": 5.5} | changes)


def file_of(run: Run) -> Path:
    return run.settings.data_dir / ledger.FILE


def factor(run: Run, device: str = DEVICE) -> float:
    return correction(device, run.settings).factor


def test_a_job_that_is_looked_at_twice_counts_once(run: Run) -> None:
    report = finished()
    enter(run, report)
    enter(run, report)
    assert len(entries(run.settings)) == 1


def test_a_finished_training_is_one_line_of_predicted_and_actual(run: Run) -> None:
    enter(run, finished())
    assert len(file_of(run).read_text(encoding="utf-8").splitlines()) == 1
    (entry,) = entries(run.settings)
    assert (entry.run, entry.device, entry.model) == (run.id, DEVICE, "Tiny-0.1B")
    assert (entry.predicted_tokens_per_s, entry.tokens_per_s) == (1000, 2000)
    assert (entry.predicted_memory_gib, entry.memory_gib) == (6, 5.5)
    assert (entry.predicted_hours, entry.hours) == (1, 0.5)


@pytest.mark.parametrize("tokens_per_s", [0, -1, math.inf, math.nan])
def test_a_training_that_stood_still_or_was_measured_wrongly_corrects_nothing(run: Run, tokens_per_s: float) -> None:
    enter(run, finished())
    line = json.loads(file_of(run).read_text(encoding="utf-8")) | {"tokens_per_s": tokens_per_s}
    file_of(run).write_text(json.dumps(line), encoding="utf-8")
    assert factor(run) == 1


@pytest.mark.parametrize("report", [finished(None), finished(result={"resumed_from": "checkpoint-30"})])
def test_what_was_not_measured_from_its_start_is_not_entered(run: Run, report: JobReport) -> None:
    enter(run, report)
    assert not file_of(run).exists()


def test_lines_that_cannot_be_read_are_passed_over(run: Run) -> None:
    enter(run, finished())
    line = file_of(run).read_text(encoding="utf-8")
    newer = json.dumps(json.loads(line) | {"a field of a later version": 1})
    broken = ["", "null", "[]", "{}", '{"run": 1}', newer, "\x00\xff", line[:50]]
    file_of(run).write_text("\n".join([*broken, line.strip(), *broken]), encoding="utf-8")
    assert len(entries(run.settings)) == 1
    file_of(run).write_bytes(b"\xff\xfe\n" + line.encode())
    assert len(entries(run.settings)) == 1


def test_a_line_that_a_crash_tore_does_not_swallow_the_next_one(run: Run) -> None:
    enter(run, finished())
    whole = file_of(run).read_text(encoding="utf-8")
    file_of(run).write_text(whole + whole[:40], encoding="utf-8")
    enter(run, finished())
    assert len(entries(run.settings)) == 2


def test_nothing_is_corrected_before_the_first_training(run: Run) -> None:
    assert factor(run) == 1
    assert correction(DEVICE, run.settings).words == ""


def test_the_correction_is_a_geometric_mean_with_one_training_that_went_as_predicted(run: Run) -> None:
    enter(run, finished(4000))
    assert factor(run) == pytest.approx(math.sqrt(4))
    enter(run, finished(4000))
    assert factor(run) == pytest.approx(4 ** (2 / 3))
    enter(run, finished(1000 / 16))
    assert factor(run) == pytest.approx(1)
    assert "3 finished training(s)" in correction(DEVICE, run.settings).words


def test_many_trainings_that_agree_are_believed(run: Run) -> None:
    for _ in range(ledger.RECENT):
        enter(run, finished(500))
    assert factor(run) == pytest.approx(0.5, rel=0.04)


def test_only_recent_trainings_count(run: Run) -> None:
    enter(run, finished(1e6))
    for _ in range(ledger.RECENT):
        enter(run, finished(1000))
    assert factor(run) == 1


def test_another_device_does_not_count(run: Run) -> None:
    enter(run, finished(4000))
    assert factor(run, "4 × L4") == factor(run, "local, 2 cores") == 1


def test_a_correction_is_not_corrected_again(run: Run) -> None:
    corrected = CHOICE.model_copy(update={"tokens_per_s": 2000, "correction": 2.0})
    enter(run.record(corrected), finished(2000))
    assert factor(run) == pytest.approx(math.sqrt(2))


def test_the_ledger_lies_in_the_users_data_folder(tmp_path: Path) -> None:
    settings = load_settings(environ={"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
    assert settings.data_dir == tmp_path / "ftagent"
    run = new_run(settings).record(Spec(request="", model="m", dataset="d")).record(CHOICE)
    enter(run, finished())
    assert (tmp_path / "ftagent" / "ledger.jsonl").is_file()
