"""The sandbox as text that a training script carries: the script stands alone, and so does this text."""

from __future__ import annotations

import ast
import inspect

from . import checked

IMPORTS = (
    "contextlib json os secrets select shutil signal subprocess sys tempfile time",
    {"dataclasses": "asdict, dataclass", "functools": "cache", "pathlib": "Path", "typing": "BinaryIO, TypedDict"},
)
"""What a script that carries the sandbox imports, in the order of the house's format."""


def sandbox_source() -> str:
    """Return the source of `run_checked` and all that it uses, without the imports.

    What runs inside the jail stands in it as one raw string, so that its names cannot meet the script's own.
    """
    inside = checked.inside_text()
    if "'''" in inside:
        raise ValueError("the text of the jail cannot stand in a raw string: it has three single quotes in a row")
    lines = inspect.getsource(checked).splitlines()
    nodes = [node for node in ast.parse("\n".join(lines)).body if not isinstance(node, ast.Import | ast.ImportFrom)]
    parts = [_source(lines, nodes, index) for index in range(1, len(nodes)) if _name(nodes[index]) != "inside_text"]
    jail = f"# What runs in the jail, in an interpreter of its own.\nINSIDE = r'''{inside}'''"
    return "\n\n\n".join([jail, "def inside_text() -> str:\n    return INSIDE", *parts])


def _name(node: ast.stmt) -> str:
    return node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else ""


def _source(lines: list[str], nodes: list[ast.stmt], index: int) -> str:
    node = nodes[index]
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return "\n".join(lines[first - 1 : node.end_lineno])
