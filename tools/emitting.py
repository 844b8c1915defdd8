"""Definitions of a module as text, for training scripts, which stand alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping


def closure(names: Iterable[str], sources: Mapping[str, str]) -> str:
    """Return the source of functions, after that of the constants and helpers that they use, each once.

    Args:
        names: The functions.
        sources: Name to source of all that there is, in an order in which it can stand.

    Raises:
        KeyError: There is no such function.
    """
    needed: set[str] = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            wanted += [used for used in _names_in(sources[name]) if used in sources]
    constants = [sources[name] for name in sources if name in needed and name.isupper()]
    functions = [sources[name] for name in sources if name in needed and not name.isupper()]
    return "\n\n\n".join([*(["\n".join(constants)] if constants else []), *functions])


def definitions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the functions, classes and plain constants of a module, with decorators and the comment above them."""
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            name, first = node.targets[0].id, node.lineno - 1
        else:
            continue
        while first and lines[first - 1].startswith("#") and not lines[first - 1].startswith("# ---"):
            first -= 1
        yield name, "\n".join(lines[first : node.end_lineno])


def _names_in(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
