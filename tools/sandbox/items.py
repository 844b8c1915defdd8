"""Items of HumanEval's kind, as a program and the check that judges it."""

from __future__ import annotations

import ast
from typing import NamedTuple


class Item(NamedTuple):
    """What `run_checked` takes."""

    program: str
    check: str


def human_eval_item(prompt: str, completion: str, test: str, entry_point: str) -> Item:
    """Return the program that a completion makes, and a check that asks it for nothing but its entry point.

    What else the prompt defines (`poly`, `encode_cyclic`, imports) stands in the check as the prompt has it: a
    completion that defines it anew would choose its own yardstick.

    Args:
        prompt: Source that ends in the signature and docstring of the function to write.
        completion: What the model wrote after it.
        test: Source that defines `check(candidate)`.
        entry_point: The name of the function.

    Raises:
        SyntaxError: The prompt is no Python by itself.
    """
    lines = prompt.splitlines()
    nodes = [node for node in ast.parse(prompt).body if getattr(node, "name", None) != entry_point]
    given = ["\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in nodes]
    return Item(prompt + completion, "\n".join([*given, test, f"check({entry_point})"]))
