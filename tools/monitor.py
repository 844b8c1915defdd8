"""Follows a job: gathers what it logs, judges its health by rules, believes its end only with evidence."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .backends import Backend, JobState, backend_of
from .facts import TERMINAL_STAGES, Alert, Course, Failure, Health, Job, JobReport, Stage
from .failures.recognise import JobEnd, recognise
from .failures.table import BY_NAME
from .gates import require
from .ledger import enter
from .metrics import (
    GRADIENT_NORM,
    LEARNING_RATE,
    LOSS,
    Leading,
    Point,
    first_and_last,
    leading_of,
    merged,
    pace,
    read_metrics,
    write_metrics,
)
from .plots import draw_loss
from .rules import RECENT, RULES, Outlook, Rule, Watched
from .run import Run, experiment_name
from .stopping import pause
from .trained import CHECKPOINT

POLL_S = 1.0
PAUSE_S_PER_POINT = 0.0005
"""Reading and writing 10,000 points takes 0.4 s of the training's own cores: then 5 s pass between two looks."""
HEARTBEAT_S = 5.0
"""Longest silence towards the listeners; imports and the model's loading take about 15 s before the first step."""
DRAW_EVERY_S = 15.0
"""A loss curve takes 0.1 s of the training's own cores."""
LOSSES_TOLD = 200
"""The end of the loss curve in a progress event; more than a terminal line shows."""
TEXT_CHARS = 120
"""Of the log's last line in a progress event."""
TAIL_LINES = 200

METRICS = "metrics.jsonl"
CURVE = "loss.png"
RESULT = "result.json"
OUT_OF_TIME = 4
"""The script's exit code when it saved and stopped shortly before its timeout (`tools/templates/base.py`)."""
WEIGHTS = ("adapter_model.safetensors", "model*.safetensors")


def monitor_job(run: Run, *, wait_s: float | None = None) -> JobReport:
    """Follow the job until it ends, and say how it stands or how it ended.

    Returns the stage (completed, failed, cancelled, timed_out; running when the wait was over first), the health with
    its reason, loss at the start and at the end (for grpo and rloo the reward, too), tokens per second, peak memory,
    money spent, the alerts, and what the script wrote as its result. A job whose loss is no number any more, went far
    above its start, or whose reward collapsed, is cancelled; what is only worth knowing is an alert.
    Metrics go to `metrics.jsonl` and `loss.png` of the run. By default it follows to the end; calling it again goes on
    following, and an interruption leaves the job running.

    Args:
        run: The run, with a job.
        wait_s: Return after this many seconds even if the job still runs; by default wait for its end.
    """
    require("monitor_job", run)
    watch = Watch(run)
    until = math.inf if wait_s is None else time.monotonic() + wait_s
    while (report := watch.look()).stage not in TERMINAL_STAGES and time.monotonic() < until:
        pause_s = max(POLL_S, PAUSE_S_PER_POINT * len(watch.points))
        pause(max(0.0, min(pause_s, until - time.monotonic())))
    watch.draw()
    if report.health == "done" and (run.report is None or run.report.health != "done"):
        _enter(run, report)
    return report


def _enter(run: Run, report: JobReport) -> None:
    """Let the ledger know what was predicted and what happened; a run is none the worse without it."""
    try:
        enter(run, report)
    except OSError as error:
        alert = Alert(level="warn", rule="ledger", text=f"the ledger cannot be written: {error.strerror}")
        run.journal.tell("alert", **alert.model_dump())


# --- following --------------------------------------------------------------------------------------------------------


