"""Rows that tests of shapes, mappings and filters share, and rows that nobody would think of."""

from __future__ import annotations

from typing import Any

from ftagent.tools.data.shaping.turns import ANSWERS, CHATS, CHOSEN, QUESTIONS, REJECTED, SYSTEMS, TEXTS, TRAINERS_OWN
from hypothesis import strategies as st

ASK = {"role": "user", "content": "Why?"}
SAY = {"role": "assistant", "content": "Because."}
DENY = {"role": "assistant", "content": "No idea."}
RULE = {"role": "system", "content": "Be brief."}
CALL = {"type": "function", "function": {"name": "look", "arguments": {"where": "here"}}}
TOOLS = '[{"type": "function", "function": {"name": "look"}}]'

COLUMNS = sorted(
    {*CHATS, *QUESTIONS, *ANSWERS, *CHOSEN, *REJECTED, *SYSTEMS, *TEXTS, *TRAINERS_OWN}
    | {"label", "labels", "tools", "margin", "input_ids", "helpfulness", "rating", "finish_reason", "context"}
    | {"human_ref_A", "human_ref_B", "response_0", "response_1", "better_response_id", "chat_template_kwargs"}
    | {"message_id", "parent_id", "role", "Question", "given_completion", "{{ x }}\n'\"", ""}
)

TEXT = st.sampled_from(
    ["Why?", " ", "", "\n\nHuman: a\n\nAssistant: b", "[1]", '{"a": 1}', "true", "length", "[[[", "\x00\ud800"]
)
SCALAR = TEXT | st.sampled_from([None, 7, -1, 0, 1, True, False, 2.5, float("nan"), b"\xff", 10**400])
SPEAKER = (
    st.sampled_from(["user", "assistant", "system", "human", "gpt", "tool", "function_call", "Moderator"]) | SCALAR
)
PART = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["text", "image", None, 7]), "text": SCALAR, "image": SCALAR}
)
TURN = st.fixed_dictionaries(
    {},
    optional={
        "role": SPEAKER,
        "content": SCALAR | st.lists(PART | SCALAR, max_size=2),
        "from": SPEAKER,
        "value": SCALAR,
        "tool_calls": SCALAR | st.lists(st.just(CALL) | SCALAR, max_size=2),
        "input": SCALAR,
        "output": SCALAR,
        "name": SCALAR,
    },
)
GOOD_CHAT = st.sampled_from(
    [[ASK, SAY], [RULE, ASK, SAY], [ASK, SAY, ASK, DENY], [ASK], [SAY], ["a", "b"], [[ASK, SAY]]]
)
JSON = st.recursive(
    SCALAR,
    lambda cells: (
        st.lists(cells, max_size=3) | st.dictionaries(st.sampled_from(["text", "role", "content", "x"]), cells)
    ),
    max_leaves=6,
)
CELL = GOOD_CHAT | TEXT | st.lists(TURN | SCALAR, max_size=3) | TURN | JSON


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows with the same columns, drawn from all names that mean something, and whatever may stand in their cells."""
    columns = draw(st.sets(st.sampled_from(COLUMNS), max_size=6))
    cells = {name: draw(st.sampled_from([CELL, GOOD_CHAT, TEXT, SCALAR])) for name in sorted(columns)}
    return draw(st.lists(st.fixed_dictionaries(cells), max_size=4))
