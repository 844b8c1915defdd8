"""Filters: row -> why it cannot be trained on, or None.

The functions here are emitted into the training script as they stand here (`emitted.source_of`), so each stands
alone: no imports, no names from outside.
"""

from __future__ import annotations

from collections.abc import Callable

from .mappings import Row


def why_not_chat(row):
    """Say why a chat cannot be trained on, or None when it can."""
    turns = row["messages"]
    if not isinstance(turns, list) or len(turns) < 2:
        return "no question and answer"
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            return "turn without a role"
        content = turn.get("content")
        if not isinstance(content, str | None):
            return "content that is not text"
        if not (content or "").strip() and not turn.get("tool_calls"):
            return "empty turn"
    return None if turns[-1]["role"] == "assistant" else "no answer at the end"


def why_not_conversation(row):
    """Say why a ShareGPT conversation cannot be trained on, or None when it can."""
    turns = row["conversations"]
    if not isinstance(turns, list) or len(turns) < 2:
        return "no question and answer"
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("from"), str):
            return "turn without a speaker"
        content = turn.get("value")
        if not isinstance(content, str | None):
            return "content that is not text"
        if not (content or "").strip():
            return "empty turn"
    return None if turns[-1]["from"] in ("gpt", "assistant") else "no answer at the end"


def why_not_prompt_completion(row):
    """Say why a prompt and its completion, as text or as turns, cannot be trained on, or None when they can."""
    for column in ("prompt", "completion"):
        turns = row[column] if isinstance(row[column], list) else [{"content": row[column]}]
        contents = [turn.get("content") if isinstance(turn, dict) else None for turn in turns]
        if not all(isinstance(content, str | None) for content in contents):
            return f"{column} that is not text"
        if not contents or not all((content or "").strip() for content in contents):
            return f"empty {column}"
    return None if isinstance(row["prompt"], list) == isinstance(row["completion"], list) else "text beside turns"


def why_not_instruction(row):
    """Say why an instruction and its output cannot be trained on, or None when they can."""
    for column in ("instruction", "output"):
        if not isinstance(row[column], str) or not row[column].strip():
            return f"no text in {column}"
    return None if isinstance(row.get("input") or "", str) else "input that is not text"


def why_not_question(row):
    """Say why a question and its answer cannot be trained on, or None when they can."""
    for column in ("question", "answer"):
        if not isinstance(row[column], str) or not row[column].strip():
            return f"no text in {column}"
    return None


def why_not_text(row):
    """Say why a text cannot be trained on, or None when it can."""
    return None if isinstance(row["text"], str) and row["text"].strip() else "no text in text"


FILTERS: dict[str, Callable[[Row], str | None]] = {
    function.__name__: function
    for function in (
        why_not_chat,
        why_not_conversation,
        why_not_prompt_completion,
        why_not_instruction,
        why_not_question,
        why_not_text,
    )
}
