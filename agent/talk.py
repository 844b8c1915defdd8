"""What a chat has in hand: its agent, the run that the talk is about, and where its words go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from ..tools.journal import Event
from ..tools.run import Run, find_run, list_runs
from ..tools.settings import Settings
from .console import RunConsole
from .foreign import visible
from .loop import FineTuneAgent, RunResult

if TYPE_CHECKING:
    from .approval import Decide

DONE, FAILED, INTERRUPTED = 0, 1, 130

_RUN_ID = re.compile(r"\b(?:\d{8}-\d{6}-)?[0-9a-f]{4,8}\b")


class Talk:
    """The hands of a chat.

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
        self.talked: list[tuple[str, str]] = []
        """What an LLM was asked about runs, and what it answered."""
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

    def _ended(self, result: RunResult) -> int:
        self.current = result.run.id
        said = result.run.ended is not None and result.run.ended.reason == result.answer
        if not (said and self.out.is_terminal):  # in a terminal, the last line of the run stands just above
            self._show(result.answer)
        if result.report is not None:
            self._say(f"report: {result.report}", "dim")
        return DONE if result.ok else FAILED

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

    @contextmanager
    def _answering(self) -> Iterator[Callable[[str], None]]:
        """Yield what shows an answer while it comes; in a pipe it is shown at its end alone."""
        if not self.out.is_terminal:
            yield lambda _: None
            return
        with Live(Spinner("dots", Text("asking …", "dim")), console=self.out, transient=True) as live:
            yield lambda markdown: live.update(_Tail(visible(markdown)))

    def _say(self, text: str, style: str = "") -> None:
        self.told.console.print(Text(text, style=style), soft_wrap=True)

    def _plain(self, text: str) -> None:
        self.out.print(text, markup=False, highlight=False, soft_wrap=True)


class _Tail:
    """The end of a text that may be higher than the screen: what is written now is what is read now."""

    def __init__(self, markdown: str) -> None:
        self.markdown = Markdown(markdown)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self.markdown, options, pad=False)
        for line in lines[-max(1, options.max_height - 1) :]:
            yield from line
            yield Segment.line()
