"""One fine-tuning run and its truth: the state folded from its journal.

`Run` is what the lines of `journal.jsonl` add up to; nothing is remembered elsewhere, so a killed process loses at
most the line it was writing.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .errors import UserError
from .facts import (
    TERMINAL_STAGES,
    Answer,
    Approval,
    CheckpointSeries,
    DatasetReport,
    Ended,
    Evaluation,
    Export,
    Fact,
    GgufFile,
    HardwareChoice,
    Job,
    JobIntent,
    JobReport,
    LlmCall,
    Note,
    PreflightReport,
    Published,
    Purpose,
    Reopened,
    Repair,
    Resumed,
    Schedule,
    ScheduleApproval,
    Script,
    SeriesScript,
    Spec,
    Stage,
)
from .journal import FACTS, JOURNAL, Event, Journal
from .settings import Settings

REPORTS = "training_reports"


class Later(BaseModel):
    """The jobs of one step after the training."""

    model_config = ConfigDict(frozen=True)

    approval: Approval | None = None
    """One of its own, where that of the training does not cover it."""
    intent: JobIntent | None = None
    attempts: int = 0
    job: Job | None = None
    report: JobReport | None = None
    """How the job ended; nothing is written while it runs."""
    earlier_usd: float = 0.0

    @property
    def cost_usd(self) -> float:
        """What all of its jobs have cost."""
        return self.earlier_usd + (self.report.cost_usd if self.report else 0.0)

    @property
    def is_live(self) -> bool:
        """Whether a job was started, or may have been, whose end nobody has seen."""
        return self.intent is not None and self.report is None


class Run(BaseModel):
    """What has happened so far, folded from the journal."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    id: str
    journal: Journal = Field(exclude=True, repr=False)
    settings: Settings
    created: datetime
    spec: Spec | None = None
    dataset: DatasetReport | None = None
    hardware: HardwareChoice | None = None
    script: Script | None = None
    preflight: PreflightReport | None = None
    approval: Approval | None = None
    intent: JobIntent | None = None
    attempts: int = 0
    """How many jobs this run has meant to start."""
    earlier_usd: float = 0.0
    """What jobs before the present one have cost."""
    job: Job | None = None
    report: JobReport | None = None
    repairs: tuple[Repair, ...] = ()
    later: dict[Purpose, Later] = {}
    """Jobs that evaluate and export, where they are no business of this machine."""
    evaluation: Evaluation | None = None
    files: tuple[GgufFile, ...] = ()
    published: tuple[Published, ...] = ()
    export: Export | None = None
    schedule_approval: ScheduleApproval | None = None
    schedules: tuple[Schedule, ...] = ()
    series: SeriesScript | None = None
    checkpoints: CheckpointSeries | None = None
    """What scheduled evaluations had found when somebody looked last."""
    llm_calls: tuple[LlmCall, ...] = ()
    answers: tuple[Answer, ...] = ()
    notes: tuple[Note, ...] = ()
    ended: Ended | None = None

    @property
    def folder(self) -> Path:
        """The run's own folder.

        Raises:
            RuntimeError: The run has not been settled on disk yet.
        """
        if self.journal.folder is None:
            raise RuntimeError(f"run {self.id} has no folder yet")
        return self.journal.folder

    def log(self, name: str) -> Path:
        """Return where the step `name` writes its output: the run's folder, or a temporary one before it has any."""
        home = self.journal.folder or self.temporary
        return home / f"{name}.log"

    def keep_logs(self) -> None:
        """Move what was logged before the run had a folder into it."""
        temporary = self.temporary
        if temporary.is_dir():
            for file in temporary.iterdir():
                shutil.move(file, self.folder / file.name)
            temporary.rmdir()

    def drop_logs(self) -> None:
        """Remove what a run without a folder has logged."""
        shutil.rmtree(self.temporary, ignore_errors=True)

    @property
    def temporary(self) -> Path:
        """Where a run logs that has no folder yet."""
        return Path(tempfile.gettempdir(), f"ftagent-{self.id}")

    @property
    def stage(self) -> Stage | None:
        """The stage of the job, as it was last seen."""
        if self.report is not None:
            return self.report.stage
        return "queued" if self.job is not None else None

    @property
    def status(self) -> str:
        """One of planned, queued, running, completed, failed, cancelled, timed out."""
        if self.ended is not None and self.ended.status != "dry_run":
            return self.ended.status.replace("_", " ")
        if self.stage in ("failed", "cancelled", "timed_out"):
            return self.stage.replace("_", " ")
        if self.stage is None:
            return "running" if self.repairs else "planned"
        return "queued" if self.stage == "queued" else "running"

    @property
    def job_is_live(self) -> bool:
        """Whether a job was submitted, or may have been, whose end nobody has seen."""
        return self.intent is not None and (self.report is None or self.report.stage not in TERMINAL_STAGES)

    @property
    def llm_cost_usd(self) -> float:
        """What the planner's LLM has cost so far, where the price is known."""
        return sum(call.cost_usd or 0.0 for call in self.llm_calls)

    @property
    def cost_usd(self) -> float:
        """GPU and LLM money that this run has spent so far."""
        later = sum(step.cost_usd for step in self.later.values())
        return self.llm_cost_usd + self.earlier_usd + (self.report.cost_usd if self.report else 0.0) + later

    def record(self, fact: Fact) -> Run:
        """Journal one fact and return the run that includes it."""
        return fold(self, self.journal.append(fact))


