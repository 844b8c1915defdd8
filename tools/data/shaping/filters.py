"""Filters: row -> why it cannot be trained on, or None.

The functions here are emitted into the training script as they stand here, with what they use of `turns`. They take
whatever a cell holds.
"""

from __future__ import annotations

from collections.abc import Callable

from .mappings import Row
from .turns import (
    CHOSEN,
    REJECTED,
    STOPS,
    TEXTS,
    answer_of,
    answered,
    asked,
    begins_alike,
    calls_of,
    cell,
    chat_of,
    compared,
    dialogue_of,
    inside_json,
    is_bad,
    preference_of,
    question_of,
    rating_of,
    tools_of,
    truth_of,
    turns_of,
)

# --- what several of them ask -----------------------------------------------------------------------------------------


def broken_turn(turns):
    """Say what is wrong with the first bad turn of a chat, or None when all are well."""
    for turn in turns:
        if not isinstance(turn, dict) or turn.get("role") not in ("system", "user", "assistant", "tool"):
            return "unknown role"
        content, calls = turn.get("content"), turn.get("tool_calls")
        if "tool_calls" in turn and not isinstance(calls, list):
            return "tool call that cannot be read"
        if not isinstance(content, str | None):
            return "content that is not text"
        if not (content or "").strip() and not calls:
            return "empty turn"
    return None


def broken_prompt(turns):
    """Say why nobody can answer these turns, or None when one can."""
    if reason := broken_turn(turns):
        return reason
    speakers = [turn["role"] for turn in turns if turn["role"] != "system"]
    if not speakers:
        return "no question"
    if speakers[0] != "user":
        return "somebody else speaks before the user"
    return None if speakers[-1] in ("user", "tool") else "no question at the end of the prompt"


def broken_answer(turns):
    """Say why these turns are no answer, or None when they are."""
    if reason := broken_turn(turns):
        return reason
    return None if turns and turns[0]["role"] == turns[-1]["role"] == "assistant" else "no answer at the end"


def broken_chat(turns):
    """Say why a chat teaches no answer, or None when it does."""
    if reason := broken_turn(turns):
        return reason
    speakers = [turn["role"] for turn in turns if turn["role"] != "system"]
    if speakers and speakers[0] != "user":
        return "somebody else speaks before the user"
    return None if len(speakers) > 1 and speakers[-1] == "assistant" else "no answer at the end"


def is_cut(row):
    """Whether the generator of the answer stopped at its limit of tokens."""
    return any(row.get(name) in ("length", "max_tokens") for name in STOPS)


def has_broken_tools(row):
    """Whether a row has tools that cannot be read."""
    return bool(row.get("tools")) and tools_of(row)["tools"] is None


def is_empty(value):
    """Whether a cell is no text, or a blank one."""
    return not isinstance(value, str) or not value.strip()


# --- sft --------------------------------------------------------------------------------------------------------------


def why_not_messages(row):
    """Say why a chat cannot be trained on, or None when it can."""
    if is_cut(row):
        return "answer cut by its generator"
    return broken_chat(row["messages"] if isinstance(row["messages"], list) else [])


def why_not_conversation(row):
    """Say why a ShareGPT conversation cannot be trained on, or None when it can."""
    if is_cut(row):
        return "answer cut by its generator"
    turns = row["conversations"] if isinstance(row["conversations"], list) else []
    if not all(isinstance(turn, dict) and turn.get("from") in ("system", "human", "gpt", "tool") for turn in turns):
        return "unknown role"
    roles = {"human": "user", "gpt": "assistant"}
    return broken_chat(
        [{"role": roles.get(turn["from"], turn["from"]), "content": turn.get("value")} for turn in turns]
    )


def why_not_chat(row):
    """Say why a chat cannot be trained on, or None when it can."""
    if is_cut(row):
        return "answer cut by its generator"
    if has_broken_tools(row):
        return "tools that are not JSON"
    return broken_chat(chat_of(row))


def why_not_prompt_completion(row):
    """Say why a prompt and its completion, both as text, cannot be trained on, or None when they can."""
    if is_cut(row):
        return "answer cut by its generator"
    if is_bad(row):
        return "answer that is labelled or rated as bad"
    empty = [name for name in ("prompt", "completion") if is_empty(row[name])]
    return f"no text in {empty[0]}" if empty else None


def why_not_question(row):
    """Say why a question and its answer, both as text, cannot be trained on, or None when they can."""
    if is_cut(row):
        return "answer cut by its generator"
    if is_bad(row):
        return "answer that is labelled or rated as bad"
    if is_empty(question_of(row)):
        return "no text in the question"
    return "no text in the answer" if is_empty(answer_of(row)) else None


def why_not_turns(row):
    """Say why a question and its answer, of which one is turns, cannot be trained on, or None when they can."""
    if is_cut(row):
        return "answer cut by its generator"
    if is_bad(row):
        return "answer that is labelled or rated as bad"
    return broken_prompt(asked(row)) or broken_answer(answered(row))


