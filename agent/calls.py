"""What a planner meant: the tool call in a reply that is not quite one.

Plain in meaning are fenced JSON, single quotes, bare words instead of strings, a call in the middle of prose, arguments
under other names, a call as Python would write it, and the bare name of a tool. A name that no tool has is no call, and
neither is prose that mentions a tool; no value is made up.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from ..tools.parameters import SETTABLE

MOST_CHARS = 20_000
"""Of a reply; what stands behind is cut. A call takes hundreds."""
MOST_OBJECTS = 20
MOST_LINE_CHARS = 500

Tools = Mapping[str, frozenset[str]]
"""Tool name to the names of its arguments."""


class Call(NamedTuple):
    """A tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


NAME_KEYS = ("name", "tool", "tool_name", "function", "function_name", "action", "call", "method", "command")
ARGUMENT_KEYS = (
    *("arguments", "args", "parameters", "params", "input", "inputs", "action_input", "tool_input", "kwargs"),
    *("function_args", "properties"),
)
WRAPPERS = ("tool_call", "function_call", "tool_calls", "function", "call", "action")
NOISE = frozenset(("type", "id", "thought", "thoughts", "reasoning", "reason", "description", "explanation", "comment"))
"""Keys beside a call that are no arguments of it."""
NOTHING = ("", "null", "none")
"""What a model writes for an argument that it leaves out."""

SYNONYMS = {
    "batch": ("batchsize", "perdevicetrainbatchsize", "perdevicebatchsize"),
    "max_length": ("maxseqlength", "maxseqlen", "sequencelength", "seqlength", "contextlength"),
    "name": ("skill", "skillname"),
    "quantisations": ("quantizations", "quantization", "quantisation", "quant", "quants"),
    "flavor": ("hardware", "gpu", "machine", "instance", "flavour"),
    "precision": ("dtype",),
    "subset": ("config", "configuration", "subsetname"),
    "model": ("modelname", "modelid", "basemodel"),
    "dataset": ("datasetname", "datasetid"),
    "question": ("message", "text", "query"),
    "answer": ("response", "result", "text", "message", "finalanswer"),
    "wait_s": ("wait", "waitseconds", "seconds"),
    "max_hours": ("hours", "maxtime"),
}
"""An argument's name to others under which models give it, squeezed."""

_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[a-z]*\n?(.*?)```", re.DOTALL)
_TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|(?<![\w.])[A-Za-z_]\w*", re.DOTALL)
_LITERALS = {"true": "True", "false": "False", "null": "None", "True": "True", "False": "False", "None": "None"}
_MARKUP = re.compile(r"[`*#>\"]|^\s*(?:-|\d+[.)])\s+")
_FILLER = (
    r"(?:(?:i|we|you|will|shall|should|would|like|want|need|to|must|can|let|lets|let's|me|us|now|next|then|so|first|ok|okay|"
    r"sure|please|the|a|an|call|calls|calling|use|using|run|running|invoke|execute|try|do|perform|tool|function|action|name|"
    r"step|expected|answer|assistant|is|with|and|i'll|we'll|it|here|my|output|response|following)\b[\s:,.]*)*"
)


def read_call(text: str, tools: Tools) -> Call | None:
    """Return the call that `text` plainly means, or None; never raises.

    Args:
        text: A planner's reply.
        tools: The tools there are.
    """
    text = _THINKING.sub("", text[:MOST_CHARS]).strip()
    for value in _objects(text):
        if call := call_in(value, tools):
            return call
    return _spoken(text, tools)


def call_in(value: Any, tools: Tools) -> Call | None:
    """Return the call that an object stands for, or None.

    Args:
        value: What was parsed of a reply.
        tools: The tools there are.
    """
    for _ in range(3):  # a call in a function in a list of calls
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict):
            return None
        if call := _named(value, tools) or _keyed(value, tools):
            return call
        value = next((value[key] for key in WRAPPERS if isinstance(value.get(key), dict | list)), None)
    return None


def known_name(said: Any, tools: Tools) -> str | None:
    """Return the tool that was meant by a name, whatever its case, separators and prefix; None for another's name."""
    if not isinstance(said, str):
        return None
    squeezed = {_squeeze(name): name for name in tools}
    last = re.split(r"[./:]", said.strip().removesuffix("()"))[-1]
    return squeezed.get(_squeeze(last)) if last else None


