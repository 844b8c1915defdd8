"""Foreign text, made fit to stand in a message."""

from __future__ import annotations


def one_line(text: str, limit: int = 40) -> str:
    """Return foreign text in one line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
