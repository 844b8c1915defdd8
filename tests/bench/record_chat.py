"""Records a chat: a real `ftagent` in a real pseudo-terminal, on a small model, with the built-in planner.

    make record-chat     writes examples/chat.cast (asciicast v2) and examples/chat.md, in some minutes

What is typed stands in `STORY`; every other sign is what the terminal got. The chat runs with `/home/me` for a home and
`/home/me/ftagent` for its folder, in a mount namespace of its own, so that no path of the machine is in it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pexpect
from screen import Screen

ROOT = Path(__file__).parents[2]
DATA = ROOT / "examples" / "docstrings.jsonl"
CAST, TRANSCRIPT = ROOT / "examples" / "chat.cast", ROOT / "examples" / "chat.md"
WIDTH, HEIGHT = 110, 36
LONGEST_S = 900.0
"""Of one answer: training and comparing are waited for."""
IDLE_S = 2.0
"""Longest pause that a player of the recording keeps."""
READING_S = 1.0
"""Between an answer and the next line."""
PROMPT = r"\x1b\[\?2004h.*?ftagent>"
"""Bracketed paste is switched on with each prompt."""
APPROVAL = r"Start this job\? \[y/N\] "

HOUSE = """
set -e
mount --rbind /home /mnt
mount -t tmpfs tmpfs /home
for old in /mnt/*/; do new="/home/$(basename "$old")"; mkdir -p "$new"; mount --rbind "$old" "$new"; done
mkdir -p /home/me
mount --bind "$1" /home/me
cd /home/me/ftagent
shift
exec "$@"
"""
"""Puts a folder at /home/me; other homes stay where they are, since the interpreter may lie in one."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is typed, and what is waited for before the next line."""

    typed: str
    until: str = PROMPT
    stop_at: str | None = None
    """A pattern at which Ctrl-C is pressed; `until` is waited for then."""


STORY = (
    Line(typed="fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl, no export", until=APPROVAL),
    Line(typed="n"),
    Line(typed="which data?"),
    Line(typed="why this batch size?"),
    Line(typed="how long would it take?"),
    Line(typed="same, but rank 64", until=APPROVAL),
    Line(typed="y", stop_at=r"step \d\d/\d+ · loss"),
    Line(typed="where does it stand?"),
    Line(typed="/watch"),
    Line(typed="/resume"),
    Line(typed="is it better?"),
    Line(typed="how much did it cost?"),
    Line(typed="why did the loss jump at step 20?"),
    Line(typed="/runs"),
    Line(typed="/quit", until="EOF"),
)


class Recording:
    """A chat that is under way, with the second at which each piece of it was written."""

    def __init__(self, home: Path) -> None:
        self.pieces: list[tuple[float, str]] = []
        self.live: list[str] = []
        """Lines that were on the screen only for a while, at the moment when the chat was interrupted."""
        self._begun = time.monotonic()
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        shown = {"HOME": "/home/me", "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONUTF8": "1"}
        self.child: pexpect.spawn = pexpect.spawn(
            "unshare",
            ["--user", "--map-root-user", "--mount", "sh", "-c", HOUSE, "sh", str(home), *_command()],
            env=kept | shown,  # type: ignore[arg-type]
            dimensions=(HEIGHT, WIDTH),
            encoding="utf-8",
            timeout=LONGEST_S,
        )
        self.child.logfile_read = self  # type: ignore[assignment]

    def write(self, written: str) -> None:
        """Keep a piece that the terminal got."""
        self.pieces.append((time.monotonic() - self._begun, written))

    def flush(self) -> None:
        """Do nothing: pieces are kept as they come."""

    def says(self, line: Line) -> None:
        """Type a line as a person does, and wait for what it leads to."""
        for sign in line.typed:
            self.child.send(sign)
            self._listen(random.uniform(0.02, 0.08))
        self._listen(0.3)
        self.child.send("\r")
        if line.stop_at:
            self.child.expect(line.stop_at)
            self._listen(IDLE_S)
            self.live.append(screen_of(self.pieces).text.splitlines()[-1].strip())
            self.child.sendintr()
        self.child.expect(pexpect.EOF if line.until == "EOF" else line.until)
        self._listen(READING_S)

    def _listen(self, seconds: float) -> None:
        """Take in what is written within so many seconds."""
        self.child.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=seconds)


def _command() -> list[str]:
    """Return the command line of `ftagent` as it is installed beside this interpreter."""
    return [str(Path(sys.executable).with_name("ftagent"))]


def screen_of(pieces: list[tuple[float, str]]) -> Screen:
    """Return a screen that shows these pieces."""
    screen = Screen(WIDTH)
    for _, written in pieces:
        screen.feed(written)
    return screen


@contextmanager
def home() -> Iterator[Path]:
    """Make a home with the example's data in it, and take it away at the end."""
    with tempfile.TemporaryDirectory(prefix="ftagent-chat-") as folder:
        examples = Path(folder) / "ftagent" / "examples"
        examples.mkdir(parents=True)
        shutil.copy(DATA, examples)
        yield Path(folder)


def record() -> Recording:
    """Have the whole chat.

    Raises:
        pexpect.TIMEOUT: An answer did not come.
    """
    with home() as folder:
        chat = Recording(folder)
        try:
            chat.child.expect(PROMPT)
            for line in STORY:
                chat.says(line)
        except (pexpect.TIMEOUT, pexpect.EOF):
            sys.stderr.write(screen_of(chat.pieces).text + "\n")
            raise
        finally:
            chat.child.close(force=True)
    return chat


def write_cast(chat: Recording, path: Path) -> None:
    """Write the recording as asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/)."""
    head = {
        "version": 2,
        "width": WIDTH,
        "height": HEIGHT,
        "timestamp": int(time.time()),
        "idle_time_limit": IDLE_S,
        "title": "ftagent: a chat",
        "env": {"TERM": "xterm-256color"},
    }
    lines = [json.dumps(head)]
    lines += [json.dumps([round(at, 3), "o", written], ensure_ascii=False) for at, written in chat.pieces]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_transcript(chat: Recording, path: Path) -> None:
    """Write what was on the terminal as text: the lines that stayed, and beside them those that came and went."""
    how = (
        f"`make record-chat` recorded it: `ftagent` in a terminal of {WIDTH} columns, with the built-in planner, on "
        f"{os.cpu_count()} CPU cores without a GPU, in {chat.pieces[-1][0] / 60:.0f} minutes. "
        "`asciinema play examples/chat.cast` shows it as it went, without the waiting."
    )
    shown = [screen_of(chat.pieces).text, "\n".join(chat.live)]
    blocks = [f"```text\n{text}\n```" for text in shown]
    parts = ["# A chat", how, blocks[0], "Where Ctrl-C was pressed, the live line read:", blocks[1]]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    """Record the chat and write both files."""
    chat = record()
    write_cast(chat, CAST)
    write_transcript(chat, TRANSCRIPT)
    print(f"{CAST.relative_to(ROOT)}: {CAST.stat().st_size / 1024:.0f} KiB; {TRANSCRIPT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
