"""Foreign text, made fit to stand in a message."""

from __future__ import annotations


def one_line(text: str, limit: int = 40) -> str:
    """Return foreign text in one line of at most `limit` characters, without those that steer a terminal."""
    line = "".join(mark if mark.isprintable() else "�" for mark in " ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"
