"""A person's own reward function: read from a file, checked, and carried into the script word for word, by hash."""

from __future__ import annotations

import ast
import hashlib
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

LOADER = '''
def own_reward(name, source):
    """Return a person's own reward function, from the file in which they wrote it."""
    module = types.ModuleType("own_rewards")
    exec(compile(source, "own_rewards.py", "exec"), module.__dict__)
    return module.__dict__[name]
'''.strip()
TRAINERS = {"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric"}
"""What TRL hands to every reward function beside the columns of the data (`_calculate_rewards`, trl 1.16)."""


@dataclass(frozen=True, kw_only=True)
class OwnReward:
    """A reward function in a file of its own."""

    name: str
    source: str
    sha256: str
    columns: tuple[str, ...]
    """Columns of the data that it asks for by name, without which it cannot be called."""
    packages: tuple[str, ...]
    """What it imports beside the standard library."""

    def load(self) -> Callable[..., Sequence[float | None]]:
        """Return the function itself, which runs the code of its file.

        Raises:
            InputError: The file cannot be run.
        """
        module = types.ModuleType("own_rewards")
        try:
            exec(compile(self.source, "own_rewards.py", "exec"), module.__dict__)
        except Exception as error:  # a person's own code may raise anything
            raise InputError(
                f"the file of the reward `{self.name}` cannot be run: {type(error).__name__}: {error}.",
                hint="run it alone with `python`, and mend it",
            ) from error
        return module.__dict__[self.name]

    def emitted(self) -> str:
        """Return the statement that defines it in a script as `own_NAME`; it needs `LOADER` above it."""
        text = f"r'''{self.source.rstrip()}\n'''"
        if "'''" in self.source:
            text = repr(self.source)
        return f'# SHA-256 {self.sha256}\nown_{self.name} = own_reward("{self.name}", {text})'


def own_reward(reference: str, folder: Path) -> OwnReward:
    """Read a person's own reward function and check that TRL can call it.

    Args:
        reference: `FILE.py:FUNCTION`, below the working folder or absolute.
        folder: The working folder.

    Raises:
        InputError: There is no such file or function, or TRL's call would fail.
    """
    path, _, name = reference.rpartition(":")
    file = folder / path
    if not path.endswith(".py") or not name.isidentifier():
        raise InputError(f"`{reference}` names no reward function.", hint="write it as `rewards.py:function`")
    try:
        source = file.read_text(encoding="utf-8")
        body = ast.parse(source).body
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"the rewards in `{path}` cannot be read: {error}.", hint="name a Python file") from error
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if name not in functions:
        raise InputError(
            f"`{path}` defines no function `{name}`.", hint=f"it defines {', '.join(functions) or 'no function'}"
        )
    return OwnReward(
        name=name,
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        columns=_columns(name, functions[name].args),
        packages=_packages(ast.parse(source)),
    )


def _columns(name: str, arguments: ast.arguments) -> tuple[str, ...]:
    """Return the columns that a function asks for by name.

    Raises:
        InputError: It would not take what TRL hands to it.
    """
    if arguments.kwarg is None:
        raise InputError(
            f"the reward `{name}` has no `**kwargs`: TRL hands it every column, and more with each version.",
            hint=f"write it as `def {name}(completions, **kwargs):`",
        )
    if arguments.posonlyargs:
        raise InputError(f"the reward `{name}` has a `/`, and TRL names every argument.", hint="leave the `/` out")
    positional = arguments.args[: len(arguments.args) - len(arguments.defaults)]
    only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    named = [argument for argument, default in only if default is None]
    return tuple(argument.arg for argument in [*positional, *named] if argument.arg not in TRAINERS)


def _packages(tree: ast.AST) -> tuple[str, ...]:
    """Return the top-level modules that a file imports, without those of the standard library."""
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return tuple(sorted({name.partition(".")[0] for name in names} - sys.stdlib_module_names - {""}))
