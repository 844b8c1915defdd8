"""What a run is: the facts that its journal holds, and what follows from them at once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ..facts import (
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
    Repair,
    Schedule,
    ScheduleApproval,
    Script,
    SeriesScript,
    Spec,
    Stage,
)
from ..journal import Journal
from ..settings import Settings
from .folding import fold
from .later import Later


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
