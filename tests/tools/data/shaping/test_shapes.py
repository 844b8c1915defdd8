"""What datasets look like: shapes are told by values, and a refusal says what would do."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from ftagent.tools.data.shaping.filters import FILTERS
from ftagent.tools.data.shaping.kinds import KINDS
from ftagent.tools.data.shaping.mappings import MAPPINGS
from ftagent.tools.data.shaping.shapes import NEEDS, SELECT_COLUMNS, Refusal, Shape, recognise
from ftagent.tools.facts import Method
from hypothesis import given

from .rows import ASK, CALL, DENY, SAY, TOOLS, tables

CHAT = {"messages": [ASK, SAY]}
LONG_CHAT = {"messages": [ASK, SAY, ASK, DENY]}
SHAREGPT = {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]}
TEXTS = {"prompt": "Why?", "completion": "Because."}
TURNS = {"prompt": [ASK], "completion": [SAY]}
PREFERENCE = {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."}
CHATS = {"chosen": [ASK, SAY], "rejected": [ASK, DENY]}
TRANSCRIPTS = {"chosen": "\n\nHuman: Why?\n\nAssistant: A.", "rejected": "\n\nHuman: Why?\n\nAssistant: B."}
ARGUMENTS = {"function": {"name": "look", "arguments": "{}"}}

SFT: list[tuple[dict[str, Any], str | None, tuple[str, ...]]] = [
    (CHAT, "messages_to_prompt_completion", ("prompt", "completion")),
    (LONG_CHAT, None, ("messages",)),
    (LONG_CHAT | {"text": "Why? Because.", "source": "x"}, None, ("messages",)),
    (LONG_CHAT | {"prompt": "Why?"}, SELECT_COLUMNS, ("messages",)),
    (LONG_CHAT | {"completion": "Because."}, SELECT_COLUMNS, ("messages",)),
    (LONG_CHAT | {"labels": [1]}, SELECT_COLUMNS, ("messages",)),
    (LONG_CHAT | {"images": []}, SELECT_COLUMNS, ("messages",)),
    (LONG_CHAT | {"tools": TOOLS}, None, ("messages", "tools")),
    (LONG_CHAT | {"system": "Be brief."}, "chat_to_messages", ("messages",)),
    ({"messages": [ASK, SAY | {"tool_calls": [ARGUMENTS]}, ASK, SAY]}, "chat_to_messages", ("messages",)),
    ({"messages": [ASK, SAY | {"tool_calls": [CALL]}, ASK, SAY]}, None, ("messages",)),
    (SHAREGPT, "conversations_to_prompt_completion", ("prompt", "completion")),
    ({"conversations": SHAREGPT["conversations"] * 2}, "conversations_to_messages", ("messages",)),
    ({"dialog": ["Why?", "Because."]}, "chat_to_prompt_completion", ("prompt", "completion")),
    (TEXTS, None, ("prompt", "completion")),
    (TEXTS | {"text": "Why? Because."}, SELECT_COLUMNS, ("prompt", "completion")),
    (TEXTS | {"system": "Be brief."}, "question_to_prompt_completion", ("prompt", "completion")),
    (TURNS, None, ("prompt", "completion")),
    (TURNS | {"text": "Why? Because."}, None, ("prompt", "completion")),
    (
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        "question_to_prompt_completion",
        ("prompt", "completion"),
    ),
    ({"question": "Why?", "answer": "Because."}, "question_to_prompt_completion", ("prompt", "completion")),
    ({"data": '{"prompt": "Why?", "response": "A."}'}, "json_to_prompt_completion", ("prompt", "completion")),
    ({"text": "Because.", "id": 7}, None, ("text",)),
    ({"text": "Because.", "input_ids": [1]}, SELECT_COLUMNS, ("text",)),
]
OTHERS: list[tuple[Method, dict[str, Any], str | None, tuple[str, ...]]] = [
    ("dpo", PREFERENCE, None, ("prompt", "chosen", "rejected")),
    ("dpo", PREFERENCE | {"messages": [ASK, SAY]}, SELECT_COLUMNS, ("prompt", "chosen", "rejected")),
    ("dpo", PREFERENCE | {"system": "Be brief."}, "answers_to_turns", ("prompt", "chosen", "rejected")),
    ("dpo", CHATS, None, ("chosen", "rejected")),
    ("dpo", CHATS | {"prompt": "Why?"}, SELECT_COLUMNS, ("chosen", "rejected")),
    ("dpo", {"prompt": [ASK], "chosen": [SAY], "rejected": [DENY]}, None, ("prompt", "chosen", "rejected")),
    ("dpo", TRANSCRIPTS, "preference_to_turns", ("prompt", "chosen", "rejected")),
    ("reward", {"chosen": "Yes.", "rejected": "No."}, None, ("chosen", "rejected")),
    ("reward", CHATS | {"margin": None}, SELECT_COLUMNS, ("chosen", "rejected")),
    ("reward", CHATS | {"margin": 0.5}, None, ("chosen", "rejected", "margin")),
    ("kto", PREFERENCE, None, ("prompt", "chosen", "rejected")),
    ("kto", PREFERENCE | {"label": 1}, SELECT_COLUMNS, ("prompt", "chosen", "rejected")),
    ("kto", TEXTS | {"label": True}, None, ("prompt", "completion", "label")),
    ("kto", TEXTS | {"label": -1}, "unpaired_to_truth", ("prompt", "completion", "label")),
    (
        "kto",
        {"prompt": "Why?", "response": "A.", "helpfulness": 4},
        "rating_to_unpaired",
        ("prompt", "completion", "label"),
    ),
    ("grpo", {"prompt": "Why?", "answer": "42"}, None, ("prompt", "answer")),
    ("grpo", {"prompt": [ASK], "completions": [1]}, "turns_for_rewards", ("prompt", "given_completions")),
    ("rloo", {"question": "Why?", "answer": "42"}, "question_for_rewards", ("prompt", "answer", "question")),
    ("distillation", CHAT, "chat_for_rewards", ("prompt", "answer")),
]


def seen(row: dict[str, Any], method: Method = "sft") -> Shape | Refusal:
    return recognise(list(row), [row, row], method)


@pytest.mark.parametrize(("method", "row", "mapping", "columns"), [*(("sft", *case) for case in SFT), *OTHERS])
def test_rows_are_recognised_by_their_values(
    method: Method, row: dict[str, Any], mapping: str | None, columns: tuple[str, ...]
) -> None:
    shape = seen(row, method)
    assert isinstance(shape, Shape), shape
    assert (shape.mapping, set(shape.trainer_columns)) == (mapping, set(columns))


def test_kto_says_what_it_takes_for_granted() -> None:
    for row, words in ((CHATS, "one good and one bad"), ({"prompt": "Why?", "output": "A.", "stars": 5}, "middle")):
        shape = seen(row, "kto")
        assert isinstance(shape, Shape) and words in shape.rule


@pytest.mark.parametrize(
    ("row", "method", "words"),
    [
        (PREFERENCE, "sft", "`chosen`, `prompt`, `rejected` would do for dpo, kto"),
        (CHAT, "dpo", "`messages` would do for sft"),
        ({"chosen": "yes", "rejected": "no"}, "dpo", "would do for reward"),
        ({"messages": [ASK, ASK]}, "sft", "no answer at the end"),
        ({"instruction": "Add."}, "sft", "would do for grpo"),
        ({"prompt": None, "completion": "x"}, "sft", "`prompt` holds nothing"),
        ({"messages": 7}, "sft", "`messages` holds 7"),
        ({"messages": b"\xff" * 10**6}, "sft", "`messages` holds b'"),
        ({"body": "Because."}, "sft", "rename `body` to `text`"),
        ({"ask": "Why?", "say": "Because."}, "sft", "name the question `prompt` and the answer `completion`"),
        ({"a": 1, "b": [2]}, "sft", "no column holds text"),
        ({}, "sft", "no column holds text"),
        ({"{{ 7 * 7 }}\n'\"": 1, "x" * 500: 2}, "sft", "`{{ 7 * 7 }} '\"`"),
        ({"input_ids": [1], "labels": [1]}, "sft", "tokens already"),
        (CHAT | {"images": [b"png"]}, "sft", "pictures"),
        (
            {"messages": [ASK | {"content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}, SAY]},
            "grpo",
            "images",
        ),
        ({"message_id": "1", "parent_id": None, "text": "Why?", "role": "prompter"}, "sft", "one message of a tree"),
        ({"prompt": "Why?", "completions": ["a"], "labels": [True]}, "sft", "would do for grpo"),
        ({"steps": 7, "completions": ["a"], "labels": [True]}, "reward", "PRMTrainer"),
    ],
)
def test_a_refusal_names_what_is_missing_and_what_would_do(row: dict[str, Any], method: Method, words: str) -> None:
    refusal = seen(row, method)
    assert isinstance(refusal, Refusal)
    said = f"{refusal.missing} {refusal.nearest}"
    assert words in said
    assert "\n" not in said and len(said) < 600


def test_a_few_broken_rows_hide_no_shape() -> None:
    rows: list[dict[str, Any]] = [CHAT, {"messages": None}, CHAT, {"messages": "broken"}]
    shape = recognise(["messages"], rows, "sft")
    assert isinstance(shape, Shape) and shape.filter == "why_not_messages"


def test_one_odd_chat_is_enough_to_write_all_of_them_anew() -> None:
    odd = {"messages": [{"role": "human", "content": "Why?"}, SAY]}
    shape = recognise(["messages"], [CHAT, CHAT, odd], "sft")
    assert isinstance(shape, Shape) and shape.mapping == "chat_to_prompt_completion"


def test_the_table_names_what_there_is() -> None:
    assert {kind.filter for kind in KINDS} == set(FILTERS)
    assert {name for kind in KINDS for name in (kind.mapping, kind.single_answer) if name} == set(MAPPINGS)
    assert set(NEEDS) == {method for kind in KINDS for method in kind.methods} == set(get_args(Method))


@given(rows=tables())
def test_the_recogniser_answers_whatever_the_rows_hold_and_however_they_are_ordered(rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0]) if rows else []
    backwards = [dict(reversed(row.items())) for row in rows]
    for method in get_args(Method):
        shape = recognise(columns, rows, method)
        assert shape == recognise(columns[::-1], backwards, method)
        if isinstance(shape, Refusal):
            assert "\n" not in shape.missing + shape.nearest
