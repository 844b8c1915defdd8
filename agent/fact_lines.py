"""What a person reads of each settled fact: one line, its title in front, a mark for good or bad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.text import Text

from ..tools.facts import (
    Approval,
    DatasetReport,
    Ended,
    Evaluation,
    Export,
    Fact,
    GgufFile,
    HardwareChoice,
    Job,
    JobReport,
    Note,
    PreflightReport,
    Published,
    Repair,
    Schedule,
    Script,
    SeriesScript,
    Spec,
)
from ..tools.journal import FACTS, Event
from ..tools.later_cost import NAMES
from ..tools.wording import duration
from .approval import DOES, words


def fact_line(event: Event) -> Text | None:
    """Return the line for a settled fact, or None for what a person need not see."""
    fact = FACTS[event.kind].model_validate(event.data)
    line = LINES.get(type(fact))
    return line(fact) if line else None


def _plan(spec: Spec) -> Text:
    unread = f"not understood, and not followed: {'; '.join(spec.unread)}" if spec.unread else ""
    named = f"{spec.method} of {spec.model} on {spec.dataset}"
    return _line(True, "plan", named, ", ".join(spec.targets), unread)


def _data(data: DatasetReport) -> Text:
    held = f", {data.holdout.rows} held out" if data.holdout else ""
    return _line(
        data.verdict != "refused",
        "data",
        f"{data.verdict}: {data.rows} rows{held}",
        f"p95 {data.lengths.p95} tokens",
        f"max_length {data.max_length} cuts {100 * data.truncated_share:.1f} %",
        f"loss on {data.loss_on}",
        f"{len(data.problems)} thing(s) to know" if data.problems else "",
    )


def _hardware(hardware: HardwareChoice) -> Text:
    return _line(
        True,
        "hardware",
        f"{hardware.flavor}: {hardware.adapter}, {hardware.precision}",
        f"batch {hardware.batch} × {hardware.accumulation}",
        f"{hardware.memory_gib.total:.1f} GiB",
        f"about {duration(hardware.hours.expected * 3600)}",
        f"${hardware.cost_usd.expected:.2f}",
    )


def _script(script: Script) -> Text:
    return _line(True, "script", script.path, f"sha256 {script.sha256[:12]}")


def _preflight(preflight: PreflightReport) -> Text:
    red = [f"{check.name}: {check.detail}" for check in preflight.checks if not check.ok]
    said = red or [f"{len(preflight.checks)} checks on a two-layer twin in {preflight.seconds:.0f} s"]
    return _line(preflight.ok, "preflight", *said)


def _approval(approval: Approval) -> Text:
    return _line(True, "approval", f"by {approval.by}", words(approval.quote))


def _job(job: Job) -> Text:
    return _line(True, "job", f"{job.id} on {job.backend}", f"log {job.log}")


def _job_report(report: JobReport) -> Text:
    course = report.course
    went = f"{course.label} {course.first:.3f} → {course.last:.3f}" if course else ""
    rate = f"{report.tokens_per_s:.0f} tokens/s" if report.tokens_per_s else ""
    peak = f"peak {report.peak_memory_gib:.1f} GiB" if report.peak_memory_gib else ""
    why = "" if report.health == "done" else report.reason
    what = NAMES[report.purpose] if report.purpose == "train" else f"{NAMES[report.purpose]} job"
    return _line(report.health == "done", what, report.health, why, went, duration(report.seconds), rate, peak)


def _repair(repair: Repair) -> Text:
    changes = [f"{change.name} {change.old} → {change.new}" for change in repair.changes]
    return _line(repair.rung is not None, "repair", repair.failure.words, repair.words, *changes)


def _evaluation(evaluation: Evaluation) -> Text:
    first = evaluation.comparisons[0]
    return _line(
        evaluation.verdict == "better",
        "evaluation",
        evaluation.verdict,
        f"{first.metric} {first.base:.3f} → {first.tuned:.3f}",
        f"p = {first.p_value:.1g}, {first.items} items",
    )


def _gguf(file: GgufFile) -> Text:
    size = f"{file.size_bytes / 1e6:.0f} MB"
    return _line(True, "gguf", file.quantisation, size, "answers, stops, keeps its template", _strays(file))


def _strays(file: GgufFile) -> str:
    """Say how far a file's perplexity is from the merged model's, where that was measured."""
    proof = file.proof
    if proof.perplexity is None or proof.reference_perplexity is None:
        return ""
    return f"perplexity {100 * (proof.perplexity / proof.reference_perplexity - 1):+.1f} %"


def _published(published: Published) -> Text:
    seen = "private" if published.private else "public"
    kept = f"on its card {published.kept} stays as a person wrote it" if published.kept else ""
    return _line(True, "published", published.repo_id, seen, published.url, kept)


def _export(export: Export) -> Text:
    failed = [f"{name} failed its proof" for name in export.failed]
    return _line(not failed, "export", f"{len(export.files)} file(s) in {export.seconds:.0f} s", *failed)


def _rehearsed(script: SeriesScript) -> Text:
    found = f"{script.path} measured a tiny checkpoint; {script.new} real ones wait"
    return _line(True, "rehearsed", found, f"{script.seconds:.0f} s")


def _schedule(schedule: Schedule) -> Text:
    when = schedule.trigger.cron or f"commits to {schedule.trigger.watched}"
    return _line(
        True,
        "schedule",
        schedule.state,
        DOES[schedule.trigger.does],
        when,
        f"ftagent schedules delete {schedule.id} ends it",
    )


def _ended(ended: Ended) -> Text:
    return _line(ended.status in ("completed", "dry_run"), ended.status.replace("_", " "), ended.reason)


def _note(note: Note) -> Text | None:
    return Text(f"  {note.text}", style="dim") if note.text else None


LINES: dict[type[Fact], Callable[[Any], Text | None]] = {
    Spec: _plan,
    DatasetReport: _data,
    HardwareChoice: _hardware,
    Script: _script,
    PreflightReport: _preflight,
    Approval: _approval,
    Job: _job,
    JobReport: _job_report,
    Repair: _repair,
    Evaluation: _evaluation,
    GgufFile: _gguf,
    Published: _published,
    Export: _export,
    SeriesScript: _rehearsed,
    Schedule: _schedule,
    Ended: _ended,
    Note: _note,
}
"""Facts that a person is told of."""


def _line(good: bool, title: str, *parts: str) -> Text:
    mark = Text("✓ " if good else "✗ ", style="green" if good else "red")
    return mark + Text(f"{title:<11}", style="bold") + Text(" · ".join(part for part in parts if part))
