"""What a chat knows and does: one line in, answers out. How lines are read and edited is `repl.py`'s business."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from ..tools.errors import FtagentError, InputError, UserError
from ..tools.followups import change_in, changed_request, without_values
from ..tools.jobs import cancel_job, cost_cap, status_now
from ..tools.journal import Event
from ..tools.report import show_run
from ..tools.run import Run, experiment_name, find_run, list_runs, report_path
from ..tools.settings import Settings
from ..tools.skills import known_skills, read_skill
from ..tools.triggers import says_when
from .answers import UNDERSTOOD, answer, cost, where
from .console import RunConsole
from .foreign import visible
from .loop import FineTuneAgent, RunResult

if TYPE_CHECKING:
    from .approval import Decide

DONE, FAILED, INTERRUPTED = 0, 1, 130

_QUESTION = re.compile(
    r"\?\s*$|^(?:why|what|which|how|when|where|who|is|are|was|were|did|does|do|can|could|compare|explain|tell me|"
    r"warum|wieso|was|welche\w*|wie|wann|wo)\b",
    re.IGNORECASE,
)
_TRAINS = re.compile(r"\b(?:fine-?\s?tun\w*|train\w*|distil\w*|teach|align|sft|dpo|grpo|kto|rloo)\b", re.IGNORECASE)
_RUN_ID = re.compile(r"\b(?:\d{8}-\d{6}-)?[0-9a-f]{4,8}\b")


class Leave(Exception):
    """The person is done."""


class Session:
    """One chat.

    Args:
        settings: What it starts with; `/llm` and `/budget` change them for what comes.
        out: Where answers go.
        told: Shows what a run does, and asks for approvals.
        decide: Who approves; None where nobody is there to ask.
        dry_run: Let every run stop before its job.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        out: Console,
        told: RunConsole,
        decide: Decide | bool | None,
        dry_run: bool = False,
    ) -> None:
        self.out = out
        self.told = told
        self.person = decide
        self.current: str | None = None
        """The run that the talk is about."""
        self.agent = FineTuneAgent(
            settings=settings,
            approve=decide,
            ask=told.answer if callable(decide) else None,
            dry_run=dry_run,
            listeners=[told, self._heard],
        )

    @property
    def settings(self) -> Settings:
        """What holds for the next instruction."""
        return self.agent.settings

    def _heard(self, event: Event) -> None:
        self.current = event.run

    # --- a line -------------------------------------------------------------------------------------------------------

    def handle(self, line: str) -> int:
        """Do what a line says, say errors in one line each, and return the exit code that it would have.

        Raises:
            Leave: It was `/quit`.
        """
        try:
            return self._handle(line.strip())
        except FtagentError as error:
            self.told.rest()
            self._say(f"error: {error.message}" + (f" hint: {error.hint}" if error.hint else ""), "red")
            return error.exit_code
        except KeyboardInterrupt:
            self.told.rest()
            self._interrupted()
            return INTERRUPTED
        finally:
            self.told.rest()

    def _handle(self, line: str) -> int:
        if not line:
            return DONE
        if line.startswith("/"):
            return self._command(line)
        runs = self._runs_named(line)
        if (change := change_in(line)) is not None and not _TRAINS.match(line):
            return self._again(change)
        if _QUESTION.search(line) and not _TRAINS.match(line):
            return self._question(line, runs)
        if not _TRAINS.search(line) and says_when(line) and runs:
            return self._schedule(line)
        if not _TRAINS.search(line) and self.settings.llm == "builtin":
            raise UserError(
                "that is no instruction to train, and no question that can be answered without an LLM.",
                hint='"fine-tune MODEL on DATA", a question, "same, but rank 64", or /help',
            )
        return self._ended(self.agent.run(line))

    def _command(self, line: str) -> int:
        try:
            name, *arguments = shlex.split(line[1:]) or [""]
        except ValueError as error:
            raise UserError(f"`{line}` cannot be read: {error}.", hint="close the quotation mark") from error
        if name not in COMMANDS:
            raise UserError(f"there is no command `/{name}`.", hint="/help lists them")
        return COMMANDS[name].do(self, arguments) or DONE

    def _again(self, change: str) -> int:
        run = self._run([])
        assert run.spec is not None
        request = changed_request(run.spec.request, change)
        self._say(f"→ {request}", "dim")
        return self._ended(self.agent.run(request))

    def _schedule(self, when: str) -> int:
        """Repeat the run in hand, or evaluate its checkpoints, as a line says: `check the checkpoints every night`."""
        from .called import call_tool
        from .toolbox import tool_info

        given = {"run": self._run([]).id, "when": when}
        listeners = [self.told, self._heard]
        call_tool(tool_info("schedule_run"), given, self.settings, decide=self.person, listeners=listeners)
        return DONE

    def _question(self, question: str, runs: list[Run]) -> int:
        if not runs:
            raise UserError("there is no run to ask about yet.", hint='start one: "fine-tune MODEL on DATA"')
        if self.settings.llm != "builtin":
            from .asked import answer_by_llm

            try:
                self._show(answer_by_llm(question, runs[:2], self.settings))
                return DONE
            except FtagentError as error:
                self._say(f"{error} The journal itself says:", "yellow")
        if (found := answer(question, runs)) is None:
            raise UserError("that question needs an LLM.", hint=f"/llm ID; without one: {UNDERSTOOD}")
        self._show(found)
        return DONE

    def _ended(self, result: RunResult) -> int:
        self.current = result.run.id
        said = result.run.ended is not None and result.run.ended.reason == result.answer
        if not (said and self.out.is_terminal):  # in a terminal, the last line of the run stands just above
            self._show(result.answer)
        if result.report is not None:
            self._say(f"report: {result.report}", "dim")
        return DONE if result.ok else FAILED

    def _interrupted(self) -> None:
        """Say what the interruption stopped, and what goes on."""
        runs = [run for run in list_runs(self.settings.workdir) if run.id == self.current]
        if runs and runs[0].job is not None and runs[0].job_is_live:
            self._say(f"stopped looking on; job {runs[0].job.id} goes on. /watch, /resume or /cancel", "yellow")
        elif runs:
            self._say(f"stopped; what was done is kept: /resume goes on with {runs[0].id}", "yellow")
        else:
            self._say("stopped; nothing was started", "yellow")

    # --- runs ---------------------------------------------------------------------------------------------------------

    def _run(self, arguments: list[str]) -> Run:
        """Return the run that was named, else the one that the talk is about, else the newest."""
        workdir = self.settings.workdir
        if arguments:
            run = find_run(workdir, arguments[0])
        else:
            kept = [run for run in list_runs(workdir) if run.id == self.current and run.spec is not None]
            run = kept[0] if kept else find_run(workdir)
        self.current = run.id
        return run

    def _runs_named(self, text: str) -> list[Run]:
        """Return the runs that a text names; where it names none, or one to compare, the one in hand and the newest."""
        runs = list_runs(self.settings.workdir)
        named: dict[str, Run] = {}
        for word in _RUN_ID.findall(text):
            matching = [run for run in runs if run.id.startswith(word) or run.id.endswith(word)]
            if len(matching) == 1:
                named[matching[0].id] = matching[0]
        in_hand = [run for run in runs if run.id == self.current]
        rest = [run for run in (*in_hand, *runs) if run.id not in named]
        found = list(named.values())
        return found if len(found) > 1 else list({r.id: r for r in (*found, *rest)}.values())[:2]

    # --- saying -------------------------------------------------------------------------------------------------------

    def _show(self, markdown: str) -> None:
        markdown = visible(markdown)  # journals and LLMs repeat foreign text, and a terminal obeys its escapes
        if self.out.is_terminal:
            self.out.print(Markdown(markdown))
        else:
            self.out.print(markdown, markup=False, soft_wrap=True)

    def _say(self, text: str, style: str = "") -> None:
        self.told.console.print(Text(text, style=style), soft_wrap=True)

    def _plain(self, text: str) -> None:
        self.out.print(text, markup=False, highlight=False, soft_wrap=True)

    # --- commands -----------------------------------------------------------------------------------------------------

    def help(self, _: list[str]) -> None:
        """Show what can be said here."""
        width = max(len(f"/{name} {command.takes}") for name, command in COMMANDS.items())
        for name, command in COMMANDS.items():
            self._plain(f"{f'/{name} {command.takes}':<{width}}  {command.help}")
        self._plain('\nAll else is an instruction ("fine-tune MODEL on DATA"), a change of the last one ("same, but')
        self._plain(f'rank 64"), or a question: {UNDERSTOOD}')
        self._plain("Esc Enter begins a new line; Ctrl-C stops the turn and leaves the job; Ctrl-D leaves.")

    def runs(self, _: list[str]) -> None:
        """List the runs of this folder."""
        runs = list_runs(self.settings.workdir)
        for run in runs:
            mark = "*" if run.id == self.current else " "
            self._plain(f"{mark} {run.id}  {status_now(run):<10}  {experiment_name(run.spec) if run.spec else '–'}")
        if not runs:
            self._plain("no runs yet")

    def show(self, arguments: list[str]) -> None:
        """Say where a run stands."""
        self._show(where(self._run(arguments)))

    def report(self, arguments: list[str]) -> None:
        """Show a run's report in full."""
        run = self._run(arguments)
        self._show(show_run(run))
        self._say(f"report: {report_path(run)}", "dim")

    def watch(self, arguments: list[str]) -> int:
        """Look on, live."""
        from .commands.looking import look_on

        run = self._run(arguments)
        report, said = look_on(run, self.settings, self.told)
        self._say(said)
        return DONE if report.health in ("done", "healthy", "warned") else FAILED

    def cancel(self, arguments: list[str]) -> None:
        """End a run's job."""
        from .commands.looking import record_end

        run = self._run(arguments)
        report = cancel_job(run)
        record_end(run, report)
        self._plain(f"{report.stage}: {report.reason} (${report.cost_usd:.2f})")

    def resume(self, arguments: list[str]) -> int:
        """Go on with a run where its journal ends."""
        return self._ended(self.agent.resume(self._run(arguments).id))

    def llm(self, arguments: list[str]) -> None:
        """Show the planner, or switch it."""
        if arguments:
            self.agent.switch_llm(arguments[0], arguments[1] if len(arguments) > 1 else None)
        self._plain(f"planner: {self.settings.llm}")

    def cost(self, arguments: list[str]) -> None:
        """Say what a run has cost."""
        self._show(cost(self._run(arguments)))

    def budget(self, arguments: list[str]) -> None:
        """Show the cap, or set it for what comes."""
        if arguments:
            try:
                usd = float(arguments[0].lstrip("$"))
            except ValueError:
                raise UserError(f"`{arguments[0]}` is no amount.", hint="/budget 5") from None
            if usd < 0:
                raise UserError("a cap below 0 allows nothing.", hint="/budget 5")
            origins = self.settings.origins | {"max_cost_usd": "flag"}
            self.agent.settings = self.settings.model_copy(update={"max_cost_usd": usd, "origins": origins})
        cap = self.settings.max_cost_usd
        self._plain("no cap" if cap is None else f"cap: ${cap:.2f}")
        if any(run.id == self.current for run in list_runs(self.settings.workdir)):
            run = self._run([])
            stated = cost_cap(run)
            said = f" of ${stated:.2f}" if stated is not None else ""
            self._plain(f"run {run.id}: ${run.cost_usd:.2f} spent{said}")

    def approve(self, arguments: list[str]) -> int | None:
        """Ask once more about a run that waits, or approve all that stays under the cap, or ask each time again."""
        match arguments:
            case ["all"]:
                if self.settings.max_cost_usd is None:
                    raise UserError("there is no cap that this would stay under.", hint="first /budget USD")
                self.agent.approve = True
                self._plain(f"approved from now on: all that stays under ${self.settings.max_cost_usd:.2f} a run")
            case ["ask"]:
                self.agent.approve = self.person
                self._plain("each quote is asked about")
            case _:
                run = self._run(arguments)
                if run.job is not None:
                    raise UserError(f"run {run.id} waits for no approval.", hint="/show says where it stands")
                return self.resume([run.id])
        return None

    def undo_override(self, arguments: list[str]) -> int | None:
        """Take a stated value back and run again: rules decide it then."""
        run = self._run(arguments[1:])
        assert run.spec is not None
        stated = run.spec.overrides.given()
        if not arguments:
            self._plain(", ".join(f"{name} {value}" for name, value in stated.items()) or "nothing was stated")
            return None
        name = {"rank": "r", "epochs": "num_train_epochs", "lr": "learning_rate"}.get(arguments[0], arguments[0])
        if name not in stated:
            raise InputError(f"`{name}` was not stated.", hint=f"stated: {', '.join(stated) or 'nothing'}")
        request = without_values(run.spec.request, [name])
        self._say(f"→ {request}", "dim")
        return self._ended(self.agent.run(request))

    def skills(self, arguments: list[str]) -> None:
        """List the skills, or show one."""
        if arguments:
            self._show(read_skill(arguments[0]))
            return
        known = known_skills()
        for _, skill in sorted(known.skills.items()):
            self._plain(f"{skill.name}: {skill.description}" + (f" [{skill.origin}]" if skill.origin else ""))
        for why in known.refused:
            self._say(f"left out: {why}", "yellow")

    def quit(self, _: list[str]) -> None:
        """Leave; jobs go on."""
        raise Leave


