"""What a check can ask of a program, and what it cannot."""

from __future__ import annotations

import pytest
from ftagent.tools.sandbox.checked import Limits, run_checked

STACK = """
class Stack:
    '''A stack.'''
    kind = "lifo"
    def __init__(self, *items):
        self.items = list(items)
    def push(self, item):
        self.items.append(item)
        return self
    def pop(self):
        return self.items.pop()
    def __len__(self):
        return len(self.items)
    def __iter__(self):
        return iter(self.items)
    def __getitem__(self, index):
        return self.items[index]
    def __str__(self):
        return f"Stack of {len(self.items)}"
"""


@pytest.mark.parametrize(
    "value",
    [
        "None",
        "True",
        "-(10 ** 6000)",
        "float('inf')",
        "-0.5",
        "2 - 3j",
        "'häßlich 東京 \\ud800'",
        "b'\\x00\\xff'",
        "[1, (2, [3]), {4, 5}, frozenset({6})]",
        "{(1, 2): 'x', None: {}, 3.5: []}",
        "Decimal('1.10')",
        "Fraction(1, 3)",
        "[]",
        "''",
    ],
)
def test_plain_values_go_and_come_as_they_are(value: str) -> None:
    """With their types: a tuple is no list."""
    imports = "from decimal import Decimal\nfrom fractions import Fraction\n"
    check = f"{imports}value = {value}\nfor found in (same(value), same(x=value), made()):\n"
    check += "    assert found == value and type(found) is type(value), found"
    program = f"{imports}def same(x):\n    assert x == {value}\n    return x\ndef made():\n    return {value}"
    assert run_checked(program, check).why == ""


@pytest.mark.parametrize(
    "check",
    [
        "s = Stack(1)\ns.push(2).push(3)\nassert s.pop() == 3 and len(s) == 2 and list(s) == [1, 2] and s[0] == 1",
        "assert str(Stack()) == 'Stack of 0' and Stack.kind == 'lifo' and Stack(1).items == [1]",
        "try:\n    Stack().pop()\nexcept IndexError as e:\n    assert 'empty' in str(e)\nelse:\n    assert False",
        "s = Stack()\nassert s == s and Stack() != Stack()",
    ],
)
def test_objects_stay_with_the_program_and_can_be_used(check: str) -> None:
    assert run_checked(STACK, check).why == ""


def test_generators_are_walked_and_functions_of_the_check_are_called() -> None:
    program = "def squares(n):\n    yield from (i * i for i in range(n))\n"
    program += "def twice(f, x):\n    return f(f(x))"
    check = "assert list(squares(4)) == [0, 1, 4, 9]\nassert twice(lambda x: x + 1, 0) == 2"
    assert run_checked(program, check).why == ""


def test_a_check_may_use_values_and_modules_of_the_program() -> None:
    program = "import math\nfrom typing import List\nLIMIT = 3\ndef f(x: List[int]):\n    return sum(x)"
    assert run_checked(program, "assert LIMIT == 3 and math.isclose(f([1, 2]), 3.0)").why == ""


def test_dataclasses_and_pickles_find_their_module() -> None:
    program = """
from __future__ import annotations
import copy, pickle
from dataclasses import dataclass
@dataclass
class Point:
    x: int
def f():
    return pickle.loads(pickle.dumps(copy.deepcopy(Point(3)))).x
"""
    assert run_checked(program, "assert f() == 3").why == ""


@pytest.mark.parametrize(
    "program",
    [
        "print(int(input()) * 2)",
        "import sys\nprint(int(sys.stdin.read()) * 2)\nexit()",
        "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(b'%d' % (int(line) * 2))",
        "if __name__ == '__main__':\n    n = int(input())\n    print(n * 2, end='')\n    raise SystemExit(1)",
    ],
)
def test_a_script_reads_and_writes(program: str) -> None:
    assert run_checked(program, "assert [run_program(f'{n}\\n').strip() for n in (2, 4)] == ['4', '8']").why == ""


def test_a_program_that_is_loaded_is_no_script() -> None:
    program = "def f():\n    return 1\nif __name__ == '__main__':\n    f = None"
    assert run_checked(program, "assert f() == 1").passed


@pytest.mark.parametrize(
    ("program", "check", "why"),
    [
        ("def f(x):\n    return x", "assert f(1) == 2", "AssertionError at `assert f(1) == 2`"),
        ("def f(x):\n    return x", "x = 1\nassert f(x) == 2, 'no'", "AssertionError: no at `assert f(x) == 2, 'no'`"),
        ("def f(x):\n    return 1 / x", "f(0)", "ZeroDivisionError: division by zero at `f(0)`"),
        ("class Odd(Exception):\n    pass\ndef f():\n    raise Odd('x')", "f()", "RuntimeError: Odd: x at `f()`"),
        ("x = 1", "f(0)", "NameError: name 'f' is not defined at `f(0)`"),
        ("x = = 1", "x", "SyntaxError: invalid syntax (program.py, line 1)"),
        ("x = 1", "x = = 1", "SyntaxError: invalid syntax (check.py, line 1)"),
        ("import numpy_of_nobody", "numpy_of_nobody.x", "ModuleNotFoundError: No module named 'numpy_of_nobody'"),
        ("import os\nos._exit(3)", "os.x", "module 'os' has no attribute 'x' at `os.x`"),
        ("while True:\n    pass", "assert f()", "it took longer than 1 s"),
        ("while True:\n    print('x' * 1000)", "assert f()", "it printed more than 256 KiB"),
        ("def f():\n    return 1", "pass", "the check asks nothing of the program"),
    ],
)
def test_it_says_why(program: str, check: str, why: str) -> None:
    outcome = run_checked(program, check, Limits(seconds=1))
    assert not outcome.passed
    assert why in outcome.why


def test_what_is_printed_is_kept() -> None:
    outcome = run_checked("def f():\n    print('hello 東京')\n    return 1", "assert f() == 1")
    assert (outcome.passed, outcome.output) == (True, "hello 東京\n")


def test_sets_have_the_same_order_each_time() -> None:
    program = "def f():\n    return ''.join({'alpha', 'beta', 'gamma', 'delta', 'epsilon'})"
    outputs = {run_checked(program, "print(f())").output for _ in range(4)}
    assert len(outputs) == 1


def test_what_a_function_does_to_its_arguments_is_not_seen() -> None:
    """Else a function could empty the list against which its answer is then held."""
    program = "def f(x):\n    x.clear()\n    return []"
    assert not run_checked(program, "x = [1, 2]\nassert f(x) == x").passed
