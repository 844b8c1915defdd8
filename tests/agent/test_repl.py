"""The chat in a real terminal, narrow and wide, with and without colour; and the same lines from a pipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from ftagent.agent.cli import main
from ftagent.tools.jobs import status_now
from ftagent.tools.run import Run, find_run, list_runs

from ..openai_server import Reply, openai_server
from ..tools.conftest import Prove, prove, until
from .instant import REQUEST, install

__all__ = ["prove", "until"]

ROOT = Path(__file__).parents[2]
# The command line with tools that settle their facts at once; `real` in place of `instant` leaves the real ones.
CHILD = """
import sys
sys.path.insert(0, sys.argv.pop(1))
if sys.argv.pop(1) == "instant":
    from ftagent.agent import signatures
    from tests.agent import instant
    signatures.find_tool = lambda name: instant.INSTANT.get(name) or instant.real(name)
from ftagent.agent.cli import main
sys.exit(main())
"""
COMMAND = [sys.executable, "-c", CHILD, str(ROOT)]
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78])|\r")
_COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:[349][0-7])m")


class Terminal:
    """A chat in a terminal of its own, and what was on it since the last line was typed."""

    def __init__(self, workdir: Path, tools: str = "instant", width: int = 100, **environment: str) -> None:
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
        # A pseudo-terminal answers no request for the cursor's position.
        env = {**kept, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **environment}
        self.child: pexpect.spawn = pexpect.spawn(
            COMMAND[0],
            [*COMMAND[1:], tools],
            cwd=str(workdir),
            env=env,  # type: ignore[arg-type]
            dimensions=(30, width),
            encoding="utf-8",
            timeout=25,
        )
        self.raw = ""

    def sees(self, pattern: str) -> str:
        """Wait for a pattern and return, without escapes, what stood before and in it."""
        self.child.expect(pattern)
        self.raw += str(self.child.before) + str(self.child.after)
        return _ESCAPES.sub("", str(self.child.before) + str(self.child.after))

    def prompt(self) -> str:
        """Wait until a line can be typed: bracketed paste is switched on with each prompt, and off at its end."""
        return self.sees(r"\x1b\[\?2004h.*?ftagent>")

    def types(self, line: str) -> None:
        """Type a line and Enter."""
        self.child.send(line + "\r")

    def completes(self, begun: str, rest: str) -> None:
        """Type the beginning of a line and Tab, and wait for what that adds; only this is drawn."""
        self.child.send(begun + "\t")
        self.sees(re.escape(rest))


@pytest.fixture
def open_terminal(workdir: Path) -> Iterator[Callable[..., Terminal]]:
    """Open terminals whose chats end with the test."""
    opened: list[Terminal] = []

    def make(**options: str | int) -> Terminal:
        opened.append(Terminal(workdir, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.child.close(force=True)


def _of(workdir: Path) -> list[Run]:
    return list_runs(workdir)


@pytest.mark.parametrize(("width", "colour"), [(40, True), (160, False)])
def test_a_talk_from_instruction_to_comparison(
    workdir: Path, open_terminal: Callable[..., Terminal], width: int, colour: bool
) -> None:
    chat = open_terminal(width=width, **({} if colour else {"NO_COLOR": "1"}))
    chat.prompt()
    chat.types(REQUEST)
    asked = chat.sees(r"Start this job\? \[y/N\] ")
    assert "✓ preflight" in asked and "no money" in asked and not _of(workdir)[0].approval
    chat.types("n")
    assert "was declined" in " ".join(chat.prompt().split())
    chat.types("/approve")
    chat.sees(r"Start this job\? \[y/N\] ")
    chat.types("y")
    assert "✓ completed" in chat.prompt()
    chat.types("is it better?")
    assert "better" in chat.prompt()
    chat.types("same, but rank 64")
    chat.sees(r"Start this job\? \[y/N\] ")
    chat.types("y")
    chat.prompt()
    newest, oldest = _of(workdir)
    assert newest.spec and oldest.spec
    assert newest.spec.overrides.given() == {"r": 64} and oldest.spec.overrides.given() == {}
    chat.types(f"compare {oldest.id[-8:]} and {newest.id[-8:]}")
    assert "held-out" in chat.prompt()
    chat.types("/quit")
    chat.sees(pexpect.EOF)  # type: ignore[arg-type]
    assert chat.child.wait() == 0
    assert bool(_COLOUR.search(chat.raw)) == colour


def test_lines_are_completed_kept_and_may_have_several_lines(
    workdir: Path, open_terminal: Callable[..., Terminal]
) -> None:
    (workdir / "rows-of-mine.jsonl").write_text("", encoding="utf-8")
    chat = open_terminal()
    chat.prompt()
    chat.completes("/bud", "get")
    chat.types(" 5")
    assert "cap: $5.00" in chat.prompt()
    chat.completes("fine-tune Tiny-1M\x1b\ron ./rows-of", "-mine.jsonl")
    chat.types(", no export")
    asked = chat.sees(r"Start this job\? \[y/N\] ")
    assert "rows-of-mine.jsonl" in asked
    chat.types("n")
    chat.prompt()
    (run,) = _of(workdir)
    assert run.spec is not None and run.spec.dataset.endswith("rows-of-mine.jsonl")
    assert run.spec.request == "fine-tune Tiny-1M\non ./rows-of-mine.jsonl, no export"
    chat.completes(f"/show {run.id[:15]}", run.id[15:])
    chat.types("")
    assert f"Run {run.id}" in chat.prompt()
    chat.types("/budget hf_abcdefghijklmnopqrstuvwxyz")
    chat.prompt()
    chat.child.sendeof()
    chat.sees(pexpect.EOF)  # type: ignore[arg-type]
    history = (Path(os.environ["XDG_DATA_HOME"]) / "ftagent" / "history").read_text(encoding="utf-8")
    assert "/budget 5" in history and "hf_abc" not in history
    again = open_terminal()
    again.prompt()
    again.child.send("\x1b[A\x1b[A\r")  # two lines up
    assert f"Run {run.id}" in again.prompt()


def test_an_llm_s_answer_is_shown_while_it_comes_and_may_be_stopped(
    workdir: Path, open_terminal: Callable[..., Terminal]
) -> None:
    chat = open_terminal()
    chat.prompt()
    chat.types(REQUEST)
    chat.sees(r"Start this job\? \[y/N\] ")
    chat.types("y")
    chat.prompt()
    many = " ".join(f"word{number}" for number in range(60))
    with openai_server(lambda _: Reply(content=many, wait_s=0.2)) as server:
        chat.types(f"/llm openai/scripted {server.url}")
        chat.prompt()
        chat.types("is it better?")
        first = chat.sees("word3 ")
        assert "word59" not in first
        chat.child.sendintr()
        assert "stopped" in chat.prompt()
    with openai_server(lambda _: Reply(content="Yes, **better**.")) as server:
        chat.types(f"/llm openai/scripted {server.url}")
        chat.prompt()
        chat.types("is it better?")
        assert "Yes, better." in chat.prompt()
    assert sum(note.code == "price" for note in _of(workdir)[0].notes) == 0  # this machine takes no money


def test_ctrl_c_stops_the_turn_and_not_the_job(
    prove: Prove, open_terminal: Callable[..., Terminal], until: Callable[[Callable[[], object]], None]
) -> None:
    run = prove("import time\ntime.sleep(600)\n", timeout_s=900)
    run.journal.release()
    chat = open_terminal(tools="real")
    chat.prompt()
    chat.types("/resume")
    until(lambda: find_run(run.settings.workdir).job is not None)
    chat.sees("training")
    chat.child.sendintr()
    said = chat.prompt()
    assert re.search(r"job \S+ goes on. /watch, /resume or /cancel", " ".join(said.split()))
    assert status_now(find_run(run.settings.workdir)) == "running"
    chat.child.sendintr()  # at the prompt it gives up the line
    assert "Ctrl-D leaves" in chat.prompt()
    chat.types("/watch")
    chat.sees("training")
    chat.child.sendintr()
    chat.prompt()
    chat.types("/cancel")
    assert "cancelled" in chat.prompt()
    assert find_run(run.settings.workdir).status == "cancelled"


# --- without a terminal -----------------------------------------------------------------------------------------------


def test_lines_from_a_pipe_are_done_without_asking(workdir: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "instant", "--yes"],
        cwd=workdir,
        input=f"{REQUEST}\nwhat did it cost?\n/runs\n",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "has cost $0.00" in done.stdout and "completed" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr and "✓ training" in done.stderr


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        (f"{REQUEST}\n/runs\n", 3, "needs an approval"),
        ("/no-such\n", 2, "there is no command"),
        ("sing me a song\n", 2, "no instruction to train"),
        ("why is the sky blue?\n", 2, "no run to ask about"),
        ("/quit\n/no-such\n", 0, ""),
        ("\n \n", 2, "ftagent INSTRUCTION"),
        (None, 2, "ftagent INSTRUCTION"),
    ],
)
def test_the_first_line_that_cannot_be_done_ends_it(
    workdir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: str | None,
    code: int,
    says: str,
) -> None:
    fed = tmp_path / "lines" if lines is not None else Path(os.devnull)
    if lines is not None:
        fed.write_text(lines, encoding="utf-8")
    install(monkeypatch)
    with fed.open(encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main([]) == code
    out, err = capsys.readouterr()
    assert says in err and out == ""
