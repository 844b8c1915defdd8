"""`ftagent` alone: a chat in the terminal, or lines from a pipe.

In a terminal, lines are edited with history and completion, and quotes are asked about. From a pipe nobody can be
asked: each line is done in turn, and the first that cannot be done ends it with its usual exit code.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from ..tools.run import REPORTS
from ..tools.settings import Settings
from ..tools.wording import without_secrets
from .console import RunConsole
from .session import Session
from .slash import COMMANDS, Leave
from .talk import DONE

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document

HISTORY = "history"
PROMPT = "ftagent> "
_PATH = re.compile(r"(?:^|\s)([~.\w/-]*[/.][^\s]*)$")


def is_fed(stream: TextIO) -> bool:
    """Tell whether lines come from a pipe or a file; a closed or empty device gives none."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def chat(settings: Settings, *, yes: bool = False, dry_run: bool = False) -> int:
    """Talk with a person in the terminal until they leave, and return 0."""
    out = Console(highlight=False)
    with RunConsole() as told:
        session = Session(settings, out=out, told=told, decide=True if yes else told.ask, dry_run=dry_run)
        out.print(f"ftagent · planner {settings.llm} · {settings.workdir}", markup=False)
        out.print('"fine-tune MODEL on DATA", a question, or /help', style="dim", markup=False)
        editor = _editor(session)
        while True:
            try:
                session.handle(editor.prompt(PROMPT))
            except KeyboardInterrupt:  # at the prompt: the line is given up, nothing else
                out.print("(/quit or Ctrl-D leaves)", style="dim", markup=False)
            except (EOFError, Leave):
                return DONE


def feed(settings: Settings, lines: Iterable[str], *, yes: bool = False, dry_run: bool = False) -> int | None:
    """Do what each line says, up to the first that cannot be done; None where there is no line at all."""
    code: int | None = None
    with RunConsole() as told:
        session = Session(settings, out=Console(highlight=False), told=told, decide=yes or None, dry_run=dry_run)
        for line in lines:
            if not line.strip():
                continue
            try:
                if code := session.handle(line):
                    return code
            except Leave:
                return DONE
    return code


# --- editing ----------------------------------------------------------------------------------------------------------


def _editor(session: Session) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.key_binding import KeyBindings

    class Kept(FileHistory):
        """A history that no token gets into."""

        def store_string(self, string: str) -> None:
            super().store_string(without_secrets(string))

    class Words(Completer):
        """Commands, runs and paths."""

        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            return _completions(session, document)

    keys = KeyBindings()
    keys.add("enter")(lambda event: event.current_buffer.validate_and_handle())
    keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
    return PromptSession(
        history=Kept(str(_history_file(session.settings))),
        completer=Words(),
        complete_while_typing=False,
        multiline=True,
        key_bindings=keys,
        prompt_continuation=lambda width, *_: "." * (width - 1) + " ",
        enable_open_in_editor=True,
    )


def _history_file(settings: Settings) -> Path:
    """Return the file of the history, which nobody else can read."""
    file = settings.data_dir / HISTORY
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    return file


def _completions(session: Session, document: Document) -> Iterable[Completion]:
    from prompt_toolkit.completion import Completion

    text = document.text_before_cursor
    words = text.split(" ")
    if text.startswith("/") and len(words) == 1:
        names = (f"/{name}" for name in COMMANDS if f"/{name}".startswith(text))
        yield from (Completion(name, start_position=-len(text)) for name in names)
    elif match := _PATH.search(text):
        yield from (Completion(path, start_position=-len(match[1])) for path in _paths(match[1]))
    elif text.startswith("/") and (command := COMMANDS.get(words[0][1:])) is not None and command.takes_run:
        last = words[-1]
        yield from (Completion(run, start_position=-len(last)) for run in _run_ids(session.settings) if last in run)


def _paths(begun: str) -> list[str]:
    """Return the paths that begin like this, folders with a slash at the end."""
    folder, _, name = begun.rpartition("/")
    place = Path(folder or ("/" if begun.startswith("/") else ".")).expanduser()
    try:
        found = sorted(path for path in place.iterdir() if path.name.startswith(name))
    except OSError:
        return []
    start = f"{folder}/" if "/" in begun else ""
    return [f"{start}{path.name}" + ("/" if path.is_dir() else "") for path in found if name or path.name[0] != "."]


def _run_ids(settings: Settings) -> list[str]:
    """Return the ids of the runs here, newest first, without reading their journals."""
    return sorted((path.parent.name for path in (settings.workdir / REPORTS).glob("*/*/journal.jsonl")), reverse=True)


def is_terminal() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()