class Watch:
    """One pair of eyes on a job: remembers what it has seen and told.

    Args:
        run: The run, with a job.
    """

    def __init__(self, run: Run) -> None:
        assert run.job is not None
        self.run = run
        self.job: Job = run.job
        self.backend: Backend = backend_of(run.job.backend)
        self.points = self._known = read_metrics(run.folder / METRICS)
        self.leading: Leading = leading_of(run.spec.method if run.spec else None)
        told = run.report.alerts if run.report is not None and run.report.job_id == run.job.id else ()
        self.alerts: list[Alert] = list(told)
        self._logged: list[Point] = []
        self._drawn: list[Point] = []
        self._told_at = self._drawn_at = -math.inf
        self._is_collected = False

    def look(self) -> JobReport:
        """Look once: gather, judge, tell, and report; a job that an error rule finds is ended here."""
        state = self.backend.status(self.run, self.job)
        self._collect(state)
        news = self._gather()
        findings = self._judge(state)
        is_hopeless = self.run.settings.cancel_hopeless and any(rule.level == "error" for rule in findings)
        is_live = state.stage not in TERMINAL_STAGES
        # A script may outlive the supervisor whose death made it a failure.
        if (is_live and is_hopeless) or state.stage == "failed":
            state = self.backend.cancel(self.run, self.job)
            self._collect(state)
        report = self._report(state, findings)
        if news or time.monotonic() - self._told_at > HEARTBEAT_S:
            self._tell(report)
        if news and time.monotonic() - self._drawn_at > DRAW_EVERY_S:
            self.draw()
        return report

    def draw(self) -> None:
        """Bring the loss curve up to date."""
        if self.run.spec is None or self._drawn == self.points:
            return
        draw_loss(self.run.folder / CURVE, self.points, experiment_name(self.run.spec), self.leading)
        self._drawn_at, self._drawn = time.monotonic(), self.points

    def _collect(self, state: JobState) -> None:
        """Bring home what the job left, once it has ended."""
        if state.stage in TERMINAL_STAGES and not self._is_collected:
            self.backend.collect(self.run, self.job, state)
            self._is_collected = True

    def _gather(self) -> bool:
        """Take in what was logged since the last look; tell whether there was anything."""
        logged = self.backend.metrics(self.run, self.job)
        if logged == self._logged:
            return False
        self._logged = logged
        seen = {p.step: p.time for p in self.points}
        now = datetime.now(UTC)
        timed = (p if p.time else replace(p, time=seen.get(p.step, now)) for p in logged)
        self.points = merged([*self._known, *timed])
        write_metrics(self.run.folder / METRICS, self.points)
        return True

    def _judge(self, state: JobState) -> dict[Rule, str]:
        """Return what each rule finds wrong now; the listeners hear of each rule once."""
        points = self._of_this_attempt(state)
        watched = Watched(
            points=points, now=datetime.now(UTC), leading=self.leading, outlook=self._outlook(state, points)
        )
        rules = [rule for rule in RULES if rule.holds_at_end or state.stage not in TERMINAL_STAGES]
        findings = {rule: text for rule in rules if (text := rule.test(watched))}
        for rule, text in findings.items():
            self._alert(Alert(level=rule.level, rule=rule.name, text=text, step=points[-1].step if points else None))
        return findings

    def _alert(self, alert: Alert) -> None:
        if alert.rule not in {told.rule for told in self.alerts}:
            self.alerts.append(alert)
            self.run.journal.tell("alert", **alert.model_dump())

    def _outlook(self, state: JobState, points: list[Point]) -> Outlook:
        """Return where the job goes, at the pace of this attempt so far."""
        total, steps_per_s = total_steps(self.run, points), pace(points)
        left = max(0, total - points[-1].step) / steps_per_s if points and total and steps_per_s else None
        return Outlook(
            seconds=state.seconds,
            seconds_left=left,
            timeout_s=self.job.timeout_s,
            price_usd_per_hour=price_usd_per_hour(self.run),
            spent_usd=self.run.llm_cost_usd + self.run.earlier_usd,
            cap_usd=cost_cap(self.run),
            waiting_s=waiting_s(self.job, state),
            flavor=self.job.flavor,
            others=other_flavors(self.run, self.job.flavor),
        )

    def _values(self, name: str) -> list[float]:
        return [value for point in self.points if (value := point.values.get(name)) is not None]

    def _of_this_attempt(self, state: JobState) -> list[Point]:
        """Leave out what an earlier attempt logged: its end says nothing about this one."""
        return [p for p in self.points if p.time and state.started_at and p.time >= state.started_at]

    def _report(self, state: JobState, findings: dict[Rule, str]) -> JobReport:
        stage, health, reason = self._verdict(state, findings)
        failure = self._failure(state, stage, findings)
        if failure is not None and health == "failed":
            health = BY_NAME[failure.name].health
        losses = first_and_last(self._values(LOSS))
        return JobReport(
            job_id=self.job.id,
            stage=stage,
            health=health,
            reason=reason,
            seconds=round(state.seconds, 1),
            step=self.points[-1].step if self.points else None,
            first_loss=losses[0] if losses else None,
            last_loss=losses[1] if losses else None,
            leading=self._course(),
            tokens_per_s=pace(self._of_this_attempt(state), "train/num_tokens"),
            peak_memory_gib=state.peak_memory_gib,
            cost_usd=price_usd_per_hour(self.run) * state.seconds / 3600,
            exit_code=state.exit_code,
            failure=failure,
            alerts=tuple(self.alerts),
            result=_read_result(self.run.folder) if stage == "completed" else {},
        )

    def _course(self) -> Course | None:
        ends = None if self.leading.name == LOSS else first_and_last(self._values(self.leading.name))
        return Course(label=self.leading.label, first=ends[0], last=ends[1]) if ends else None

    def _verdict(self, state: JobState, findings: dict[Rule, str]) -> tuple[Stage, Health, str]:
        """Return the stage, the health and the reason, as far as they can be believed."""
        has_ended, may_end = state.stage in TERMINAL_STAGES, self.run.settings.cancel_hopeless
        grave = {rule: text for rule, text in findings.items() if not has_ended or (may_end and rule.level == "error")}
        if grave:
            worst = min(grave, key=lambda rule: rule.level)  # "error" comes before "warn"
            return ("failed" if has_ended else state.stage), worst.health, grave[worst]
        match state.stage:
            case "completed":
                if missing := _missing_evidence(self.run.folder, state):
                    return "failed", "failed", missing
                return "completed", "done", "the training ran to its end"
            case "cancelled":
                return "cancelled", "cancelled", state.reason
            case "timed_out":
                return "timed_out", "timed_out", state.reason
            case "failed" if state.exit_code == OUT_OF_TIME:
                return "timed_out", "timed_out", "it saved a checkpoint and stopped, as its time was almost over"
            case "failed":
                return "failed", "failed", _why_it_failed(state, self.backend.log_tail(self.run, self.job, TAIL_LINES))
            case _:
                return state.stage, "healthy", state.reason or f"it has been {state.stage} for {state.seconds:.0f} s"

    def _failure(self, state: JobState, stage: Stage, findings: dict[Rule, str]) -> Failure | None:
        """Return why the job failed, where that is known: by the rule that ended it, its backend, or its log."""
        if stage not in ("failed", "timed_out"):
            return None
        ended_by = next((text for rule, text in findings.items() if rule.level == "error"), None)
        tail = self.backend.log_tail(self.run, self.job, TAIL_LINES)
        return recognise(JobEnd(stage=stage, exit_code=state.exit_code, reason=ended_by or state.reason, tail=tail))

    def _tell(self, report: JobReport) -> None:
        self._told_at = time.monotonic()
        total = total_steps(self.run, self.points)
        steps_per_s = pace(self.points[-RECENT:])
        seconds_left = max(0, total - report.step) / steps_per_s if report.step and total and steps_per_s else None
        line = self.backend.log_tail(self.run, self.job, 1)
        losses, leading = self._values(LOSS), self._values(self.leading.name)
        self.run.journal.tell(
            "progress",
            step=report.step,
            total_steps=total,
            loss=_last(losses),
            learning_rate=_last(self._values(LEARNING_RATE)),
            grad_norm=_last(self._values(GRADIENT_NORM)),
            tokens_per_s=report.tokens_per_s,
            fraction=min(1.0, report.step / total) if report.step and total else None,
            seconds=report.seconds,
            seconds_left=seconds_left,
            cost_usd=report.cost_usd,
            cost_usd_left=price_usd_per_hour(self.run) * seconds_left / 3600 if seconds_left is not None else None,
            losses=losses[-LOSSES_TOLD:],
            leading=self.leading.label,
            value=_last(leading),
            values=leading[-LOSSES_TOLD:],
            text=_printable(line[0]) if line else None,
        )


