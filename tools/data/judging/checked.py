"""A row as the trainer will see it, and the texts in it, whatever its cells hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One mapped row, and its number in the dataset as it was loaded, counted from 0."""

    number: int
    columns: dict[str, Any]


def texts(cell: object) -> Iterator[str]:
    """Yield every string in a cell, in reading order; who says a turn (`role`) is no text of it."""
    waiting = [cell]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting.extend(reversed([part for key, part in value.items() if key != "role"]))
        elif isinstance(value, list | tuple):
            waiting.extend(reversed(value))


def turns(cell: object) -> list[dict[str, Any]]:
    """Return the turns of a cell, or nothing where it holds no chat."""
    items = cell if isinstance(cell, list) else []
    return items if all(isinstance(item, dict) and isinstance(item.get("role"), str) for item in items) else []


def answer(columns: dict[str, Any]) -> str:
    """Return what the model is to learn to say: the completion, or a chat's last turn where the assistant has it.

    A plain text has no answer of its own, and neither has a preference, which has two.
    """
    if "completion" in columns:
        return "\n".join(texts(columns["completion"]))
    chat = turns(columns.get("messages"))
    return "\n".join(texts(chat[-1])) if chat and chat[-1]["role"] == "assistant" else ""
