"""The jobs of one step after the training, as far as a run knows them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ..facts import Approval, Job, JobIntent, JobReport


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
