"""Mappings: row -> the columns that the trainer is to see.

A mapping only ever sees rows that its filter has let through, and answers with the same columns for every row. The
functions here are emitted into the training script as they stand here, with what they use of `turns`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .turns import (
    CHATS,
    CHOSEN,
    REJECTED,
    TEXTS,
    answer_of,
    answered,
    asked,
    calls_of,
    cell,
    chat_of,
    compared,
    dialogue_of,
    inside_json,
    kept_for_rewards,
    preference_of,
    question_of,
    rating_of,
    tools_of,
    truth_of,
    turns_of,
    with_system,
)

Row = dict[str, Any]

# --- sft --------------------------------------------------------------------------------------------------------------


def messages_to_prompt_completion(row):
    """Split a chat into its last answer and the turns before it, so that only the answer is trained on."""
    return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}


def conversations_to_messages(row):
    """Rename the speakers of a ShareGPT conversation."""
    roles = {"human": "user", "gpt": "assistant"}
    turns = [{"role": roles.get(turn["from"], turn["from"]), "content": turn["value"]} for turn in row["conversations"]]
    return {"messages": turns}


def conversations_to_prompt_completion(row):
    """Rename the speakers of a ShareGPT conversation, and split off its last answer: only that is trained on."""
    turns = conversations_to_messages(row)["messages"]
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def chat_to_messages(row):
    """Write a chat as `messages` of `role` and `content`."""
    return {"messages": chat_of(row), **tools_of(row)}


def chat_to_prompt_completion(row):
    """Split a chat into its last answer and the turns before it, so that only the answer is trained on."""
    turns = chat_of(row)
    return {"prompt": turns[:-1], "completion": turns[-1:], **tools_of(row)}


def question_to_prompt_completion(row):
    """Turn a question, with its context and system prompt where it has them, and its answer into a chat."""
    return {
        "prompt": with_system(row, [{"role": "user", "content": question_of(row)}]),
        "completion": [{"role": "assistant", "content": answer_of(row)}],
    }


def turns_to_prompt_completion(row):
    """Write a question and its answer, of which one is turns already, as turns."""
    return {"prompt": asked(row), "completion": answered(row)}


def query_to_tool_calls(row):
    """Turn a query and the calls that answer it into a chat with tools."""
    call = {"role": "assistant", "content": "", "tool_calls": calls_of(row["answers"])}
    prompt = with_system(row, [{"role": "user", "content": question_of(row)}])
    return {"prompt": prompt, "completion": [call], **tools_of(row)}


def json_to_messages(row):
    """Turn the JSON object that a column holds into a chat."""
    return {"messages": dialogue_of(inside_json(row))}


def json_to_prompt_completion(row):
    """Turn the JSON object that a column holds into a question and its answer."""
    turns = dialogue_of(inside_json(row))
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def document_to_text(row):
    """Call the column of a document `text`."""
    return {"text": cell(row, TEXTS)}


# --- dpo, reward, kto -------------------------------------------------------------------------------------------------


def preference_to_chats(row):
    """Write a preference as two chats; the trainer takes their common beginning as the prompt."""
    chosen, rejected = turns_of(cell(row, CHOSEN)), turns_of(cell(row, REJECTED))
    return {"chosen": with_system(row, chosen), "rejected": with_system(row, rejected), **tools_of(row)}


def answers_to_turns(row):
    """Write a question and its preferred and rejected answer, which are text, as turns."""
    return {
        "prompt": with_system(row, [{"role": "user", "content": question_of(row)}]),
        "chosen": [{"role": "assistant", "content": cell(row, CHOSEN)}],
        "rejected": [{"role": "assistant", "content": cell(row, REJECTED)}],
    }


def preference_to_turns(row):
    """Write a prompt and its preferred and rejected answer as turns."""
    prompt, chosen, rejected = preference_of(row)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **tools_of(row)}


def comparison_to_preference(row):
    """Turn two answers, and which of them is better, into a preference."""
    prompt, chosen, rejected = preference_of({**row, **compared(row)})
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def unpaired_to_truth(row):
    """Write the label beside a prompt and its completion as true or false."""
    return {"prompt": row["prompt"], "completion": row["completion"], "label": truth_of(row["label"])}


def question_to_unpaired(row):
    """Turn a question and its answer into a chat, and say whether the answer is good."""
    return {**question_to_prompt_completion(row), "label": truth_of(row["label"])}


def turns_to_unpaired(row):
    """Write a question and its answer as turns, and say whether the answer is good."""
    return {**turns_to_prompt_completion(row), "label": truth_of(row["label"])}


def rating_to_unpaired(row):
    """Call an answer good when its rating lies above the middle of its scale, and bad when it lies below."""
    return {**question_to_prompt_completion(row), "label": rating_of(row)}


# --- grpo, rloo, distillation -----------------------------------------------------------------------------------------


def text_for_rewards(row):
    """Keep the prompt, and every column that rewards may need."""
    return {**kept_for_rewards(row), "prompt": row["prompt"]}


def turns_for_rewards(row):
    """Write the prompt as turns, and keep every column that rewards may need."""
    return {**kept_for_rewards(row), "prompt": with_system(row, turns_of(row["prompt"]))}


def question_for_rewards(row):
    """Ask the question as a chat, and keep every column that rewards may need."""
    return {**kept_for_rewards(row), "prompt": with_system(row, [{"role": "user", "content": question_of(row)}])}


def preference_for_rewards(row):
    """Ask what two compared answers begin with, and keep every column that rewards may need."""
    prompt, _, _ = preference_of(row)
    return {**kept_for_rewards(row), "prompt": prompt}


def json_for_rewards(row):
    """Ask what the JSON object of a column asks; keep its answer, and every column that rewards may need."""
    turns = dialogue_of(inside_json(row))
    return {"answer": turns[-1]["content"], **kept_for_rewards(row), "prompt": turns[:-1]}


def chat_for_rewards(row):
    """Ask what a chat asks before its last answer; keep that answer, and every column that rewards may need."""
    turns = chat_of(row)
    is_answered = turns[-1]["role"] == "assistant"
    kept = kept_for_rewards({name: value for name, value in row.items() if name not in CHATS})
    answer = turns[-1]["content"] if is_answered else None
    return {"answer": answer, **kept, "prompt": turns[:-1] if is_answered else turns}


MAPPINGS: dict[str, Callable[[Row], Row]] = {
    function.__name__: function
    for function in (
        messages_to_prompt_completion,
        conversations_to_messages,
        conversations_to_prompt_completion,
        chat_to_messages,
        chat_to_prompt_completion,
        question_to_prompt_completion,
        turns_to_prompt_completion,
        query_to_tool_calls,
        json_to_messages,
        json_to_prompt_completion,
        document_to_text,
        preference_to_chats,
        answers_to_turns,
        preference_to_turns,
        comparison_to_preference,
        unpaired_to_truth,
        question_to_unpaired,
        turns_to_unpaired,
        rating_to_unpaired,
        text_for_rewards,
        turns_for_rewards,
        question_for_rewards,
        preference_for_rewards,
        json_for_rewards,
        chat_for_rewards,
    )
}
