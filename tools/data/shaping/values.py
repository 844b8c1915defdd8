"""What a value must be for its column to count, and what a row must be for its set to be of a kind."""

from __future__ import annotations

from .filters import why_not_chat, why_not_conversation
from .mappings import Row, chat_to_messages, conversations_to_messages
from .turns import ROLES, answer_of, calls_of, transcript_of, truth_of, turns_of


def is_text(value: object) -> bool:
    """Whether the value is a string with something in it."""
    return isinstance(value, str) and bool(value.strip())


def is_chat(value: object) -> bool:
    """Whether the value is turns of somebody who asks and somebody who answers, or one of both."""
    return bool(turns := turns_of(value)) and all(turn["role"] in ROLES.values() for turn in turns)


def is_turns(value: object) -> bool:
    """Whether the value is a chat, and no text of one."""
    return isinstance(value, list) and is_chat(value)


def is_whole_chat(value: object) -> bool:
    """Whether the value is a chat, or the transcript of one, that begins with its question."""
    turns = turns_of(transcript_of(value) if isinstance(value, str) else value)
    return is_chat(turns) and turns[0]["role"] in ("system", "user")


def is_said(value: object) -> bool:
    """Whether the value is text or turns."""
    return is_text(value) or is_turns([value] if isinstance(value, dict) else value)


def is_answer(value: object) -> bool:
    """Whether the value is a text, or several of which one will do."""
    return is_text(answer_of({"answer": value}))


def is_calls(value: object) -> bool:
    """Whether the value is tool calls."""
    return bool(value) and bool(calls_of(value))


def is_label(value: object) -> bool:
    """Whether the value says good or bad."""
    return truth_of(value) is not None


def is_rewritten(row: Row) -> bool:
    """Whether a chat trains once it is written anew, and does not as plain `messages`."""
    return why_not_chat(row) is None and chat_to_messages(row) != {"messages": row.get("messages")}


def is_rewritten_sharegpt(row: Row) -> bool:
    """Whether a chat trains once it is written anew, and does not as a plain ShareGPT conversation."""
    if why_not_chat(row) is not None:
        return False
    return why_not_conversation(row) is not None or chat_to_messages(row) != conversations_to_messages(row)


def repeats_prompt(row: Row) -> bool:
    """Whether the chosen answer begins with the prompt, which trainers would put before it once more."""
    return isinstance(row["chosen"], str) and is_text(row["prompt"]) and row["chosen"].startswith(row["prompt"])
