"""What a chat makes of a line: a command, an instruction, a change of the last one, or a question.

How lines are read and edited is `repl.py`'s business, what commands do is `slash.py`'s.
"""

from __future__ import annotations

import re
import shlex

from ..tools.errors import FtagentError, UserError
from ..tools.followups import change_in, changed_request
from ..tools.run import Run, list_runs
from ..tools.triggers import says_when
from ..tools.words import read_words
from .answers import UNDERSTOOD, answer
from .slash import COMMANDS, Commands
from .talk import DONE, INTERRUPTED

_QUESTION = re.compile(
    r"\?\s*$|^(?:why|what|which|how|when|where|who|is|are|was|were|did|does|do|can|could|compare|explain|tell me|"
    r"warum|wieso|was|welche\w*|wie|wann|wo)\b",
    re.IGNORECASE,
)
REMEMBERED = 3
"""Questions that an LLM is told again with the next: "and the one before?" means nothing alone."""
_TRAINS = re.compile(r"\b(?:fine-?\s?tun\w*|train\w*|distil\w*|teach|align|sft|dpo|grpo|kto|rloo)\b", re.IGNORECASE)


def _asks_for_a_price(line: str) -> bool:
    """Whether a question is about a run that could be: `what would it cost to fine-tune MODEL on DATA?`."""
    reading = read_words(line)
    return reading.plan_only and reading.model is not None and reading.dataset is not None


class Session(Commands):
    """One chat.

    Args:
        settings: What it starts with; `/llm` and `/budget` change them for what comes.
        out: Where answers go.
        told: Shows what a run does, and asks for approvals.
        decide: Who approves; None where nobody is there to ask.
        dry_run: Let every run stop before its job.
    """

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
        if _QUESTION.search(line) and not _TRAINS.match(line) and not _asks_for_a_price(line):
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
        from .signatures import tool_info

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
                with self._answering() as show:
                    before = self.talked[-REMEMBERED:]
                    said = answer_by_llm(question, runs[:2], self.settings, before=before, on_text=show)
                self.talked.append((question, said))
                self._show(said)
                return DONE
            except FtagentError as error:
                self._say(f"{error} The journal itself says:", "yellow")
        if (found := answer(question, runs)) is None:
            raise UserError("that question needs an LLM.", hint=f"/llm ID; without one: {UNDERSTOOD}")
        self._show(found)
        return DONE

    def _interrupted(self) -> None:
        """Say what the interruption stopped, and what goes on."""
        runs = [run for run in list_runs(self.settings.workdir) if run.id == self.current]
        if runs and runs[0].job is not None and runs[0].job_is_live:
            self._say(f"stopped looking on; job {runs[0].job.id} goes on. /watch, /resume or /cancel", "yellow")
        elif runs and runs[0].ended is not None:
            self._say("stopped", "yellow")
        elif runs:
            self._say(f"stopped; what was done is kept: /resume goes on with {runs[0].id}", "yellow")
        else:
            self._say("stopped; nothing was started", "yellow")