def why_not_query(row):
    """Say why a query and the calls that answer it cannot be trained on, or None when they can."""
    if has_broken_tools(row):
        return "tools that are not JSON"
    if is_empty(question_of(row)):
        return "no text in the question"
    return None if calls_of(row["answers"]) else "no tool call that can be read"


def why_not_json(row):
    """Say why the JSON object that a column holds cannot be trained on, or None when it can."""
    fields = inside_json(row)
    return broken_chat(dialogue_of(fields)) if fields else "JSON that cannot be read"


def why_not_text(row):
    """Say why a text cannot be trained on, or None when it can."""
    return "no text in text" if is_empty(cell(row, TEXTS)) else None


# --- dpo, reward, kto -------------------------------------------------------------------------------------------------


def why_not_answers(row):
    """Say why a question and its two answers, all of them text, cannot be compared, or None when they can."""
    chosen, rejected = cell(row, CHOSEN), cell(row, REJECTED)
    if is_empty(question_of(row)):
        return "no text in the question"
    if is_empty(chosen) or is_empty(rejected):
        return "no text in chosen or rejected"
    return "chosen and rejected are the same" if chosen == rejected else None


def why_not_preference(row):
    """Say why a prompt and its two answers cannot be compared, or None when they can."""
    prompt, chosen, rejected = preference_of(row)
    if cell(row, CHOSEN) == cell(row, REJECTED) or chosen == rejected:
        return "chosen and rejected are the same"
    if has_broken_tools(row):
        return "tools that are not JSON"
    if not prompt:
        return "no prompt in common"
    return broken_prompt(prompt) or broken_answer(chosen) or broken_answer(rejected)


def why_not_pair(row):
    """Say why two texts without a prompt cannot be compared, or None when they can."""
    if is_empty(row["chosen"]) or is_empty(row["rejected"]):
        return "no text in chosen or rejected"
    return "chosen and rejected are the same" if row["chosen"] == row["rejected"] else None


def why_not_shared_text(row):
    """Say why two texts that begin alike cannot be compared, or None when they can."""
    if reason := why_not_pair(row):
        return reason
    return None if begins_alike(row["chosen"], row["rejected"]) else "no prompt in common"


def why_not_comparison(row):
    """Say why two answers cannot be compared, or None when they can."""
    preference = compared(row)
    return why_not_preference({**row, **preference}) if preference else "neither answer is the better one"


def why_not_labelled(row):
    """Say why a labelled answer to a question, both as text, cannot be learned from, or None when it can."""
    if truth_of(row["label"]) is None:
        return "label that is not true or false"
    if is_empty(question_of(row)):
        return "no text in the question"
    return "no text in the answer" if is_empty(answer_of(row)) else None


def why_not_labelled_turns(row):
    """Say why a labelled answer cannot be learned from, or None when it can."""
    if truth_of(row["label"]) is None:
        return "label that is not true or false"
    return broken_prompt(asked(row)) or broken_answer(answered(row))


def why_not_rated(row):
    """Say why a rated answer to a question, both as text, cannot be learned from, or None when it can."""
    if rating_of(row) is None:
        return "rating that says neither good nor bad"
    if is_empty(question_of(row)):
        return "no text in the question"
    return "no text in the answer" if is_empty(answer_of(row)) else None


# --- grpo, rloo, distillation -----------------------------------------------------------------------------------------


def why_not_prompt(row):
    """Say why a prompt cannot be answered, or None when it can."""
    return "no text in prompt" if is_empty(row["prompt"]) else None


def why_not_asked(row):
    """Say why a question cannot be answered, or None when it can."""
    return "no text in the question" if is_empty(question_of(row)) else None


def why_not_prompted(row):
    """Say why a prompt of turns cannot be answered, or None when it can."""
    return broken_prompt(turns_of(row["prompt"]) if isinstance(row["prompt"], list) else [])


def why_not_begun(row):
    """Say why the start of a chat cannot be answered, or None when it can."""
    turns = chat_of(row)
    return broken_prompt(turns[:-1] if turns and turns[-1]["role"] == "assistant" else turns) or broken_turn(turns)


FILTERS: dict[str, Callable[[Row], str | None]] = {
    function.__name__: function
    for function in (
        why_not_messages,
        why_not_conversation,
        why_not_chat,
        why_not_prompt_completion,
        why_not_question,
        why_not_turns,
        why_not_query,
        why_not_json,
        why_not_text,
        why_not_answers,
        why_not_preference,
        why_not_pair,
        why_not_shared_text,
        why_not_comparison,
        why_not_labelled,
        why_not_labelled_turns,
        why_not_rated,
        why_not_prompt,
        why_not_asked,
        why_not_prompted,
        why_not_begun,
    )
}
