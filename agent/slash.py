"""The lines of a chat that begin with `/`: one method a command, its docstring the line that `/help` shows."""

from __future__ import annotations

from collections.abc import Callable

from ..tools.errors import InputError, UserError
from ..tools.followups import without_values
from ..tools.jobs import cancel_job, cost_cap, status_now
from ..tools.report import show_run
from ..tools.run import experiment_name, list_runs, read_runs, report_path
from ..tools.skills import known_skills, read_skill
from .answers import UNDERSTOOD, cost, where
from .talk import DONE, FAILED, Talk


class Leave(Exception):
    """The person is done."""


class Commands(Talk):
    """A chat that knows its commands."""

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
        runs, unread = read_runs(self.settings.workdir)
        for run in runs:
            mark = "*" if run.id == self.current else " "
            self._plain(f"{mark} {run.id}  {status_now(run):<10}  {experiment_name(run.spec) if run.spec else '–'}")
        for error in unread:
            self._say(str(error), "yellow")
        if not (runs or unread):
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

    def __init__(self, do: Callable[[Commands, list[str]], int | None], takes: str = "") -> None:
        self.do = do
        self.takes = takes
        self.help = (do.__doc__ or "").split("\n")[0].rstrip(".")

    @property
    def takes_run(self) -> bool:
        """Whether a run can be named."""
        return "RUN" in self.takes


COMMANDS = {
    "help": Command(Commands.help),
    "runs": Command(Commands.runs),
    "show": Command(Commands.show, "[RUN]"),
    "report": Command(Commands.report, "[RUN]"),
    "watch": Command(Commands.watch, "[RUN]"),
    "cancel": Command(Commands.cancel, "[RUN]"),
    "resume": Command(Commands.resume, "[RUN]"),
    "llm": Command(Commands.llm, "[ID [URL]]"),
    "cost": Command(Commands.cost, "[RUN]"),
    "budget": Command(Commands.budget, "[USD]"),
    "approve": Command(Commands.approve, "[RUN|all|ask]"),
    "undo-override": Command(Commands.undo_override, "[NAME [RUN]]"),
    "skills": Command(Commands.skills, "[NAME]"),
    "quit": Command(Commands.quit),
}
