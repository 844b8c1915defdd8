"""The shapes that datasets have: one table, read from above."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...facts import Method
from .filters import why_not_json
from .mappings import Row
from .turns import ANSWERS, CHATS, CHOSEN, QUESTIONS, REJECTED, TEXTS, begins_alike, cell, compared, rating_of
from .values import (
    is_answer,
    is_calls,
    is_chat,
    is_label,
    is_rewritten,
    is_rewritten_sharegpt,
    is_said,
    is_text,
    is_turns,
    is_whole_chat,
    repeats_prompt,
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A shape that datasets have, and how it becomes what the trainers of some methods take."""

    name: str
    methods: tuple[Method, ...]
    filter: str
    """A name in `FILTERS`."""
    needs: dict[tuple[str, ...], Callable[[object], bool]] = field(default_factory=dict)
    """Names that a column may have, in any case if there are several (the first that is there counts), and what half of
    its values must be."""
    when: Callable[[Row], bool] | None = None
    """What must be true of half of the rows besides."""
    never: Callable[[Row], bool] | None = None
    """What must be true of no row: where it is, another kind reads the rows better."""
    lacks: tuple[str, ...] = ()
    """Columns that must not hold text: what they say would be lost."""
    mapping: str | None = None
    """A name in `MAPPINGS`, left out where it changes nothing."""
    columns: tuple[str, ...] = ()
    """What the trainer sees of a kind without mapping."""
    single_answer: str | None = None
    """The mapping to use instead when every chat has one answer: its loss falls on that answer alone."""
    rule: str = ""
    """What unpairing takes for granted, in words."""


COMPARE: tuple[Method, ...] = ("dpo", "reward", "kto")
ASK: tuple[Method, ...] = ("grpo", "rloo", "distillation")
UNPAIRED = "each pair is one good and one bad answer, which KTOTrainer takes apart"
RATED = "a rating above the middle of its scale is good, one below is bad, and rows on it are left out"
# An `input` or `inputs` alone may hold anything: with an answer beside it, it is a question.
PLAIN_QUESTIONS = ("instruction", "question", "query", "problem", "prompt", "history")
BESIDE = ("system", "system_prompt", "context")

