"""The text of `train.py`: templates laid over each other, other literals, other functions, sorted imports and pins.

`tools/templates/base.py` is the whole story of a training. A method's file has regions, `# <name>` to `# </name>`, that
stand in the place of the base's regions of the same name; its docstring's first line becomes the script's. In a file
of its own a region may stand inside a call, for the sake of its syntax; only what is between its marks is taken.
"""

from __future__ import annotations

import ast
import math
import re
import sys
import textwrap
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from .errors import ToolError
from .facts import Method
from .versions import installed_version

# The files of each method, each laid over the one before, and the beginning of its trainer's name in TRL.
LAYERS: dict[Method, tuple[tuple[str, ...], str]] = {
    "sft": (("sft.py",), "SFT"),
    "dpo": (("dpo.py",), "DPO"),
    "kto": (("kto.py",), "KTO"),
    "reward": (("reward.py",), "Reward"),
    "grpo": (("generating.py", "grpo.py"), "GRPO"),
    "rloo": (("generating.py", "rloo.py"), "RLOO"),
    "distillation": (("generating.py", "distillation.py"), "Distillation"),
}
FUNCTIONS = "functions"
"""The region for what is emitted: hold-out, filter, mapping, rewards."""

ONE_LINE = 50
"""Columns that a literal takes on one line at most: beside a key, and a few levels deep, lines stay below 120."""
LINE = 120

_REGION = re.compile(r"^([ ]*)# <([a-z ]+)>\n(.*?)^[ ]*# </\2>\n", re.MULTILINE | re.DOTALL)
_PIN = re.compile(r'^#     "([\w.\[\]-]+)==([\w.]+)",\n', re.MULTILINE)


# --- templates --------------------------------------------------------------------------------------------------------


@cache
def template_of(method: Method) -> str:
    """Return the base with the regions of the method in it, and the marks of all regions still there."""
    names, trainer = LAYERS[method]
    text = re.sub(r"\bSFT(?=Config\b|Trainer\b)", trainer, source_of("base.py"))
    for name in names:
        layer = source_of(name)
        regions = {match[2]: textwrap.dedent(match[3]) for match in _REGION.finditer(layer)}
        text = _REGION.sub(lambda match: _marked(match, regions), text)  # noqa: B023 (used at once)
    title = (ast.get_docstring(ast.parse(source_of(names[-1]))) or "").splitlines()[0]
    return re.sub(r'^"""[^"\n]*$', lambda _: f'"""{title}', text, count=1, flags=re.MULTILINE)


def _marked(match: re.Match[str], regions: dict[str, str]) -> str:
    """Return a region of the base with the method's content, indented as the base has it."""
    indent, name, content = match[1], match[2], match[3]
    if name in regions:
        content = textwrap.indent(regions[name].strip("\n") + "\n", indent)
    return f"{indent}# <{name}>\n{content}{indent}# </{name}>\n"


def source_of(name: str) -> str:
    """Return the text of a file of `tools/templates/`."""
    return (files("ftagent.tools.templates") / name).read_text(encoding="utf-8")


# --- scripts ----------------------------------------------------------------------------------------------------------


def render(template: str, constants: dict[str, Any], functions: str, extra_pins: Iterable[str] = ()) -> str:
    """Return the script: the template with other literals, other functions, and the installed versions as pins.

    Args:
        template: What `template_of` returns.
        constants: The names of assignments at the template's top, and their new values.
        functions: What stands in the region `functions`.
        extra_pins: `name==version` of packages that this script needs beside the template's.
    """
    text = _REGION.sub(lambda match: match[0] if match[2] != FUNCTIONS else _emitted(functions), template)
    text = _with_constants(text, constants)
    text = re.sub(r"^[ ]*# </?[a-z ]+>\n", "", text, flags=re.MULTILINE)
    return _with_pins(_with_sorted_imports(text), extra_pins)


def _emitted(functions: str) -> str:
    return f"# <{FUNCTIONS}>\n{functions.strip()}\n# </{FUNCTIONS}>\n"


