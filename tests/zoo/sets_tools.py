"""Chats in which tools are called, in all the ways in which calls are written down."""

from __future__ import annotations

import json
from typing import Any

from .content import EXCHANGES, NUMBERS, Turns, assistant, user
from .zoo_set import ZooSet

TIDES = {
    "type": "function",
    "function": {
        "name": "get_tide",
        "description": "Say when the tide is high.",
        "parameters": {"type": "object", "properties": {"harbour": {"type": "string"}}, "required": ["harbour"]},
    },
}


def tool_chat(arguments: Any) -> Turns:
    """A chat in which the answer needs a tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": "get_tide", "arguments": arguments}}
    return [
        user("When is high tide in Husum?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"time": "14:10"}'},
        assistant("At ten past two."),
    ]


SETS = (
    ZooSet(
        name="tools_as_list",
        like="TRL's own tool calling: Arrow gives every turn a null `tool_calls`, at which some templates stop",
        rows=[{"messages": tool_chat({"harbour": "Husum"}), "tools": [TIDES]} for _ in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches="get_tide",
    ),
    ZooSet(
        name="tools_as_json",
        like="OpenAI's tool calling: arguments and tools as JSON strings; a template would quote the arguments twice",
        rows=[{"messages": tool_chat('{"harbour": "Husum"}'), "tools": json.dumps([TIDES])} for _ in NUMBERS],
        sft="mapped",
        grpo="mapped",
        teaches='"arguments": {"harbour"',
    ),
    ZooSet(
        name="hermes_function_calling",
        like="NousResearch/hermes-function-calling-v1",
        rows=[
            {
                "id": f"{n}",
                "conversations": [
                    {"from": "system", "value": f"You call functions. <tools>{json.dumps([TIDES])}</tools>"},
                    {"from": "human", "value": "When is high tide in Husum?"},
                    {"from": "gpt", "value": '<tool_call>\n{"name": "get_tide"}\n</tool_call>'},
                    {"from": "tool", "value": '<tool_response>\n{"time": "14:10"}\n</tool_response>'},
                    {"from": "gpt", "value": "At ten past two."},
                ],
                "tools": json.dumps([TIDES]),
                "category": "Tides",
                "subcategory": "High",
                "task": "When",
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="mapped",
        teaches="At ten past two.",
    ),
    ZooSet(
        name="xlam",
        like="Salesforce/xlam-function-calling-60k: all in JSON strings",
        rows=[
            {
                "id": n,
                "query": "When is high tide in Husum?",
                "answers": '[{"name": "get_tide", "arguments": {"harbour": "Husum"}}]',
                "tools": '[{"name": "get_tide", "description": "Tides", "parameters": {"harbour": {"type": "str"}}}]',
            }
            for n in NUMBERS
        ],
        sft="mapped",
        grpo="mapped",
        teaches="get_tide",
    ),
    ZooSet(
        name="glaive",
        like="glaiveai/glaive-function-calling-v2: a transcript beside its system prompt",
        rows=[
            {
                "system": "SYSTEM: You are a helpful assistant with access to the following functions.",
                "chat": f"USER: {e.question}\n\n\nASSISTANT: {e.good} <|endoftext|>\n\n\nUSER: Thanks.\n\n\n"
                "ASSISTANT: You are welcome. <|endoftext|>",
            }
            for e in EXCHANGES
        ],
        sft="mapped",
        grpo="mapped",
        teaches=EXCHANGES[0].good,
    ),
)