_ON_HARDWARE = ("script", "preflight", "approval", "schedule_approval")
STANDS_ON: dict[str, tuple[str, ...]] = {
    "pick_hardware": _ON_HARDWARE,
    "validate_dataset": ("hardware", *_ON_HARDWARE),
    "plan_run": ("dataset", "hardware", *_ON_HARDWARE),
}
"""What stands on a step, and is gone when the step is settled anew."""


def llm_words(calls: Sequence[LlmCall]) -> str:
    """Say what the planner's LLM took: calls, tokens, money.

    Args:
        calls: The calls of one run.
    """
    names = ("prompt_tokens", "cached_tokens", "completion_tokens")
    prompt, cached, answered = (sum(getattr(call, name) for call in calls) for name in names)
    costs = [call.cost_usd for call in calls]
    price = "at an unknown price" if None in costs else f"${sum(cost or 0.0 for cost in costs):.4f}"
    of_them = f" ({cached} of them cached)" if cached else ""
    return f"{len(calls)} calls of the planner's LLM, {prompt} prompt tokens{of_them} + {answered} answered, {price}"


def fold(run: Run, event: Event) -> Run:
    """Return `run` after one more event.

    A new script makes an old preflight and approval worthless, since both belong to the script's hash.
    """
    fact = FACTS[event.kind].model_validate(event.data)
    if purpose := _later_purpose(fact):
        return run.model_copy(update={"later": run.later | {purpose: _stepped(run.later.get(purpose, Later()), fact)}})
    match fact:
        case Settings():
            change: dict[str, Any] = {"settings": fact}
        case Spec():
            change = {"spec": fact}
        case DatasetReport():
            change = {"dataset": fact}
        case HardwareChoice():
            change = {"hardware": fact}
        case Script():
            change = {"script": fact, "preflight": None, "approval": None, "schedule_approval": None}
        case PreflightReport():
            change = {"preflight": fact}
        case Approval():
            change = {"approval": fact}
        case JobIntent():
            change = {"intent": fact, "attempts": run.attempts + 1, **_without_job(run)}
        case Job():
            change = {"job": fact}
        case JobReport():
            change = {"report": fact}
        case Repair():
            change = _repaired(run, fact)
        case Evaluation():
            change = {"evaluation": fact}
        case GgufFile():
            kept = tuple(f for f in run.files if f.quantisation != fact.quantisation)
            change = {"files": (*kept, fact)}
        case Published():
            elsewhere = tuple(p for p in run.published if p.repo_id != fact.repo_id)
            change = {"published": (*elsewhere, fact)}
        case Export():
            change = {"export": fact}
        case ScheduleApproval():
            change = {"schedule_approval": fact}
        case Schedule():
            others = tuple(s for s in run.schedules if s.id != fact.id)
            change = {"schedules": (*others, fact)}
            if fact.state == "deleted":  # whoever wants it again must be asked again
                change["schedule_approval"] = None
        case SeriesScript():
            change = {"series": fact}
        case CheckpointSeries():
            change = {"checkpoints": fact}
        case LlmCall():
            change = {"llm_calls": (*run.llm_calls, fact)}
        case Reopened():
            change = dict.fromkeys(STANDS_ON[fact.step])
        case Answer():
            change = {"answers": (*run.answers, fact)}
        case Resumed():
            change = _taken_up(run, fact)
        case Note():
            change = {"notes": (*run.notes, fact)}
        case Ended():
            change = {"ended": fact}
        case _:
            raise TypeError(f"no rule folds {type(fact).__name__}")
    return run.model_copy(update=change)


def _later_purpose(fact: Fact) -> Purpose | None:
    """Return which step after the training a fact belongs to, if any."""
    match fact:
        case Approval():
            purpose = fact.quote.purpose
        case JobIntent() | Job() | JobReport():
            purpose = fact.purpose
        case _:
            return None
    return None if purpose == "train" else purpose


def _stepped(step: Later, fact: Fact) -> Later:
    """Return a step after one more fact of its own."""
    match fact:
        case Approval():
            change: dict[str, Any] = {"approval": fact}
        case JobIntent():
            change = {"intent": fact, "attempts": step.attempts + 1, "job": None, "report": None}
            change["earlier_usd"] = step.cost_usd
        case Job():
            change = {"job": fact}
        case JobReport():
            change = {"report": fact}
        case _:
            raise TypeError(f"no rule folds {type(fact).__name__} into a step")
    return step.model_copy(update=change)