def waiting_s(job: Job, state: JobState) -> float:
    """Return how long a job has been waiting for a machine, 0 once it has one."""
    return (datetime.now(UTC) - job.submitted_at).total_seconds() if state.stage == "queued" else 0.0


def other_flavors(run: Run, taken: str) -> tuple[str, ...]:
    """Return the flavors on which the run would fit beside the one that was taken, the cheapest first."""
    candidates = run.hardware.candidates if run.hardware else ()
    fitting = sorted((one for one in candidates if one.fits), key=lambda one: (one.cost_usd, one.hours))
    return tuple(dict.fromkeys(one.flavor for one in fitting if one.flavor != taken))


def _last(values: list[float]) -> float | None:
    return values[-1] if values else None


def _printable(line: str) -> str:
    """Return a log line without what would move the cursor, cut to a terminal's width."""
    return "".join(c for c in line if c.isprintable())[:TEXT_CHARS]


def price_usd_per_hour(run: Run) -> float:
    """Return what the chosen hardware costs an hour; nothing on this machine."""
    if run.hardware is None or run.hardware.hours.expected <= 0:
        return 0.0
    return run.hardware.cost_usd.expected / run.hardware.hours.expected


def cost_cap(run: Run) -> float | None:
    """Return the lower of the settings' cap and the stated budget, in US dollars; None without any."""
    caps = (run.settings.max_cost_usd, run.spec.budget_usd if run.spec else None)
    return min((cap for cap in caps if cap is not None), default=None)


