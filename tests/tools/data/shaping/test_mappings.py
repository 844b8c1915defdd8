"""That mappings and filters do what their names say with whatever they meet, here and in a script."""

from __future__ import annotations

import builtins
import symtable
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from ftagent.tools.data.shaping.emitted import source_of
from ftagent.tools.data.shaping.filters import FILTERS
from ftagent.tools.data.shaping.holdouts import HOLDOUTS
from ftagent.tools.data.shaping.mappings import MAPPINGS
from ftagent.tools.data.shaping.shapes import Shape, recognise
from ftagent.tools.facts import Method
from hypothesis import given

from .rows import ASK, CALL, DENY, RULE, SAY, TOOLS, tables

CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
HISTORY = {"history": "Why?", "human_ref_A": "No idea.", "human_ref_B": "Because."}
TRANSCRIPTS = {
    "chosen": "\n\nHuman: Why?\n\nAssistant: Because.",
    "rejected": "\n\nHuman: Why?\n\nAssistant: No idea.",
}
GLAIVE = (
    "USER: Why?\n\n\nASSISTANT: <functioncall> {} <|endoftext|>\n\n\nFUNCTION RESPONSE: {}\n\n\nASSISTANT: Because."
)


def messages(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(turns)}


def pair(*prompt: dict[str, Any], completion: dict[str, Any] = SAY) -> dict[str, Any]:
    return {"prompt": list(prompt), "completion": [completion]}


def preference(*prompt: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": list(prompt), "chosen": [SAY], "rejected": [DENY]}


@pytest.mark.parametrize(
    ("name", "row", "mapped"),
    [
        ("messages_to_prompt_completion", messages(RULE, ASK, SAY), pair(RULE, ASK)),
        (
            "conversations_to_messages",
            {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]},
            messages(ASK, SAY),
        ),
        ("question_to_prompt_completion", {"question": "Why?", "answer": "Because."}, pair(ASK)),
        ("question_to_prompt_completion", {"Question": "Why?", "Answer": "Because."}, pair(ASK)),
        ("question_to_prompt_completion", {"instruction": "Why?", "input": None, "output": "Because."}, pair(ASK)),
        (
            "question_to_prompt_completion",
            {"system_prompt": "Be brief.", "question": "Why?", "response": "Because."},
            pair(RULE, ASK),
        ),
        (
            "question_to_prompt_completion",
            {"context": "Rain.", "question": "Why?", "answers": {"text": ["Because."], "answer_start": [0]}},
            pair({"role": "user", "content": "Why?\n\nRain."}),
        ),
        ("turns_to_prompt_completion", {"prompt": "Why?", "completion": [SAY]}, pair(ASK)),
        (
            "query_to_tool_calls",
            {"query": "Why?", "answers": '[{"name": "look", "arguments": {"where": "here"}}]', "tools": TOOLS},
            pair(ASK, completion=CALLED) | {"tools": TOOLS},
        ),
        ("json_to_prompt_completion", {"id": "7", "data": '{"prompt": "Why?", "response": "Because."}'}, pair(ASK)),
        ("document_to_text", {"content": "Because."}, {"text": "Because."}),
        (
            "answers_to_turns",
            {"system": "Be brief.", "question": "Why?", "chosen": "Because.", "rejected": "No idea."},
            preference(RULE, ASK),
        ),
        ("preference_to_turns", {"prompt": "Why?", "chosen": [ASK, SAY], "rejected": [ASK, DENY]}, preference(ASK)),
        ("preference_to_turns", {"prompt": "Why?", "chosen": [SAY], "rejected": [DENY]}, preference(ASK)),
        ("preference_to_turns", TRANSCRIPTS, preference(ASK)),
        ("comparison_to_preference", HISTORY | {"labels": 0}, preference(ASK)),
        (
            "question_to_unpaired",
            {"prompt": "Why?", "completion": "Because.", "label": -1},
            pair(ASK) | {"label": False},
        ),
        (
            "rating_to_unpaired",
            {"prompt": "Why?", "response": "Because.", "helpfulness": 4},
            pair(ASK) | {"label": True},
        ),
        (
            "question_for_rewards",
            {"question": "Why?", "answer": "Because.", "completions": [1]},
            {"prompt": [ASK], "question": "Why?", "answer": "Because.", "given_completions": [1]},
        ),
        ("chat_for_rewards", messages(ASK, SAY) | {"id": 7}, {"prompt": [ASK], "answer": "Because.", "id": 7}),
        ("chat_for_rewards", messages(ASK, SAY) | {"answer": "42"}, {"prompt": [ASK], "answer": "42"}),
    ],
)
def test_a_mapping_keeps_what_its_method_needs(name: str, row: dict[str, Any], mapped: dict[str, Any]) -> None:
    assert MAPPINGS[name](row) == mapped


