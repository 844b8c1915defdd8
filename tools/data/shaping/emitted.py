"""The functions that are emitted into a training script, which applies them in this order: hold out, filter, map."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache

from . import filters, holdouts, mappings, turns


def source_of(*names: str) -> str:
    """Return the source of emitted functions, after that of the constants and helpers that they use, each once.

    Raises:
        KeyError: No mapping, filter or holdout has such a name.
    """
    if unknown := set(names) - {*mappings.MAPPINGS, *filters.FILTERS, *holdouts.HOLDOUTS}:
        raise KeyError(*unknown)
    sources = _sources()
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


@cache
def _sources() -> dict[str, str]:
    """Return name to source of all that can be emitted, in an order in which it can stand."""
    return {
        name: source
        for module in (turns, holdouts, filters, mappings)
        for name, source in _definitions(inspect.getsource(module))
    }


def _definitions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the functions and the plain constants of a module, with the comment above them."""
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            name = node.targets[0].id
        else:
            continue
        first = node.lineno - 1
        while first and lines[first - 1].startswith("#") and not lines[first - 1].startswith("# ---"):
            first -= 1
        yield name, "\n".join(lines[first : node.end_lineno])


def _names_in(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