def fitted(name: str, arguments: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """Return arguments under the names that the tool has for them; what has no such name stays as it is.

    Args:
        name: The tool.
        arguments: What was given to it.
        tools: The tools there are.
    """
    known = tools.get(name, frozenset())
    fit: dict[str, Any] = {}
    for given, value in arguments.items():
        if isinstance(value, str) and value.strip().lower() in NOTHING:
            continue
        own = given if given in known else _own_name(given, known - arguments.keys())
        if own is None and "overrides" in known and _override_name(given):
            inner = fit.setdefault("overrides", dict(arguments.get("overrides") or {}))
            inner[_override_name(given)] = value
        elif own != "overrides" or "overrides" not in fit:
            fit[own or given] = value
    return fit


# --- objects ----------------------------------------------------------------------------------------------------------


def _objects(text: str) -> Iterator[Any]:
    """Yield what parses as an object or a list of them: the whole text, what is fenced, what stands between braces."""
    for whole in (text, *_FENCE.findall(text)):
        if whole.strip()[:1] in ("{", "["):
            yield _loose(whole.strip())
    position = 0
    for _ in range(MOST_OBJECTS):
        if (position := text.find("{", position)) < 0:
            return
        end = _closing(text, position)
        value = _loose(text[position:end]) if end else None
        if value is not None:
            yield value
        position = end if end and value is not None else position + 1


def _closing(text: str, start: int) -> int | None:
    """Return where the brace at `start` is closed, past strings; None where it is not."""
    depth, quote, skip = 0, "", False
    for position in range(start, len(text)):
        mark = text[position]
        if skip:
            skip = False
        elif mark == "\\":
            skip = True
        elif quote:
            quote = "" if mark == quote else quote
        elif mark == '"' or (mark == "'" and not text[position - 1].isalnum()):  # not the apostrophe of prose
            quote = mark
        elif mark in "{}":
            depth += 1 if mark == "{" else -1
            if depth == 0:
                return position + 1
    return None


def _loose(text: str) -> Any:
    """Parse JSON, or what is almost JSON: single quotes, bare words, trailing commas. None for all else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        value = ast.literal_eval(_TOKEN.sub(_quoted, text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if _is_plain(value) else None


def _quoted(token: re.Match[str]) -> str:
    word = token.group()
    return word if word[0] in "\"'" else _LITERALS.get(word, repr(word))


def _is_plain(value: Any, depth: int = 0) -> bool:
    if depth > 20:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(one, depth + 1) for key, one in value.items())
    if isinstance(value, list):
        return all(_is_plain(one, depth + 1) for one in value)
    return value is None or isinstance(value, str | int | float)


def _named(value: dict[str, Any], tools: Tools) -> Call | None:
    """Read `{"name": TOOL, "arguments": {…}}` under whatever names, with the arguments inside or beside."""
    key = next((key for key in NAME_KEYS if known_name(value.get(key), tools)), None)
    name = known_name(value[key], tools) if key else None
    if name is None:
        return None
    inside = next((k for k in ARGUMENT_KEYS if k in value and k not in tools[name]), None)
    if inside is not None:
        arguments = as_arguments(value[inside])
        return None if arguments is None else Call(name, fitted(name, arguments, tools))
    beside = {k: v for k, v in value.items() if k != key and (k in tools[name] or k.lower() not in NOISE)}
    return Call(name, fitted(name, beside, tools))


def _keyed(value: dict[str, Any], tools: Tools) -> Call | None:
    """Read `{TOOL: {…}}`."""
    if len(value) != 1:
        return None
    ((key, inside),) = value.items()
    name, arguments = known_name(key, tools), as_arguments(inside)
    return Call(name, fitted(name, arguments, tools)) if name and arguments is not None else None


def as_arguments(value: Any) -> dict[str, Any] | None:
    """Return arguments that were given as an object, as its text, or as nothing; None for all else."""
    if isinstance(value, str) and value.strip():
        value = _loose(value.strip())
    elif value is None or value == "" or value == []:
        return {}
    return value if isinstance(value, dict) else None


# --- names ------------------------------------------------------------------------------------------------------------


def _squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _own_name(given: str, known: frozenset[str]) -> str | None:
    squeezed = _squeeze(given)
    exact = (name for name in known if _squeeze(name) == squeezed)
    return next(exact, next((name for name in sorted(known) if squeezed in SYNONYMS.get(name, ())), None))


def _override_name(given: str) -> str | None:
    """Return the value of the script that was meant, such as `learning_rate` by `learningRate`."""
    return next((name for name in SETTABLE if _squeeze(name) == _squeeze(given)), None)


# --- words ------------------------------------------------------------------------------------------------------------


def _spoken(text: str, tools: Tools) -> Call | None:
    """Read a tool's bare name, or a call as Python writes it, that has a line to itself but for words of no meaning."""
    found = [call for line in text.splitlines() if (call := _line(line, tools))]
    names = {call.name for call in found}
    return found[0] if len(names) == 1 else None


def _line(line: str, tools: Tools) -> Call | None:
    words, opened, inside = line.partition("(")
    plain = _MARKUP.sub(" ", words).strip() + opened + inside.rstrip(" `*")
    matched = _line_pattern(tuple(tools)).fullmatch(plain) if len(line) <= MOST_LINE_CHARS else None
    name = known_name(matched["name"], tools) if matched else None
    if matched is None or name is None:
        return None
    given = _keywords(matched["given"] or "()")
    return None if given is None else Call(name, fitted(name, given, tools))


@cache
def _line_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    any_name = "|".join(re.escape(name).replace("_", r"[\s_-]?") for name in sorted(names, key=len, reverse=True))
    behind = r"(?:\s+(?:tool|function|now|next|step))*\s*(?P<given>\(.*\))?[\s.!;:`]*"
    return re.compile(rf"{_FILLER}(?P<name>{any_name}){behind}", re.IGNORECASE)


def _keywords(given: str) -> dict[str, Any] | None:
    """Return the keyword arguments between parentheses, literals alone; None for all else."""
    inner = given.strip()[1:-1].strip()
    if inner[:1] == "{":
        return as_arguments(inner)
    try:
        call = ast.parse(f"f({inner})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            return None
        values = {str(k.arg): _literal(k.value) for k in call.keywords}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return values if _is_plain(values) else None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in _LITERALS:
        return ast.literal_eval(_LITERALS[node.id])
    return ast.literal_eval(node)
