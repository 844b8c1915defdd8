"""The loop: smolagents' `ToolCallingAgent` on rails, and the Python face of ftagent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolagents import AgentGenerationError, LogLevel, Tool, ToolCallingAgent
from smolagents.agents import FinalAnswerPromptTemplate, ManagedAgentPromptTemplate, PlanningPromptTemplate
from smolagents.memory import ActionStep
from smolagents.utils import AgentToolExecutionError

from ..tools import report
from ..tools.data.shaping.mappings import Row
from ..tools.errors import FtagentError, ToolError, UserError
from ..tools.facts import Ended, Resumed
from ..tools.gates import closed_gate, next_tool
from ..tools.journal import Event, Listener
from ..tools.run import Run, find_run, new_run, report_path
from ..tools.script import hash_on_disk
from ..tools.settings import Settings, carried_over, load_settings
from .approval import Decide
from .context import build_messages, system_prompt
from .events import stream_events
from .llm import make_planner
from .notify import notifiers
from .toolbox import Toolbox, ToolInfo, input_schema, tool_info

MAX_STEPS = 200


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended."""

    run: Run
    report: Path | None
    answer: str

    @property
    def cost_usd(self) -> float:
        """GPU and LLM money that the run spent."""
        return self.run.cost_usd

    @property
    def ok(self) -> bool:
        """Whether everything that was asked for is there."""
        return self.run.ended is not None and self.run.ended.status in ("completed", "dry_run")