def _with_constants(text: str, constants: dict[str, Any]) -> str:
    lines = text.splitlines(keepends=True)
    assigned = {
        node.targets[0].id: node
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for name in sorted(constants, key=lambda name: -assigned[name].lineno):  # from the end, as lines may be added
        node = assigned[name]
        lines[node.lineno - 1 : node.end_lineno] = [f"{name} = {literal(constants[name])}\n"]
    return "".join(lines)


# --- imports ----------------------------------------------------------------------------------------------------------


def _with_sorted_imports(text: str) -> str:
    """Return the script with all imports that it uses at its top, in the order that ruff keeps, and no others.

    The standard library's stand where the first one of them stood, the others where the first one of those stood.
    """
    tree, lines = ast.parse(text), text.splitlines(keepends=True)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    blocks = {own: _written(imports, used, own) for own in (True, False)}
    begun: set[bool] = set()
    for node in imports:
        own = _is_standard(node)
        lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)  # type: ignore[operator]
        if own not in begun:
            lines[node.lineno - 1] = blocks[own]
            begun.add(own)
    return re.sub(r"\n{4,}", "\n\n\n", "".join(lines))


def _is_standard(node: ast.Import | ast.ImportFrom) -> bool:
    name = node.names[0].name if isinstance(node, ast.Import) else node.module or ""
    return name.partition(".")[0] in sys.stdlib_module_names


def _written(imports: Iterable[ast.Import | ast.ImportFrom], used: set[str], standard: bool) -> str:
    whole: set[str] = set()
    parts: dict[str, set[str]] = {}
    for node in imports:
        names = [alias.name for alias in node.names if alias.name.partition(".")[0] in used]
        if _is_standard(node) != standard or not names:
            continue
        if isinstance(node, ast.Import):
            whole |= set(names)
        else:
            parts.setdefault(node.module or "", set()).update(names)
    named = [_from_line(module, sorted(names, key=_member_order)) for module, names in sorted(parts.items())]
    return "".join([f"import {name}\n" for name in sorted(whole)] + named)


def _from_line(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}\n"
    if len(line) <= LINE + 1:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")\n"


def _member_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as isort's `force_sort_within_sections` off and order by type have it."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


# --- literals ---------------------------------------------------------------------------------------------------------


def literal(value: object) -> str:
    """Write a value as Python source that means exactly this value, in lines that are not too long.

    Raises:
        ToolError: It is no text, number, flag or None, or a list or dict of such.
    """
    match value:
        case str():
            return _text(value)
        case None | bool() | int():
            return repr(value)
        case float() if math.isfinite(value):
            return repr(value)
        case dict():
            return _bracketed("{", [f"{literal(key)}: {literal(item)}" for key, item in value.items()], "}")
        case list() | tuple():
            return _bracketed("[", [literal(item) for item in value], "]")
        case _:
            raise ToolError(f"`{value!r}` cannot stand in a script.", hint="use text, numbers, lists and dicts")


def _text(value: str) -> str:
    """Write text in double quotes where that is plain, and what is long in pieces that Python joins."""
    short = f'"{value}"' if value.isprintable() and not {'"', "\\"} & set(value) else repr(value)
    if len(short) <= ONE_LINE:
        return short
    size = 45 if value.isascii() and value.isprintable() else 9  # `ascii` takes 2 columns for a quote, 10 for an emoji
    pieces = [ascii(value[start : start + size]) for start in range(0, len(value), size)]
    return "(\n" + "".join(f"    {piece}\n" for piece in pieces) + ")"


def _bracketed(opening: str, items: list[str], closing: str) -> str:
    line = opening + ", ".join(items) + closing
    if len(line) <= ONE_LINE and "\n" not in line:
        return line
    return opening + "\n" + "".join(textwrap.indent(item, "    ") + ",\n" for item in items) + closing


# --- pins -------------------------------------------------------------------------------------------------------------


def pins_of(script: str) -> tuple[str, ...]:
    """Return the `name==version` of a script's header."""
    return tuple(f"{name}=={pin}" for name, pin in _PIN.findall(script))


def _with_pins(script: str, extra: Iterable[str]) -> str:
    """Pin the installed versions; what is not installed here keeps the template's, with which it was tested."""
    pins = dict(_PIN.findall(script)) | dict(pin.split("==") for pin in extra)
    lines = (f'#     "{name}=={installed_version(name) or pin}",\n' for name, pin in sorted(pins.items()))
    head, *_, last = _PIN.finditer(script)
    return script[: head.start()] + "".join(lines) + script[last.end() :]