@pytest.mark.parametrize(
    ("chat", "turns"),
    [
        ({"dialog": ["Why?", "Because."]}, [ASK, SAY]),
        ({"conversation": [{"input": "Why?", "output": "Because."}]}, [ASK, SAY]),
        (
            {"messages": '[{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]'},
            [ASK, SAY],
        ),
        ({"messages": [{"role": "developer", "content": "Be brief."}, ASK, SAY]}, [RULE, ASK, SAY]),
        ({"messages": [ASK, SAY], "system": "Be brief."}, [RULE, ASK, SAY]),
        ({"messages": [ASK, SAY], "system": " "}, [ASK, SAY]),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Wh", "image": None}, {"text": "y?"}]},
                    SAY,
                ]
            },
            [ASK, SAY],
        ),
        ({"messages": [ASK | {"tool_calls": None, "name": None}, SAY | {"tool_calls": []}]}, [ASK, SAY]),
        (
            {
                "messages": [
                    ASK,
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"function": {"name": "look", "arguments": '{"where": "here"}'}}],
                    },
                ]
            },
            [ASK, CALLED],
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "Why?"},
                    {
                        "from": "function_call",
                        "value": '{"name": "look", "arguments": {"where": "here", "when": null}}',
                    },
                ]
            },
            [ASK, CALLED],
        ),
        (
            {"system": "SYSTEM: Be brief.", "chat": GLAIVE},
            [RULE, ASK, {"role": "assistant", "content": "<functioncall> {}"}, {"role": "tool", "content": "{}"}, SAY],
        ),
    ],
)
def test_a_chat_is_read_however_it_is_written(chat: dict[str, Any], turns: list[dict[str, Any]]) -> None:
    assert MAPPINGS["chat_to_messages"](chat) == {"messages": turns}


@pytest.mark.parametrize("name", [*MAPPINGS, *FILTERS, *HOLDOUTS])
def test_an_emitted_function_asks_for_nothing_but_builtins(name: str) -> None:
    module = symtable.symtable(source_of(name), name, "exec")
    assert set(_globals(module)) <= {*module.get_identifiers(), *dir(builtins)}


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global())
    for child in table.get_children():
        yield from _globals(child)


def test_what_several_functions_share_is_emitted_once() -> None:
    assert source_of("why_not_question", "question_to_prompt_completion").count("def question_of") == 1


def test_a_plain_set_gets_a_script_without_what_only_odd_sets_need() -> None:
    for names in (
        ("why_not_messages", "messages_to_prompt_completion"),
        ("why_not_question", "question_to_prompt_completion"),
        ("why_not_answers", "answers_to_turns"),
        ("why_not_asked", "question_for_rewards"),
    ):
        source = source_of(*names)
        assert "def transcript_of" not in source and "def call_of" not in source


@given(rows=tables())
def test_what_a_filter_lets_through_is_mapped_to_the_columns_of_the_trainer(rows: list[dict[str, Any]]) -> None:
    """And the emitted source does with every row what the functions here do."""
    columns = list(rows[0]) if rows else []
    for method in get_args(Method):
        shape = recognise(columns, rows, method)
        if not isinstance(shape, Shape):
            continue
        mapping = MAPPINGS.get(shape.mapping or "")
        script: dict[str, Any] = {}
        exec(source_of(shape.filter, *([shape.mapping] if mapping and shape.mapping else [])), script)
        for row in rows:
            reason = FILTERS[shape.filter](row)
            assert reason == script[shape.filter](row)
            if reason is None and mapping and shape.mapping:
                assert set(mapping(row)) == set(shape.trainer_columns)
                assert repr(mapping(row)) == repr(script[shape.mapping](row))
        assert mapping or set(shape.trainer_columns) <= set(columns)