def _taken_up(run: Run, fact: Resumed) -> dict[str, Any]:
    """Forget what stands in the way of a new try; what was done stays done."""
    change: dict[str, Any] = {"ended": None}
    edited = run.script is not None and fact.script_sha256 not in (None, run.script.sha256)
    if run.script is not None and edited:
        change |= {"script": run.script.model_copy(update={"sha256": fact.script_sha256})}
        change |= {"preflight": None, "approval": None}
    if run.preflight is not None and not run.preflight.ok:
        change["preflight"] = None
    failed = run.report is not None and run.report.stage in TERMINAL_STAGES and run.report.health != "done"
    if failed and (edited or not fact.keeps_failure):
        change |= {"intent": None, "approval": None, **_without_job(run)}
    return change


def _repaired(run: Run, fact: Repair) -> dict[str, Any]:
    """Make room for the next job; what a repair changes must be proven and approved like the first."""
    change: dict[str, Any] = {"repairs": (*run.repairs, fact)}
    if fact.rung is None:
        return change
    change |= {"hardware": fact.hardware or run.hardware, "preflight": None, "approval": None, "intent": None}
    return change | ({"script": None} if fact.rewrites else {}) | _without_job(run)


def _without_job(run: Run) -> dict[str, Any]:
    """Make room for another job; what the former one has cost stays spent."""
    spent = run.report.cost_usd if run.report is not None else 0.0
    return {"job": None, "report": None, "earlier_usd": run.earlier_usd + spent}


def new_run(settings: Settings) -> Run:
    """Begin a run in memory; `Journal.settle` gives it a folder.

    Ids sort by time to the microsecond, five hexadecimal digits of it; three are drawn, for runs that begin together.
    """
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%d-%H%M%S}-{now.microsecond:05x}{secrets.randbits(12):03x}"
    journal = Journal(run_id)
    journal.append(settings)
    return refold(journal)


def open_run(folder: Path) -> Run:
    """Read a run back from its folder.

    Raises:
        UserError: The folder holds no readable journal.
    """
    journal = Journal(folder.name, folder)
    if not journal.events:
        raise UserError(f"`{folder}` holds no journal.", hint="`ftagent runs` lists the runs of this folder")
    return refold(journal)


def refold(journal: Journal) -> Run:
    """Fold all of a journal's events from the beginning."""
    first = journal.events[0]
    run = Run(
        id=journal.run_id,
        journal=journal,
        settings=Settings.model_validate(first.data),
        created=first.at,
    )
    for event in journal.events:
        run = fold(run, event)
    return run


def list_runs(workdir: Path) -> list[Run]:
    """Return every run below `workdir`, newest first."""
    folders = [journal.parent for journal in (workdir / REPORTS).glob(f"*/*/{JOURNAL}")]
    return [open_run(folder) for folder in sorted(folders, key=lambda f: f.name, reverse=True)]


def has_other_runs(run: Run) -> bool:
    """Whether there is another run below the same working folder."""
    journals = (run.settings.workdir / REPORTS).glob(f"*/*/{JOURNAL}")
    return any(journal.parent.name != run.id for journal in journals)


def find_run(workdir: Path, run_id: str | None = None) -> Run:
    """Return the run with this id (or a unique beginning or end of it), or that of this job; or the newest one.

    Raises:
        UserError: No run, or several, match.
    """
    folders = [journal.parent for journal in (workdir / REPORTS).glob(f"*/*/{JOURNAL}")]
    if run_id is None:
        if not folders:
            raise UserError(
                f"there is no run below `{workdir / REPORTS}`.", hint='start one: ftagent "fine-tune … on …"'
            )
        return open_run(max(folders, key=lambda f: f.name))
    found = [f for f in folders if f.name == run_id] or [
        f for f in folders if f.name.startswith(run_id) or f.name.endswith(run_id)
    ]
    found = found or [folder for folder in folders if _had_job(folder, run_id)]
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise UserError(f"{what} match `{run_id}`.", hint="`ftagent runs` lists the runs of this folder")
    return open_run(found[0])


def _had_job(folder: Path, job_id: str) -> bool:
    """Whether the run of this folder ever had this job, its namespace named or not."""
    jobs = (event.data["id"] for event in Journal(folder.name, folder).events if event.kind == "submit_job")
    return any(job == job_id or job.endswith(f"/{job_id}") for job in jobs)


def experiment_name(spec: Spec) -> str:
    """Return `<model>-<dataset>-<method>`, which names the report; two runs of one experiment share it."""
    model = spec.model.rstrip("/").split("/")[-1]
    dataset = Path(spec.dataset.rstrip("/").split("/")[-1])
    stem = dataset.name.removesuffix("".join(dataset.suffixes[-2:])) if dataset.suffix else dataset.name
    return "-".join(slug(part) for part in (model, stem or dataset.name, spec.method))


def home_of(run: Run, spec: Spec) -> Path:
    """Return the folder that a run of this plan takes."""
    return run.settings.workdir / REPORTS / experiment_name(spec) / run.id


def slug(text: str) -> str:
    """Return `text` in lower case with everything but letters, digits and dots as single hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "unnamed"


def report_path(run: Run) -> Path:
    """Return where this run's experiment is reported."""
    return run.folder.parent.with_name(run.folder.parent.name + ".md")
