"""Follows a job: gathers what it logs, judges its health by rules, believes its end only with evidence."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import UTC, datetime

from .backends import Backend, JobState, backend_of
from .ending import failure_of, read_result, verdict
from .facts import TERMINAL_STAGES, Alert, Course, Job, JobReport
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
from .outlook import outlook, price_usd_per_hour, total_steps
from .plots import draw_loss
from .rules import RECENT, RULES, Rule, Watched
from .run import Run, experiment_name
from .stopping import pause

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
            points=points,
            now=datetime.now(UTC),
            leading=self.leading,
            outlook=outlook(self.run, self.job, state, points),
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

    def _values(self, name: str) -> list[float]:
        return [value for point in self.points if (value := point.values.get(name)) is not None]

    def _of_this_attempt(self, state: JobState) -> list[Point]:
        """Leave out what an earlier attempt logged: its end says nothing about this one."""
        return [p for p in self.points if p.time and state.started_at and p.time >= state.started_at]

    def _report(self, state: JobState, findings: dict[Rule, str]) -> JobReport:
        stage, health, reason = verdict(self.run, state, findings, self._tail)
        failure = failure_of(state, stage, findings, self._tail)
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
            result=read_result(self.run.folder) if stage == "completed" else {},
        )

    def _course(self) -> Course | None:
        ends = None if self.leading.name == LOSS else first_and_last(self._values(self.leading.name))
        return Course(label=self.leading.label, first=ends[0], last=ends[1]) if ends else None

    def _tail(self) -> list[str]:
        return self.backend.log_tail(self.run, self.job, TAIL_LINES)

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


def _last(values: list[float]) -> float | None:
    return values[-1] if values else None


def _printable(line: str) -> str:
    """Return a log line without what would move the cursor, cut to a terminal's width."""
    return "".join(c for c in line if c.isprintable())[:TEXT_CHARS]
