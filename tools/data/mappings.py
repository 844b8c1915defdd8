"""Mappings: row -> the columns that the trainer is to see.

A mapping only ever sees rows that its filter has let through. The functions here are emitted into the training script
as they stand here (`emitted.source_of`), so each stands alone: no imports, no names from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]


def messages_to_prompt_completion(row):
    """Split a chat into its last answer and the turns before it, so that only the answer is trained on."""
    turns = [{"role": turn["role"], "content": turn.get("content")} for turn in row["messages"]]
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def conversations_to_messages(row):
    """Rename the speakers of a ShareGPT conversation."""
    roles = {"human": "user", "gpt": "assistant"}
    turns = [{"role": roles.get(turn["from"], turn["from"]), "content": turn["value"]} for turn in row["conversations"]]
    return {"messages": turns}


def conversations_to_prompt_completion(row):
    """Rename the speakers of a ShareGPT conversation, and split off its last answer: only that is trained on."""
    roles = {"human": "user", "gpt": "assistant"}
    turns = [{"role": roles.get(turn["from"], turn["from"]), "content": turn["value"]} for turn in row["conversations"]]
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def instruction_to_prompt_completion(row):
    """Turn an Alpaca instruction, with its input where it has one, into a question and its answer."""
    question = "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": row["output"]}],
    }


def question_to_prompt_completion(row):
    """Turn a question and its answer into a chat of two turns."""
    return {
        "prompt": [{"role": "user", "content": row["question"]}],
        "completion": [{"role": "assistant", "content": row["answer"]}],
    }


MAPPINGS: dict[str, Callable[[Row], Row]] = {
    function.__name__: function
    for function in (
        messages_to_prompt_completion,
        conversations_to_messages,
        conversations_to_prompt_completion,
        instruction_to_prompt_completion,
        question_to_prompt_completion,
    )
}