def total_steps(run: Run, points: list[Point]) -> int | None:
    """Return how many steps the training has, by its parameters or by how far in its epochs a step is."""
    parameters = {p.name: p.value for p in run.script.parameters} if run.script else {}
    if (parameters.get("max_steps") or 0) > 0:
        return parameters["max_steps"]
    done = next(((p.step, e) for p in reversed(points) if (e := p.values.get("train/epoch"))), None)
    if done is None or run.hardware is None:
        return None
    # The trainer rounds up twice (`Trainer.set_initial_training_values`); 1e-6 is for the division's own error.
    steps_per_epoch = math.ceil(done[0] / done[1] - 1e-6)
    return math.ceil(run.hardware.epochs * steps_per_epoch - 1e-6)


def _missing_evidence(folder: Path, state: JobState) -> str | None:
    """Say what is missing for believing that a script with exit code 0 has trained."""
    result = folder / RESULT
    started = state.started_at.timestamp() if state.started_at else 0.0
    if not result.exists() or result.stat().st_mtime < started:
        return f"the script ended without an error, but wrote no {RESULT}"
    if not any(next((folder / CHECKPOINT).glob(pattern), None) for pattern in WEIGHTS):
        return f"the script ended without an error, but {CHECKPOINT}/ holds no weights"
    return None


def _read_result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RESULT).read_text(encoding="utf-8"))


def _why_it_failed(state: JobState, tail: list[str]) -> str:
    """Say why in the script's own words, or else in the backend's."""
    raised = _raised(tail)
    if raised and (state.exit_code or 0) > 0:
        return raised
    return state.reason + (f"; its last line: {tail[-1]}" if tail else "")


def _raised(tail: list[str]) -> str | None:
    """Return the line that names the exception of the last traceback; more may have been printed after it."""
    starts = [number for number, line in enumerate(tail) if line.startswith("Traceback (most recent call last)")]
    after = tail[starts[-1] + 1 :] if starts else []
    return next((line for line in after if not line.startswith(" ")), None)
