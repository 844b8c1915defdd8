"""What a server may be held to while it decodes: a JSON schema of the calls that are legal now.

llama.cpp, vLLM, SGLang, Ollama and most providers take one as `response_format`. `bare` asks for next to nothing: the
name of a tool, and only what it cannot do without, since every other argument has a default taken from the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smolagents import Tool

ANSWER_CHARS = 400
"""Of a free text that a weak model writes: it would not end by itself."""
MOST_ITEMS = 16
MOST_DESCRIPTION_CHARS = 160


def response_format(tools: Sequence[Tool], *, bare: bool) -> dict[str, Any]:
    """Return what holds a server to one call of one of these tools.

    Args:
        tools: The tools that are legal now.
        bare: Leave out every argument that has a default.
    """
    calls = [_call_schema(tool, bare) for tool in tools]
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}


def legal_calls(tools: Sequence[Tool], *, bare: bool) -> str:
    """Return the same as words: one line a tool, for a model that sees no list of tools beside."""
    lines = [_line(tool, bare) for tool in tools]
    return "\n".join(["Answer with one JSON object, one of these calls:", *lines])


def without_free_text(tools: Sequence[Tool]) -> list[Tool]:
    """Return the tools that can be called bare, and the end, which alone needs words of the model's own."""
    bare = [tool for tool in tools if all(entry.get("nullable") for entry in tool.inputs.values())]
    ending = [tool for tool in tools if tool.name == "final_answer"]
    return [*bare, *ending] or list(tools)


def _call_schema(tool: Tool, bare: bool) -> dict[str, Any]:
    wanted = {name: _value_schema(entry) for name, entry in _arguments(tool, bare).items()}
    arguments = {
        "type": "object",
        "properties": wanted,
        "required": [name for name in wanted if not tool.inputs[name].get("nullable")],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _arguments(tool: Tool, bare: bool) -> dict[str, dict[str, Any]]:
    return {name: entry for name, entry in tool.inputs.items() if not bare or not entry.get("nullable")}


def _value_schema(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what a value must be; all that a model could go on writing for ever has an end."""
    schema = {key: value for key, value in entry.items() if key not in ("description", "nullable", "title")}
    if schema.get("type") == "any":  # smolagents' own tool, the last answer, takes anything
        schema["type"] = "string"
    if schema.get("type") == "array":
        schema |= {"maxItems": MOST_ITEMS, "items": _value_schema(schema.get("items", {}))}
    if schema.get("type") == "string" and "enum" not in schema:
        schema["maxLength"] = ANSWER_CHARS
    return schema


def _line(tool: Tool, bare: bool) -> str:
    given = ", ".join(f'"{name}": …' for name in _arguments(tool, bare=True))
    more = [name for name in tool.inputs if name not in _arguments(tool, bare=True)]
    options = f" Optional: {', '.join(more)}." if more and not bare else ""
    first = tool.description.splitlines()[0][:MOST_DESCRIPTION_CHARS]
    return f'{{"name": "{tool.name}", "arguments": {{{given}}}}} {first}{options}'
