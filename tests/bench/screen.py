"""What a terminal shows of what a program wrote to it, as text: a screen that keeps every line that scrolls away.

It obeys what rich and prompt_toolkit write. A sequence that it does not know is an error: guessing would show lines
that no terminal showed.
"""

from __future__ import annotations

import re

_WRITTEN = re.compile(
    r"\x1b\[(?P<private>\?)?(?P<numbers>[\d;]*)(?P<order>[A-Za-z])"
    r"|\x1b\](?:[^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b[=>78]|\x1b[()][A-Z0-9]"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])|(?P<text>[^\x00-\x1f\x7f]+)"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[\d;?]*|\][^\x07\x1b]*|[()])?\Z")


class Screen:
    """The lines of a terminal, from the first that was ever written.

    Args:
        width: Columns.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0
        self._rest = ""

    @property
    def text(self) -> str:
        """Every line, without the blanks at its end."""
        return "\n".join("".join(line).rstrip() for line in self.lines).rstrip()

    def feed(self, written: str) -> None:
        """Show what was written; a sequence that is cut waits for its end.

        Raises:
            ValueError: It has an order that this screen does not know.
        """
        written, place = self._rest + written, 0
        unfinished = _UNFINISHED.search(written)
        end = unfinished.start() if unfinished else len(written)
        self._rest = written[end:]
        while place < end:
            match = _WRITTEN.match(written, place, end)
            if match is None:
                raise ValueError(f"no order of a terminal that is known here: {written[place : place + 12]!r}")
            place = match.end()
            if match["text"]:
                self._print(match["text"])
            elif match["control"]:
                self._control(match["control"])
            elif match["order"] and not match["private"]:
                self._obey(match["order"], match["numbers"])

    def _print(self, text: str) -> None:
        for sign in text:
            if self.column >= self.width:
                self.column = 0
                self._down(1)
            line = self.lines[self.row]
            line += " " * (self.column + 1 - len(line))
            line[self.column] = sign
            self.column += 1

    def _control(self, sign: str) -> None:
        match sign:
            case "\r":
                self.column = 0
            case "\n":
                self._down(1)
            case "\b":
                self.column = max(0, self.column - 1)
            case "\x07":
                pass
            case _:
                raise ValueError(f"no control character that is known here: {sign!r}")

    def _obey(self, order: str, numbers: str) -> None:
        first = int(numbers.split(";")[0] or 0)
        match order:
            case "m":  # colour
                pass
            case "A":
                self.row = max(0, self.row - max(1, first))
            case "B":
                self._down(max(1, first))
            case "C":
                self.column = min(self.width - 1, self.column + max(1, first))
            case "D":
                self.column = max(0, min(self.column, self.width - 1) - max(1, first))
            case "K" if first == 0:
                del self.lines[self.row][self.column :]
            case "K" if first == 2:
                self.lines[self.row].clear()
            case "J" if first == 0:
                del self.lines[self.row][self.column :]
                del self.lines[self.row + 1 :]
            case _:
                raise ValueError(f"no order of a terminal that is known here: {numbers}{order}")

    def _down(self, by: int) -> None:
        self.row += by
        self.lines += [[] for _ in range(self.row + 1 - len(self.lines))]
