"""Predicted and actual of every finished training on this account's machines: what corrects the tables of speeds.

One JSON line a training in the user's data folder. Lines that cannot be read are passed over: another version wrote
them, or a crash tore them.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

from pydantic import ValidationError

from .facts import Adapter, Fact, HardwareChoice, JobReport, Method, Precision, Spec
from .run import Run
from .settings import Settings

FILE = "ledger.jsonl"
RECENT = 20
"""Only the last trainings on a device count: drivers and libraries change."""


class Entry(Fact):
    """One finished training. Hours and memory are of the training script alone."""

    run: str
    job: str
    at: datetime
    device: str
    model: str
    method: Method
    adapter: Adapter
    precision: Precision
    batch: int
    max_length: int
    predicted_tokens_per_s: float
    """Before any correction by this ledger."""
    tokens_per_s: float
    predicted_memory_gib: float
    memory_gib: float | None
    predicted_hours: float
    hours: float


class Correction(Fact):
    """How much faster than the tables say a device was."""

    factor: float = 1.0
    trainings: int = 0

    @property
    def words(self) -> str:
        """Say it to people; empty where nothing is corrected."""
        if not self.trainings:
            return ""
        return f"speed corrected by {self.factor:.2f}, from {self.trainings} finished training(s) here"


def enter(run: Run, report: JobReport) -> None:
    """Add a completed training to the ledger, once however often it is looked at.

    Raises:
        OSError: The data folder cannot be written.
    """
    entry = _entry(run.id, run.spec, run.hardware, report)
    if entry is None or any(known.job == entry.job for known in entries(run.settings)):
        return
    file = run.settings.data_dir / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    torn = file.exists() and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as stream:
        stream.write(("\n" if torn else "") + entry.model_dump_json() + "\n")


def _entry(run: str, spec: Spec | None, hardware: HardwareChoice | None, report: JobReport) -> Entry | None:
    """Return the line, or None where the training was not measured or only went on from an earlier attempt."""
    if spec is None or hardware is None or report.tokens_per_s is None or report.result.get("resumed_from"):
        return None
    return Entry(
        run=run,
        job=report.job_id,
        at=datetime.now(UTC),
        device=hardware.device,
        model=spec.model,
        method=spec.method,
        adapter=hardware.adapter,
        precision=hardware.precision,
        batch=hardware.batch,
        max_length=hardware.max_length,
        predicted_tokens_per_s=hardware.tokens_per_s / hardware.correction,
        tokens_per_s=report.tokens_per_s,
        predicted_memory_gib=hardware.memory_gib.total,
        memory_gib=report.peak_memory_gib,
        predicted_hours=hardware.hours.expected,
        hours=report.seconds / 3600,
    )


def entries(settings: Settings) -> list[Entry]:
    """Return all lines that can be read, oldest first."""
    file = settings.data_dir / FILE
    if not file.is_file():
        return []
    found: list[Entry] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(Entry.model_validate(json.loads(line)))
        except (ValueError, ValidationError):
            continue
    return found


def correction(device: str, settings: Settings) -> Correction:
    """Return how the predicted speed of a device is to be corrected.

    The geometric mean of actual over predicted speed over its recent trainings, with one more that went as predicted:
    a single odd run moves it half way only.
    """
    ratios = [
        math.log(entry.tokens_per_s / entry.predicted_tokens_per_s)
        for entry in entries(settings)
        if entry.device == device and 0 < entry.tokens_per_s < math.inf and 0 < entry.predicted_tokens_per_s < math.inf
    ][-RECENT:]
    return Correction(factor=math.exp(sum(ratios) / (len(ratios) + 1)), trainings=len(ratios))
