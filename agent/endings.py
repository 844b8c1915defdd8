"""How the work on a run begins again and how it ends, as its journal says and as its caller gets to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..tools.facts import Ended, Note, Resumed
from ..tools.gates import closed_gate, next_tool
from ..tools.jobs import end_work
from ..tools.run import Run, refold
from ..tools.script import hash_on_disk
from ..tools.settings import Settings, carried_over
from ..tools.stopping import shielded
from .toolbox import Toolbox, only_plans


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended."""

    run: Run
    report: Path | None
    answer: str
    stopped: bool = False
    """Whether the work was stopped from outside before its end."""

    @property
    def cost_usd(self) -> float:
        """GPU and LLM money that the run spent."""
        return self.run.cost_usd

    @property
    def llm_calls(self) -> int:
        """How often the planner's LLM was asked."""
        return len(self.run.llm_calls)

    @property
    def prompt_tokens(self) -> int:
        """What the planner's LLM read, in tokens, over all its calls."""
        return sum(call.prompt_tokens for call in self.run.llm_calls)

    @property
    def ok(self) -> bool:
        """Whether everything that was asked for is there."""
        return self.run.ended is not None and self.run.ended.status in ("completed", "dry_run")


def take_up(toolbox: Toolbox, present: Settings) -> None:
    """Journal that somebody takes up an earlier run, under the settings of today where those may change."""
    run = toolbox.run
    settings = carried_over(run.settings, present)
    run = run if settings == run.settings else run.record(settings)
    repairs_next = closed_gate("repair_run", run) is None
    toolbox.run = run.record(Resumed(script_sha256=hash_on_disk(run), keeps_failure=repairs_next))


def end_stopped(toolbox: Toolbox, keeps_job: bool) -> str:
    """Journal that the work was stopped from outside; the job is ended with it, or goes on under its name."""
    run = refold(toolbox.run.journal)  # a tool that was stopped half way has journalled more than it returned
    if keeps_job:
        job = f"; job {run.job.id} goes on" if run.job is not None and run.job_is_live else ""
        answer = f"Stopped from outside{job}: `ftagent resume {run.id}` takes it up."
        toolbox.run = run.record(Note(code="stopped", text=answer))
    else:
        with shielded():
            run = end_work(run)
        answer = "Cancelled from outside."
        toolbox.run = run.record(Ended(status="cancelled", reason=answer))
    return answer


def ending(run: Run, dry_run: bool, answer: str) -> Ended:
    """Return how a run has ended whose planner says that it is done."""
    if next_tool(run) == "submit_job" and (dry_run or only_plans(run)):
        return Ended(status="dry_run", reason=answer)
    if run.report is not None and run.report.stage in ("cancelled", "timed_out"):
        return Ended(status="cancelled" if run.report.stage == "cancelled" else "timed_out", reason=run.report.reason)
    done = run.report is not None and run.report.health == "done" and next_tool(run) is None
    return Ended(status="completed" if done else "failed", reason=answer)