class FineTuneAgent:
    """Carries one sentence from dataset to exported model.

    Args:
        llm: A litellm model id, or `builtin` for the planner with no LLM inside.
        backend: `local` or `hf-jobs`.
        max_cost: Hard cap in US dollars over GPU and LLM money together.
        workdir: Where `training_reports/` lies; the current folder by default.
        approve: True approves what stays under the cap; a callable is shown each quote; None refuses to spend.
        dry_run: Do all that is free and stop before anything is submitted.
        listeners: Called with every event, in order.
        settings: Everything at once, already built; the arguments above are then left out.
    """

    def __init__(
        self,
        *,
        llm: str | None = None,
        backend: str | None = None,
        max_cost: float | None = None,
        workdir: Path | str | None = None,
        approve: Decide | bool | None = None,
        dry_run: bool = False,
        listeners: Sequence[Listener] = (),
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or load_settings(
            {"llm": llm, "backend": backend, "max_cost_usd": max_cost, "workdir": workdir}
        )
        self.approve = approve
        self.dry_run = dry_run
        self.listeners = tuple(listeners)

    def run(self, instruction: str, *, rows: Mapping[str, Callable[[], Iterable[Row]]] | None = None) -> RunResult:
        """Do what the sentence asks.

        Args:
            instruction: The request, in plain words.
            rows: Datasets that the instruction names, as functions that return or yield their rows.

        Raises:
            UserError: The request, or what it names, cannot be used; nothing half-made is left.
            ApprovalNeeded: Nobody approved the quote.
            BudgetExceeded: The job would go over the cap.
            ToolError: A step failed, and the planner found no way around.
        """
        return self._drive(new_run(self._with_rows(rows or {})), instruction, self.listeners)

    def _with_rows(self, rows: Mapping[str, Callable[[], Iterable[Row]]]) -> Settings:
        """Return the settings under which an instruction can name these datasets."""
        from ..tools.data.reading.callables import write_rows

        files = {name: write_rows(function, name, self.settings) for name, function in rows.items()}
        return self.settings.model_copy(update={"datasets": self.settings.datasets | files})

    def resume(self, run_id: str | None = None) -> RunResult:
        """Go on with a run where its journal ends; the newest run by default.

        Raises:
            UserError: There is no such run, or another process works on it.
        """
        return self._resume(run_id, self.listeners)

    def stream(self, instruction: str) -> Iterator[Event]:
        """Do what the sentence asks, and yield every event as it happens."""
        return stream_events(
            lambda listener: self._drive(new_run(self.settings), instruction, (*self.listeners, listener))
        )

    def _resume(self, run_id: str | None, listeners: Sequence[Listener]) -> RunResult:
        run = find_run(self.settings.workdir, run_id)
        if run.spec is None:
            raise UserError(f"run `{run.id}` has no plan to go on with.", hint="start anew with the instruction")
        run.journal.acquire()
        if run.ended is not None and run.ended.status == "completed":
            run.journal.release()
            return RunResult(run=run, report=report_path(run), answer="This run is complete.")
        return self._drive(run, run.spec.request, listeners, resumed=True)

    def _drive(self, run: Run, instruction: str, listeners: Sequence[Listener], resumed: bool = False) -> RunResult:
        """Let the planner work until the way is at its end, and journal how it ended."""
        run.journal.listeners = [report.writer(run.journal), *listeners, *notifiers(self.settings)]
        toolbox = Toolbox(run, request=instruction, decide=self.approve, dry_run=self.dry_run)
        try:
            if resumed:
                settings = carried_over(run.settings, self.settings)
                run = run if settings == run.settings else run.record(settings)
                repairs_next = closed_gate("repair_run", run) is None
                toolbox.run = run.record(Resumed(script_sha256=hash_on_disk(run), keeps_failure=repairs_next))
            answer = _run_agent(toolbox)
            toolbox.run = toolbox.run.record(_ending(toolbox.run, self.dry_run, answer))
        except FtagentError as error:
            toolbox.run.journal.tell("error", code=error.code, message=error.message, hint=error.hint)
            raise
        finally:
            toolbox.run.journal.release()
        settled = toolbox.run.journal.folder is not None
        return RunResult(run=toolbox.run, report=report_path(toolbox.run) if settled else None, answer=answer)


def _ending(run: Run, dry_run: bool, answer: str) -> Ended:
    if next_tool(run) == "submit_job" and dry_run:
        return Ended(status="dry_run", reason=answer)
    if run.report is not None and run.report.stage in ("cancelled", "timed_out"):
        return Ended(status="cancelled" if run.report.stage == "cancelled" else "timed_out", reason=run.report.reason)
    done = run.report is not None and run.report.health == "done" and next_tool(run) is None
    return Ended(status="completed" if done else "failed", reason=answer)


def _run_agent(toolbox: Toolbox) -> str:
    agent = RailedAgent(toolbox)
    try:
        return str(agent.run(toolbox.request or "", max_steps=MAX_STEPS))
    except AgentGenerationError as error:
        raise _planner_failure(error, toolbox) from error


def _planner_failure(error: AgentGenerationError, toolbox: Toolbox) -> Exception:
    """Return what really went wrong inside the planner."""
    cause = error.__cause__
    if not isinstance(cause, Exception):
        return error
    if isinstance(cause, FtagentError) or toolbox.run.settings.llm == "builtin":
        return cause  # all else in the built-in planner is a bug, and shows itself
    return UserError(
        f"the planner `{toolbox.run.settings.llm}` failed: {type(cause).__name__}: {' '.join(str(cause).split())}",
        hint="check the model id, the key and --llm-base-url; without --llm the built-in planner does the job",
    )


class RailedAgent(ToolCallingAgent):
    """A `ToolCallingAgent` that is offered only what is legal now and reads the state anew every turn."""

    def __init__(self, toolbox: Toolbox) -> None:
        self.toolbox = toolbox
        super().__init__(
            tools=[],
            model=make_planner(toolbox.run.settings, toolbox),
            prompt_templates=_templates(),
            verbosity_level=LogLevel.OFF,
        )

    @property
    def tools_and_managed_agents(self) -> list[Tool]:
        """The tools that are legal now; the end only when the way is at its end."""
        legal: list[Tool] = [OfferedTool(tool_info(name)) for name in self.toolbox.legal()]
        return legal if self.toolbox.expected() else [*legal, self.tools["final_answer"]]

    def write_memory_to_messages(self, summary_mode: bool = False) -> list[Any]:
        """Rebuild what the planner reads from the run itself."""
        return build_messages(self.toolbox, [step for step in self.memory.steps if isinstance(step, ActionStep)])

    def execute_tool_call(self, tool_name: str, arguments: dict[str, Any] | str) -> Any:
        """Call a tool; only what the planner can mend becomes an observation, all else ends the run."""
        if tool_name == "final_answer" and self.toolbox.expected() is None:
            return super().execute_tool_call(tool_name, arguments)
        try:
            return self.toolbox.call(tool_name, arguments)
        except ToolError as error:
            raise AgentToolExecutionError(str(error), self.logger) from error


class OfferedTool(Tool):
    """A tool as a model's API wants it; it is called through the toolbox, never here."""

    skip_forward_signature_validation = True
    output_type = "string"

    def __init__(self, info: ToolInfo) -> None:
        self.name, self.description, self.inputs = info.name, info.description, _for_planners(info)
        super().__init__()

    def forward(self, **arguments: Any) -> Any:
        raise AssertionError(f"{self.name} is called through the toolbox")


def _for_planners(info: ToolInfo) -> dict[str, dict[str, Any]]:
    """Leave out what a planner has no say in: the user's own words."""
    hidden = ("request", "offline") if info.name == "plan_run" else ()
    return {name: entry for name, entry in input_schema(info).items() if name not in hidden}


def _templates() -> Any:
    """Return smolagents' prompt templates: ours for the system, empty ones for what this loop never does."""
    return {
        "system_prompt": system_prompt(),
        "planning": PlanningPromptTemplate(initial_plan="", update_plan_pre_messages="", update_plan_post_messages=""),
        "managed_agent": ManagedAgentPromptTemplate(task="", report=""),
        "final_answer": FinalAnswerPromptTemplate(
            pre_messages="", post_messages="Say in two sentences where the run stands."
        ),
    }
