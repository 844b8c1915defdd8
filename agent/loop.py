"""The Python face of ftagent: one object that runs, streams, resumes, switches and cancels."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import cast

from smolagents import AgentGenerationError

from ..tools import report
from ..tools.attach import find_or_attach
from ..tools.data.shaping.mappings import Row
from ..tools.errors import FtagentError, Stopped, UserError
from ..tools.facts import Note
from ..tools.journal import Event, Listener
from ..tools.run import Run, new_run, report_path
from ..tools.settings import Settings, load_settings
from ..tools.skills import own_skills
from ..tools.stopping import Stop, current, working_under
from .approval import AsyncDecide, Decide
from .asynchronous import awaited, in_thread, stream_async
from .endings import RunResult, end_stopped, ending, take_up
from .events import stream_events
from .llm import connect
from .notify import notifiers
from .planner import undecided
from .railed import RailedAgent
from .rails import planner_failure
from .sweep import Sweep, run_sweep
from .switch import Planner
from .toolbox import Ask, Toolbox

MAX_STEPS = 1000
"""Of the loop; an LLM has `progress.MOST_TURNS` of them, and the built-in planner needs one a step."""


class FineTuneAgent:
    """Carries one sentence from dataset to exported model.

    Args:
        llm: A litellm model id, or `builtin` for the planner with no LLM inside.
        backend: `local` or `hf-jobs`.
        max_cost: Hard cap in US dollars over GPU and LLM money together.
        workdir: Where `training_reports/` lies; the current folder by default.
        approve: True approves what stays under the cap; a callable is shown each quote; None refuses to spend. In
            `arun`, `astream` and `aresume` it may be a coroutine.
        ask: Puts a planner's question to a person and returns the answer; None: nobody is there, and nothing is asked.
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
        approve: Decide | AsyncDecide | bool | None = None,
        ask: Ask | None = None,
        dry_run: bool = False,
        listeners: Sequence[Listener] = (),
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or load_settings(
            {"llm": llm, "backend": backend, "max_cost_usd": max_cost, "workdir": workdir}
        )
        self.approve = approve
        self.ask = ask
        self.dry_run = dry_run
        self.listeners = tuple(listeners)
        self._stops: set[Stop] = set()
        self._planners: list[Planner] = []

    def switch_llm(self, llm: str, base_url: str | None = None) -> None:
        """Let another planner take the next turn of every run under way, and all of later runs; from any thread.

        A run's journal says so. An LLM that fails before its first answer gives the turn back to the former planner.

        Args:
            llm: A litellm model id, or `builtin`.
            base_url: Where an OpenAI-compatible server of that model is.

        Raises:
            UserError: litellm is not installed, or knows no provider for this id; nothing is switched then.
        """
        settings = self.settings.model_copy(update={"llm": llm, "llm_base_url": base_url, "llm_window": None})
        if llm != "builtin":
            connect(settings)
        self.settings = settings
        for planner in tuple(self._planners):
            planner.switch(settings)

    def sweep(self, instruction: str, variants: Sequence[str], *, max_cost: float | None = None) -> Sweep:
        """Do what the sentence asks once for each variant, one after the other, under one budget.

        Args:
            instruction: The request, in plain words.
            variants: What is added to the request, such as `rank 8` and `rank 64`.
            max_cost: Cap in US dollars over all runs together; by default that of the agent.

        Returns:
            Every run and how it ended, those that were left out and why, and the runs side by side.

        Raises:
            UserError: There is no variant, or one cannot be used; what was done before stays.
        """
        return run_sweep(self, instruction, variants, max_cost)

    def with_cap(self, max_cost: float | None) -> FineTuneAgent:
        """Return an agent that differs in its cap alone, in US dollars."""
        twin = copy.copy(self)  # `cancel` and `switch_llm` reach its runs, too
        twin.settings = self.settings.model_copy(update={"max_cost_usd": max_cost})
        return twin

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

        A job's id will do, also on a machine that has no folder of its run.

        Raises:
            UserError: There is no such run, or another process works on it.
        """
        return self._resume(run_id, self.listeners)

    def stream(self, instruction: str) -> Iterator[Event]:
        """Do what the sentence asks, and yield every event as it happens."""
        return stream_events(
            lambda listener: self._drive(new_run(self.settings), instruction, (*self.listeners, listener))
        )

    async def arun(
        self, instruction: str, *, rows: Mapping[str, Callable[[], Iterable[Row]]] | None = None
    ) -> RunResult:
        """Do as `run` does, in a thread of its own; cancelling the task stops the work and leaves the job."""
        agent = self._awaiting()
        return await in_thread(lambda: agent.run(instruction, rows=rows))

    async def aresume(self, run_id: str | None = None) -> RunResult:
        """Do as `resume` does, in a thread of its own; cancelling the task stops the work and leaves the job."""
        agent = self._awaiting()
        return await in_thread(lambda: agent.resume(run_id))

    async def astream(self, instruction: str) -> AsyncGenerator[Event]:
        """Do what the sentence asks, and yield every event as it happens; leaving the stream stops the work."""
        agent = self._awaiting()
        work = stream_async(
            lambda listener: agent._drive(new_run(agent.settings), instruction, (*agent.listeners, listener))
        )
        async with aclosing(work) as events:
            async for event in events:
                yield event

    def cancel(self, *, keep_job: bool = False) -> None:
        """End what this agent works on now, from any thread, at its next safe place.

        `run`, `resume` and their twins then return as usual: the job was ended and the run's journal says `cancelled`.

        Args:
            keep_job: Only stop following: the job goes on, the run stays open, and `resume` takes it up.
        """
        for stop in tuple(self._stops):
            stop.ask(keep_job=keep_job)

    def _awaiting(self) -> FineTuneAgent:
        """Return this agent with an approval, and answers to questions, that a thread can ask for."""
        twin = copy.copy(self)
        twin.approve, twin.ask = awaited(self.approve), awaited(self.ask)
        return twin

    def _resume(self, run_id: str | None, listeners: Sequence[Listener]) -> RunResult:
        run = find_or_attach(self.settings, run_id)
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
        # A coroutine among the approvals is refused where it is asked (`approval.py`).
        decide = cast("Decide | bool | None", self.approve)
        toolbox = Toolbox(run, request=instruction, decide=decide, ask=self.ask, dry_run=self.dry_run)
        stop = current() or Stop()
        self._stops.add(stop)
        try:
            answer = self._work(toolbox, stop, carried=self.settings if resumed else None)
        except FtagentError as error:
            toolbox.run.journal.tell("error", code=error.code, message=error.message, hint=error.hint)
            raise
        finally:
            self._stops.discard(stop)
            toolbox.run.journal.release()
        settled = toolbox.run.journal.folder is not None
        return RunResult(
            run=toolbox.run,
            report=report_path(toolbox.run) if settled else None,
            answer=answer,
            stopped=stop.is_asked and (toolbox.run.ended is None or toolbox.run.ended.status == "cancelled"),
        )

    def _work(self, toolbox: Toolbox, stop: Stop, carried: Settings | None) -> str:
        """Take the run up where it is an earlier one, let the planner work, and journal how it ended."""
        try:
            with working_under(stop):
                if carried is not None:
                    take_up(toolbox, carried)
                answer = self._let_plan(toolbox)
                if question := toolbox.open_question():  # an LLM has ended, and may not have passed it on
                    toolbox.run.journal.tell("said", text=answer)
                    raise undecided(question)
        except Stopped:
            return end_stopped(toolbox, stop.keeps_job)
        toolbox.run = toolbox.run.record(ending(toolbox.run, self.dry_run, answer))
        return answer

    def _let_plan(self, toolbox: Toolbox) -> str:
        """Let the planner walk the way, and return its last words."""
        _say_own_skills(toolbox)
        agent = RailedAgent(toolbox)
        self._planners.append(agent.planner)
        try:
            return str(agent.run(toolbox.request or "", max_steps=MAX_STEPS))
        except AgentGenerationError as error:
            raise planner_failure(error, toolbox.run.settings) from error
        finally:
            self._planners.remove(agent.planner)


def _say_own_skills(toolbox: Toolbox) -> None:
    """Note which skills an LLM is given that are not the package's: whoever made the folder may have put them there."""
    run, own = toolbox.run, own_skills()
    if own and run.settings.llm != "builtin" and own not in [note.text for note in run.notes]:
        toolbox.run = run.record(Note(code="skills", text=own))