class Command:
    """A line that begins with `/`.

    Args:
        do: What it does with its arguments; it returns an exit code, or None for 0.
        takes: Its arguments, as help shows them.
    """

    def __init__(self, do: Callable[[Session, list[str]], int | None], takes: str = "") -> None:
        self.do = do
        self.takes = takes
        self.help = (do.__doc__ or "").split("\n")[0].rstrip(".")

    @property
    def takes_run(self) -> bool:
        """Whether a run can be named."""
        return "RUN" in self.takes


COMMANDS = {
    "help": Command(Session.help),
    "runs": Command(Session.runs),
    "show": Command(Session.show, "[RUN]"),
    "report": Command(Session.report, "[RUN]"),
    "watch": Command(Session.watch, "[RUN]"),
    "cancel": Command(Session.cancel, "[RUN]"),
    "resume": Command(Session.resume, "[RUN]"),
    "llm": Command(Session.llm, "[ID [URL]]"),
    "cost": Command(Session.cost, "[RUN]"),
    "budget": Command(Session.budget, "[USD]"),
    "approve": Command(Session.approve, "[RUN|all|ask]"),
    "undo-override": Command(Session.undo_override, "[NAME [RUN]]"),
    "skills": Command(Session.skills, "[NAME]"),
    "quit": Command(Session.quit),
}