# Best first within a method: a set with several shapes, such as a `prompt` beside its `messages`, is read as the first.
KINDS: tuple[Kind, ...] = (
    Kind(
        name="chat",
        methods=("sft",),
        needs={("messages",): is_chat},
        never=is_rewritten,
        columns=("messages",),
        single_answer="messages_to_prompt_completion",
        filter="why_not_messages",
    ),
    Kind(
        name="ShareGPT conversation",
        methods=("sft",),
        needs={("conversations",): is_chat},
        never=is_rewritten_sharegpt,
        mapping="conversations_to_messages",
        single_answer="conversations_to_prompt_completion",
        filter="why_not_conversation",
    ),
    Kind(
        name="chat to be written anew",
        methods=("sft",),
        needs={CHATS: is_chat},
        mapping="chat_to_messages",
        single_answer="chat_to_prompt_completion",
        filter="why_not_chat",
    ),
    Kind(
        name="query and the tool calls that answer it",
        methods=("sft",),
        needs={QUESTIONS: is_text, ("answers",): is_calls},
        mapping="query_to_tool_calls",
        filter="why_not_query",
    ),
    Kind(
        name="prompt and completion, as text",
        methods=("sft",),
        needs={("prompt",): is_text, ("completion",): is_text},
        lacks=BESIDE,
        columns=("prompt", "completion"),
        filter="why_not_prompt_completion",
    ),
    Kind(
        name="question and answer, as text",
        methods=("sft",),
        needs={QUESTIONS: is_text, ANSWERS: is_answer},
        mapping="question_to_prompt_completion",
        filter="why_not_question",
    ),
    Kind(
        name="question and answer, as turns",
        methods=("sft",),
        needs={QUESTIONS: is_said, ANSWERS: is_said},
        mapping="turns_to_prompt_completion",
        filter="why_not_turns",
    ),
    Kind(
        name="JSON in a column",
        methods=("sft",),
        when=lambda row: why_not_json(row) is None,
        mapping="json_to_messages",
        single_answer="json_to_prompt_completion",
        filter="why_not_json",
    ),
    Kind(
        name="text",
        methods=("sft",),
        needs={TEXTS: is_text},
        mapping="document_to_text",
        filter="why_not_text",
    ),
    Kind(
        name="preference as two chats",
        methods=COMPARE,
        needs={CHOSEN: is_whole_chat, REJECTED: is_whole_chat},
        never=lambda row: isinstance(cell(row, CHOSEN), str),
        mapping="preference_to_chats",
        filter="why_not_preference",
        rule=UNPAIRED,
    ),
    Kind(
        name="preference as two transcripts",
        methods=COMPARE,
        needs={CHOSEN: is_whole_chat, REJECTED: is_whole_chat},
        mapping="preference_to_turns",
        filter="why_not_preference",
        rule=UNPAIRED,
    ),
    Kind(
        name="preference as text",
        methods=COMPARE,
        needs={("prompt",): is_text, ("chosen",): is_text, ("rejected",): is_text},
        never=repeats_prompt,
        lacks=BESIDE,
        columns=("prompt", "chosen", "rejected"),
        filter="why_not_answers",
        rule=UNPAIRED,
    ),
    Kind(
        name="preference as two texts that begin alike",
        methods=COMPARE,
        needs={("chosen",): is_text, ("rejected",): is_text},
        when=lambda row: begins_alike(row["chosen"], row["rejected"]),
        columns=("chosen", "rejected"),
        filter="why_not_shared_text",
        rule=UNPAIRED,
    ),
    Kind(
        name="question with a chosen and a rejected answer, as text",
        methods=COMPARE,
        needs={QUESTIONS: is_text, CHOSEN: is_text, REJECTED: is_text},
        mapping="answers_to_turns",
        filter="why_not_answers",
        rule=UNPAIRED,
    ),
    Kind(
        name="question with a chosen and a rejected answer, as turns",
        methods=COMPARE,
        needs={(*QUESTIONS, *CHATS): is_said, CHOSEN: is_said, REJECTED: is_said},
        mapping="preference_to_turns",
        filter="why_not_preference",
        rule=UNPAIRED,
    ),
    Kind(
        name="two answers, and which is better",
        methods=COMPARE,
        when=lambda row: bool(compared(row)),
        mapping="comparison_to_preference",
        filter="why_not_comparison",
        rule=UNPAIRED,
    ),
    Kind(
        name="two answers without a prompt",
        methods=("reward",),
        needs={("chosen",): is_text, ("rejected",): is_text},
        columns=("chosen", "rejected"),
        filter="why_not_pair",
    ),
    Kind(
        name="prompt and labelled completion, as text",
        methods=("kto",),
        needs={("prompt",): is_text, ("completion",): is_text, ("label",): is_label},
        lacks=BESIDE,
        mapping="unpaired_to_truth",
        filter="why_not_labelled",
    ),
    Kind(
        name="question and labelled answer, as text",
        methods=("kto",),
        needs={QUESTIONS: is_text, ANSWERS: is_answer, ("label",): is_label},
        mapping="question_to_unpaired",
        filter="why_not_labelled",
    ),
    Kind(
        name="question and labelled answer, as turns",
        methods=("kto",),
        needs={QUESTIONS: is_said, ANSWERS: is_said, ("label",): is_label},
        mapping="turns_to_unpaired",
        filter="why_not_labelled_turns",
    ),
    Kind(
        name="rated answer",
        methods=("kto",),
        needs={QUESTIONS: is_text, ANSWERS: is_answer},
        when=lambda row: rating_of(row) is not None,
        mapping="rating_to_unpaired",
        filter="why_not_rated",
        rule=RATED,
    ),
    Kind(
        name="prompt, as text",
        methods=ASK,
        needs={("prompt",): is_text},
        lacks=BESIDE,
        mapping="text_for_rewards",
        filter="why_not_prompt",
    ),
    Kind(
        name="prompt, as turns",
        methods=ASK,
        needs={("prompt",): is_turns},
        mapping="turns_for_rewards",
        filter="why_not_prompted",
    ),
    Kind(
        name="question",
        methods=ASK,
        needs={PLAIN_QUESTIONS: is_text},
        mapping="question_for_rewards",
        filter="why_not_asked",
    ),
    Kind(
        name="question and answer",
        methods=ASK,
        needs={QUESTIONS: is_text, ANSWERS: is_answer},
        mapping="question_for_rewards",
        filter="why_not_asked",
    ),
    Kind(
        name="chat",
        methods=ASK,
        needs={CHATS: is_chat},
        mapping="chat_for_rewards",
        filter="why_not_begun",
    ),
    Kind(
        name="preference",
        methods=ASK,
        needs={CHOSEN: is_whole_chat, REJECTED: is_whole_chat},
        mapping="preference_for_rewards",
        filter="why_not_preference",
    ),
    Kind(
        name="JSON in a column",
        methods=ASK,
        when=lambda row: why_not_json(row) is None,
        mapping="json_for_rewards",
        filter="why_not_json",
    ),
)
