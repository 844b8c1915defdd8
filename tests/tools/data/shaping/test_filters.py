"""That a filter says why a row is of no use, whatever is in it."""

from __future__ import annotations

from typing import Any

import pytest
from ftagent.tools.data.shaping.filters import FILTERS
from hypothesis import given, settings
from hypothesis import strategies as st

from .rows import ASK, CELL, COLUMNS, DENY, SAY

QUESTION = {"question": "Why?", "answer": "Because."}
PAIR = {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."}
CHATS = {"chosen": [ASK, SAY], "rejected": [ASK, DENY]}


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("why_not_messages", {"messages": [ASK, SAY]}, None),
        ("why_not_messages", {"messages": [ASK, ASK, SAY]}, None),
        ("why_not_messages", {"messages": None}, "no answer at the end"),
        ("why_not_messages", {"messages": [ASK, SAY, ASK]}, "no answer at the end"),
        ("why_not_messages", {"messages": [SAY, ASK, SAY]}, "somebody else speaks before the user"),
        ("why_not_messages", {"messages": [ASK | {"content": None}, SAY]}, "empty turn"),
        ("why_not_messages", {"messages": [ASK | {"content": 7}, SAY]}, "content that is not text"),
        ("why_not_messages", {"messages": [{"content": "Why?"}, SAY]}, "unknown role"),
        ("why_not_messages", {"messages": [ASK, SAY], "finish_reason": "length"}, "answer cut by its generator"),
        ("why_not_messages", {"messages": [ASK, SAY], "finish_reason": "stop"}, None),
        ("why_not_conversation", {"conversations": [{"from": "human", "value": "Why?"}]}, "no answer at the end"),
        ("why_not_conversation", {"conversations": [{"from": "Moderator", "value": "Hm."}]}, "unknown role"),
        ("why_not_chat", {"messages": [ASK, SAY], "tools": "{"}, "tools that are not JSON"),
        ("why_not_chat", {"messages": [ASK, SAY], "tools": None}, None),
        ("why_not_chat", {"messages": [ASK, SAY | {"tool_calls": "look"}]}, "tool call that cannot be read"),
        ("why_not_prompt_completion", {"prompt": "Why?", "completion": " "}, "no text in completion"),
        (
            "why_not_prompt_completion",
            {"prompt": "Why?", "completion": "No.", "label": False},
            "answer that is labelled or rated as bad",
        ),
        ("why_not_question", QUESTION, None),
        ("why_not_question", QUESTION | {"answer": None}, "no text in the answer"),
        ("why_not_question", QUESTION | {"context": 7}, "no text in the question"),
        ("why_not_question", {"question": "Why?", "answers": {"text": []}}, "no text in the answer"),
        ("why_not_query", {"query": "Why?", "answers": "[{]"}, "no tool call that can be read"),
        ("why_not_json", {"data": '{"prompt": "Why?"'}, "JSON that cannot be read"),
        ("why_not_text", {"text": None}, "no text in text"),
        ("why_not_answers", PAIR, None),
        ("why_not_answers", PAIR | {"rejected": "Because."}, "chosen and rejected are the same"),
        ("why_not_answers", PAIR | {"rejected": None}, "no text in chosen or rejected"),
        ("why_not_preference", CHATS, None),
        ("why_not_preference", CHATS | {"rejected": [ASK, SAY]}, "chosen and rejected are the same"),
        ("why_not_preference", CHATS | {"rejected": [ASK | {"content": "How?"}, DENY]}, "no prompt in common"),
        ("why_not_preference", CHATS | {"rejected": [ASK, ASK]}, "no answer at the end"),
        ("why_not_shared_text", {"chosen": "Blue.", "rejected": "Green."}, "no prompt in common"),
        ("why_not_shared_text", {"chosen": "The sky is blue.", "rejected": "The sky is green."}, None),
        (
            "why_not_comparison",
            {"conversation_a": [ASK, SAY], "conversation_b": [ASK, DENY], "winner": "tie"},
            "neither answer is the better one",
        ),
        ("why_not_labelled", QUESTION | {"label": "maybe"}, "label that is not true or false"),
        ("why_not_rated", QUESTION | {"helpfulness": 2}, "rating that says neither good nor bad"),
        ("why_not_prompted", {"prompt": [ASK, SAY]}, "no question at the end of the prompt"),
        ("why_not_prompted", {"prompt": []}, "no question"),
        ("why_not_begun", {"messages": [ASK]}, None),
    ],
)
def test_a_filter_says_why_a_row_is_of_no_use(name: str, row: dict[str, Any], reason: str | None) -> None:
    assert FILTERS[name](row) == reason


@settings(max_examples=30)  # of 60 cells each
@given(row=st.fixed_dictionaries(dict.fromkeys(COLUMNS, CELL)))
def test_a_filter_answers_whatever_the_cells_hold(row: dict[str, Any]) -> None:
    for name, why_not in FILTERS.items():
        reason = why_not(row)
        assert reason is None or (isinstance(reason, str) and "\n" not in reason), name
