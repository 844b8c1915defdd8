"""What a person sees: one line a settled fact, one live line for what takes long. Words go to stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ..tools.facts import (
    Approval,
    DatasetReport,
    Ended,
    Evaluation,
    Export,
    GgufFile,
    HardwareChoice,
    Job,
    JobReport,
    LlmCall,
    Note,
    PreflightReport,
    Published,
    Quote,
    Repair,
    Schedule,
    ScheduleQuote,
    Script,
    SeriesScript,
    Spec,
)
from ..tools.journal import FACTS, Event
from ..tools.later_cost import NAMES
from ..tools.run import llm_words
from ..tools.wording import one_line
from .approval import offer, schedule_words, words

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 24
LINE_CHARS = 60
QUESTION_CHARS = 1000
QUIET_S = 15.0  # without a terminal, progress is a line now and then

STEP_WORDS = {
    "plan_run": "reading the request",
    "validate_dataset": "checking the data with TRL",
    "pick_hardware": "sizing the hardware",
    "schedule_run": "making the schedule",
    "write_script": "writing train.py",
    "preflight": "proving train.py on a two-layer twin",
    "submit_job": "submitting",
    "monitor_job": "training",
    "repair_run": "repairing",
    "evaluate_model": "comparing with the base model",
    "export_gguf": "exporting to GGUF",
    "cancel_job": "cancelling",
}


class RunConsole:
    """A listener that tells a person how the run goes; a context manager that owns the live line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._spinner = Spinner("dots", Text(""))
        self._said_at = -math.inf
        self._step: str = ""
        self._calls: list[LlmCall] = []

    def __enter__(self) -> RunConsole:
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.seq is not None:
            if event.kind == "llm_call":
                self._calls.append(LlmCall.model_validate(event.data))
            if line := fact_line(event):
                self.rest()
                self.console.print(line, soft_wrap=True)
            if event.kind == "ended" and self._calls:
                self.console.print(Text(f"  {llm_words(self._calls)}", style="dim"), soft_wrap=True)
        elif event.kind == "step":
            tool: str = event.data["tool"]
            self._step = STEP_WORDS.get(tool, tool)
            self._said_at = time.monotonic()
            self._show(Text(self._step + " …", style="dim"))
        elif event.kind == "example":
            self.rest()
            self.console.print(example_text(event.data))
        elif event.kind == "alert":
            self.rest()
            self.console.print(Text(f"! {event.data['rule']}: {event.data['text']}", style="yellow"), soft_wrap=True)
        elif event.kind == "progress":
            self._show(progress_line(self._step, event.data), now_and_then=True)

    def ask(self, quote: Quote | ScheduleQuote) -> bool:
        """Show a quote and ask whether to spend it."""
        self.rest()
        if isinstance(quote, ScheduleQuote):
            self.console.print(f"  `{quote.trigger.words}`: {schedule_words(quote)}", markup=False)
            return self._says_yes("Repeat this run by itself from now on? [y/N] ")
        self.console.print(f"  {offer(quote)}", markup=False)
        return self._says_yes("Start this job? [y/N] ")

    ask.asks_a_person = True  # type: ignore[attr-defined]

    def answer(self, question: str) -> str:
        """Put a planner's question to the person, and return what they type."""
        self.rest()
        self.console.print(f"  the planner asks: {one_line(question, QUESTION_CHARS)}", markup=False, soft_wrap=True)
        return self.console.input(Text("> "))

    def _says_yes(self, question: str) -> bool:
        answer = self.console.input(Text(question))
        return answer.strip().lower() in ("y", "yes")

    def _show(self, text: Text, now_and_then: bool = False) -> None:
        if self.console.is_terminal:
            self._spinner.update(text=text)
            if self._live is None:
                self._live = Live(self._spinner, console=self.console, transient=True, refresh_per_second=8)
                self._live.start()
        elif not now_and_then or time.monotonic() - self._said_at >= QUIET_S:
            self._said_at = time.monotonic()
            self.console.print(Text("  ") + text, soft_wrap=True)

    def rest(self) -> None:
        """End the live line: somebody else writes now."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def fact_line(event: Event) -> Text | None:
    """Return the line for a settled fact, or None for what a person need not see."""
    match FACTS[event.kind].model_validate(event.data):
        case Spec() as spec:
            unread = f"not understood, and not followed: {'; '.join(spec.unread)}" if spec.unread else ""
            named = f"{spec.method} of {spec.model} on {spec.dataset}"
            return _line(True, "plan", named, ", ".join(spec.targets), unread)
        case DatasetReport() as data:
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
        case HardwareChoice() as hardware:
            return _line(
                True,
                "hardware",
                f"{hardware.flavor}: {hardware.adapter}, {hardware.precision}",
                f"batch {hardware.batch} × {hardware.accumulation}",
                f"{hardware.memory_gib.total:.1f} GiB",
                f"about {duration(hardware.hours.expected * 3600)}",
                f"${hardware.cost_usd.expected:.2f}",
            )
        case Script() as script:
            return _line(True, "script", script.path, f"sha256 {script.sha256[:12]}")
        case PreflightReport() as preflight:
            red = [f"{check.name}: {check.detail}" for check in preflight.checks if not check.ok]
            said = red or [f"{len(preflight.checks)} checks on a two-layer twin in {preflight.seconds:.0f} s"]
            return _line(preflight.ok, "preflight", *said)
        case Approval() as approval:
            return _line(True, "approval", f"by {approval.by}", words(approval.quote))
        case Job() as job:
            return _line(True, "job", f"{job.id} on {job.backend}", f"log {job.log}")
        case JobReport() as report:
            course = report.course
            went = f"{course.label} {course.first:.3f} → {course.last:.3f}" if course else ""
            rate = f"{report.tokens_per_s:.0f} tokens/s" if report.tokens_per_s else ""
            peak = f"peak {report.peak_memory_gib:.1f} GiB" if report.peak_memory_gib else ""
            why = "" if report.health == "done" else report.reason
            what = NAMES[report.purpose] if report.purpose == "train" else f"{NAMES[report.purpose]} job"
            return _line(report.health == "done", what, report.health, why, went, duration(report.seconds), rate, peak)
        case Repair() as repair:
            changes = [f"{change.name} {change.old} → {change.new}" for change in repair.changes]
            return _line(repair.rung is not None, "repair", repair.failure.words, repair.words, *changes)
        case Evaluation() as evaluation:
            first = evaluation.comparisons[0]
            return _line(
                evaluation.verdict == "better",
                "evaluation",
                evaluation.verdict,
                f"{first.metric} {first.base:.3f} → {first.tuned:.3f}",
                f"p = {first.p_value:.1g}, {first.items} items",
            )
        case GgufFile() as file:
            return _line(
                True,
                "gguf",
                file.quantisation,
                f"{file.size_bytes / 1e6:.0f} MB",
                "answers, stops, keeps its template",
                _strays(file),
            )
        case Published() as published:
            seen = "private" if published.private else "public"
            kept = f"on its card {published.kept} stays as a person wrote it" if published.kept else ""
            return _line(True, "published", published.repo_id, seen, published.url, kept)
        case Export() as export:
            failed = [f"{name} failed its proof" for name in export.failed]
            return _line(not failed, "export", f"{len(export.files)} file(s) in {export.seconds:.0f} s", *failed)
        case SeriesScript() as script:
            found = f"{script.path} measured a tiny checkpoint; {script.new} real ones wait"
            return _line(True, "rehearsed", found, f"{script.seconds:.0f} s")
        case Schedule() as schedule:
            when = schedule.trigger.cron or f"commits to {schedule.trigger.watched}"
            what = "evaluates new checkpoints" if schedule.trigger.does == "evaluate" else ""
            return _line(
                True, "schedule", schedule.state, what, when, f"ftagent schedules delete {schedule.id} ends it"
            )
        case Ended() as ended:
            return _line(ended.status in ("completed", "dry_run"), ended.status.replace("_", " "), ended.reason)
        case Note(text=""):
            return None
        case Note() as note:
            return Text(f"  {note.text}", style="dim")
        case _:
            return None


def _strays(file: GgufFile) -> str:
    """Say how far a file's perplexity is from the merged model's, where that was measured."""
    proof = file.proof
    if proof.perplexity is None or proof.reference_perplexity is None:
        return ""
    return f"perplexity {100 * (proof.perplexity / proof.reference_perplexity - 1):+.1f} %"


def _line(good: bool, title: str, *parts: str) -> Text:
    mark = Text("✓ " if good else "✗ ", style="green" if good else "red")
    return mark + Text(f"{title:<11}", style="bold") + Text(" · ".join(part for part in parts if part))


def progress_line(step: str, data: dict[str, Any]) -> Text:
    """Return the live line of a long step; for training with its numbers, what is left, and the curve of one."""
    parts = [step]
    if data.get("loss") is not None or data.get("value") is not None:
        parts += _training_parts(data)
    else:
        parts.append(str(data.get("text") or data.get("step") or "")[:LINE_CHARS])
        if data.get("total"):
            parts.append(f"{data.get('done', 0)}/{data['total']}")
    return Text(" · ".join(part for part in parts if part), style="dim")


def _training_parts(data: dict[str, Any]) -> list[str]:
    """Return step, leading number, rate, gradient, speed, time and money left, and the leading number's curve."""
    total = f"/{data['total_steps']}" if data.get("total_steps") else ""
    leads = data.get("value") is not None
    name, value = (data.get("leading", "loss"), data["value"]) if leads else ("loss", data["loss"])
    parts = [f"step {data['step']}{total}", f"{name} {value:.3f}"]
    if data.get("learning_rate") is not None:
        parts.append(f"lr {data['learning_rate']:.1e}")
    if data.get("grad_norm") is not None:
        parts.append(f"gradient {data['grad_norm']:.2g}")
    if data.get("tokens_per_s"):
        parts.append(f"{data['tokens_per_s']:.0f} tokens/s")
    if data.get("seconds_left") is not None:
        parts.append(f"{duration(data['seconds_left'])} left")
    if data.get("cost_usd"):
        to_come = data.get("cost_usd_left")
        parts.append(f"${data['cost_usd']:.2f}" + (f" + ${to_come:.2f} to come" if to_come is not None else ""))
    return [*parts, curve(data.get("values" if leads else "losses", ()))]


def example_text(data: dict[str, Any]) -> Text:
    """Return one row as the trainer sees it, the tokens that carry loss in green and between ⟦ ⟧ without colour."""
    shown = Text(f"row {data['row']}: ", style="bold")
    for foreign, trained in data["segments"]:
        text = "".join(mark if mark.isprintable() or mark in "\n\t" else "�" for mark in foreign)
        shown += Text(f"⟦{text}⟧", style="green") if trained else Text(text, style="dim")
    return shown


def curve(values: Sequence[float | None], width: int = CURVE_WIDTH) -> str:
    """Return a loss curve in block characters, the mean of each of `width` equal stretches."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) < 2:
        return ""
    width = min(width, len(finite))
    edges = [round(i * len(finite) / width) for i in range(width + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def duration(seconds: float) -> str:
    """Say seconds as people do: `45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
