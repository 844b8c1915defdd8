"""The rewards that ftagent knows: one table, read from above."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from ..emitting import closure, definitions
from ..sandbox import emitted as sandbox
from . import answers, functions
from .own import LOADER, OwnReward

# What emitted functions may import, beside what they import themselves and what the sandbox needs.
MODULES = ("ast", "json", "logging", "os", "re", "threading", "types", "unicodedata")
NAMES = (("concurrent.futures", "ThreadPoolExecutor"), ("functools", "partial"))

RewardFunction = Callable[..., Sequence[float | None]]


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A reward function, and what it needs."""

    function: RewardFunction
    meaning: str
    needs_column: bool = True
    """Whether a column of the data holds what it compares with; its name is the option `reference_column`."""
    packages: tuple[str, ...] = ()
    """What a script must install for it."""
    needs_sandbox: bool = False


REWARDS: dict[str, Reward] = {
    "exact_answer": Reward(function=functions.exact_answer, meaning="the final answer is the reference, word for word"),
    "math_equality": Reward(
        function=functions.math_equality,
        meaning="the final answer equals the reference mathematically",
        packages=("math-verify[antlr4-13-2]",),
    ),
    "code_passes_tests": Reward(
        function=functions.code_passes_tests, meaning="the code passes the tests of its row", needs_sandbox=True
    ),
    "format_matches": Reward(
        function=functions.format_matches,
        meaning="the completion thinks in <think> and answers in <answer>, or matches a pattern",
        needs_column=False,
    ),
    "length_within": Reward(
        function=functions.length_within, meaning="the completion is as long as asked", needs_column=False
    ),
}


@dataclass(frozen=True, kw_only=True)
class RewardChoice:
    """A reward of a run, with its options and the reason for it."""

    name: str
    """A name in `REWARDS`, or that of a person's own function."""
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments, such as the column with the reference."""
    own: OwnReward | None = None


def callables(choices: tuple[RewardChoice, ...]) -> dict[str, RewardFunction]:
    """Return the functions that rewards stand for, with their options."""
    return {
        choice.name: partial(choice.own.load() if choice.own else REWARDS[choice.name].function, **choice.options)
        for choice in choices
    }


@dataclass(frozen=True, kw_only=True)
class EmittedRewards:
    """Rewards as text for a training script."""

    imports: tuple[str, ...]
    """Import statements, one a line."""
    source: str
    """Functions and constants; its last statement assigns `rewards`, a list."""
    packages: tuple[str, ...]


def emitted_rewards(choices: tuple[RewardChoice, ...]) -> EmittedRewards:
    """Return what a script needs for these rewards: imports, source and packages.

    Raises:
        KeyError: A choice is neither in the table nor a person's own.
    """
    known = [REWARDS[choice.name] for choice in choices if choice.own is None]
    names = [choice.name for choice in choices if choice.own is None]
    needs_sandbox = any(reward.needs_sandbox for reward in known)
    parts = [sandbox.sandbox_source()] if needs_sandbox else []
    parts += [closure(names, _sources())] if names else []
    own = [choice.own for choice in choices if choice.own]
    parts += [LOADER, *(reward.emitted() for reward in own)] if own else []
    listed = ",\n".join(f"    {_call(choice)}" for choice in choices)
    source = "\n\n\n".join([*parts, f"rewards = [\n{listed},\n]"])
    return EmittedRewards(
        imports=_imports(source, needs_sandbox),
        source=source,
        packages=tuple(dict.fromkeys(package for reward in known for package in reward.packages)),
    )


def _call(choice: RewardChoice) -> str:
    name = f"own_{choice.name}" if choice.own else choice.name
    options = "".join(f", {option}={value!r}" for option, value in choice.options.items())
    return f"partial({name}{options})" if options else name


def _imports(source: str, needs_sandbox: bool) -> tuple[str, ...]:
    """Return the imports that emitted rewards use, in the house's order."""
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    modules = used & set(MODULES)
    names = {(module, name) for module, name in NAMES if name in used}
    if needs_sandbox:
        modules |= set(sandbox.IMPORTS[0].split())
        names |= {(module, name) for module, listed in sandbox.IMPORTS[1].items() for name in listed.split(", ")}
    froms = {module: sorted(name for other, name in names if other == module) for module, _ in names}
    return (
        *(f"import {module}" for module in sorted(modules)),
        *(f"from {module} import {', '.join(froms[module])}" for module in sorted(froms)),
    )


@cache
def _sources() -> dict[str, str]:
    return {name: text for module in (answers, functions) for name, text in definitions(inspect.getsource(module))}
