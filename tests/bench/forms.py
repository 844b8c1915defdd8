"""Which form of the question lets a chat model show what code it can write? Tried on items that no benchmark has.

    python tests/bench/forms.py [--model FOLDER]

`tools/evaluation/human_eval.py` asks in the form that won here. The items are ours, so that none of HumanEval's has
seen the choice; they are easier, so that a small model passes enough of them to tell the forms apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ftagent.tools.evaluation.human_eval import ASK, LIMITS, completion_in, decoding
from ftagent.tools.evaluation.models import QUANTISATION, SLOTS
from ftagent.tools.llama_cpp import convert, serve
from ftagent.tools.models import resolve_model
from ftagent.tools.sandbox.checked import run_checked
from ftagent.tools.sandbox.items import human_eval_item
from ftagent.tools.settings import Settings
from ftagent.tools.templates.openai_client import Question, Told, Turns, answer_all, ask_server

SETTINGS = Settings(python=sys.executable)


class Item(NamedTuple):
    """A function to write: its signature, what it is to do, and expressions that must hold."""

    signature: str
    task: str
    holds: tuple[str, ...]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.signature.partition("(")[0].removeprefix("def ")

    @property
    def prompt(self) -> str:
        """Signature and docstring, as HumanEval has them."""
        asked, _, told = self.holds[0].partition(" == ")
        return f'{self.signature}\n    """ {self.task}\n    >>> {asked}\n    {told}\n    """\n'

    @property
    def test(self) -> str:
        """The check, as HumanEval has it."""
        held = "".join(f"    assert {held}\n" for held in self.holds)
        return "def check(candidate):\n" + held.replace(f"{self.name}(", "candidate(")


ITEMS = (
    Item("def double(number: int) -> int:", "Return twice the number.", ("double(4) == 8", "double(-3) == -6")),
    Item(
        "def minutes(hours: int, rest: int) -> int:",
        "Return how many minutes some hours and the rest of minutes are.",
        ("minutes(2, 5) == 125", "minutes(0, 59) == 59"),
    ),
    Item(
        "def area(width: float, height: float) -> float:", "Return the area of a rectangle.", ("area(2, 3.5) == 7.0",)
    ),
    Item(
        "def is_leap(year: int) -> bool:",
        "Tell whether a year is a leap year of the Gregorian calendar.",
        ("is_leap(2024) == True", "is_leap(1900) == False", "is_leap(2000) == True", "is_leap(2023) == False"),
    ),
    Item(
        "def shout(text: str) -> str:",
        "Return the text in capitals with an exclamation mark behind it.",
        ("shout('hey') == 'HEY!'", "shout('') == '!'"),
    ),
    Item(
        "def initials(name: str) -> str:",
        "Return the first letters of all words, as capitals.",
        ("initials('ada king lovelace') == 'AKL'", "initials('x') == 'X'"),
    ),
    Item(
        "def longest_word(sentence: str) -> str:",
        "Return the longest word of a sentence; the first one where several are as long.",
        ("longest_word('we like bananas') == 'bananas'", "longest_word('one two') == 'one'"),
    ),
    Item(
        "def reverse_words(sentence: str) -> str:",
        "Return the sentence with its words in the opposite order.",
        ("reverse_words('a b c') == 'c b a'", "reverse_words('hello') == 'hello'"),
    ),
    Item(
        "def count_letter(text: str, letter: str) -> int:",
        "Count how often a letter stands in a text, in lower or upper case.",
        ("count_letter('Banana', 'a') == 3", "count_letter('Anna', 'a') == 2"),
    ),
    Item(
        "def mean(numbers: list) -> float:",
        "Return the arithmetic mean; 0 for an empty list.",
        ("mean([1, 2, 6]) == 3.0", "mean([]) == 0"),
    ),
    Item(
        "def smallest(numbers: list) -> int:",
        "Return the smallest number.",
        ("smallest([4, -2, 9]) == -2", "smallest([7]) == 7"),
    ),
    Item(
        "def positives(numbers: list) -> list:",
        "Return the numbers above zero, in their order.",
        ("positives([3, -1, 0, 5]) == [3, 5]", "positives([]) == []"),
    ),
    Item(
        "def squares(count: int) -> list:",
        "Return the squares of 1 to count.",
        ("squares(4) == [1, 4, 9, 16]", "squares(0) == []"),
    ),
    Item(
        "def flatten(rows: list) -> list:",
        "Return the items of all rows in one list.",
        ("flatten([[1, 2], [3]]) == [1, 2, 3]", "flatten([]) == []"),
    ),
    Item(
        "def tally(words: list) -> dict:",
        "Return how often each word occurs.",
        ("tally(['a', 'b', 'a']) == {'a': 2, 'b': 1}", "tally([]) == {}"),
    ),
    Item(
        "def swap(pairs: dict) -> dict:",
        "Return a dictionary with keys and values exchanged.",
        ("swap({'a': 1}) == {1: 'a'}", "swap({}) == {}"),
    ),
    Item(
        "def common(first: list, second: list) -> list:",
        "Return what both lists hold, sorted and once each.",
        ("common([3, 1, 2, 3], [3, 2, 5]) == [2, 3]", "common([], [1]) == []"),
    ),
    Item(
        "def digits(number: int) -> int:",
        "Return the sum of the decimal digits of a number that is not negative.",
        ("digits(407) == 11", "digits(0) == 0"),
    ),
    Item(
        "def power_of_two(number: int) -> bool:",
        "Tell whether a positive number is a power of two.",
        ("power_of_two(8) == True", "power_of_two(12) == False", "power_of_two(1) == True"),
    ),
    Item(
        "def steps(number: int) -> int:",
        "Count the steps to 1: an even number is halved, an odd one times three plus one.",
        ("steps(6) == 8", "steps(1) == 0"),
    ),
    Item(
        "def clamp(number: int, low: int, high: int) -> int:",
        "Return the number, or the bound that it lies beyond.",
        ("clamp(12, 0, 10) == 10", "clamp(-1, 0, 10) == 0", "clamp(4, 0, 10) == 4"),
    ),
    Item(
        "def chunks(items: list, size: int) -> list:",
        "Return the items in lists of the given size; the last one may be shorter.",
        ("chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]", "chunks([], 3) == []"),
    ),
    Item(
        "def vowels(text: str) -> int:",
        "Count the vowels a, e, i, o and u, in lower or upper case.",
        ("vowels('Education') == 5", "vowels('xyz') == 0"),
    ),
    Item(
        "def running(numbers: list) -> list:",
        "Return the sums of the first number, the first two, the first three, and so on.",
        ("running([1, 2, 3]) == [1, 3, 6]", "running([]) == []"),
    ),
)

Form = Callable[[str], Turns]
WHOLE = "Write this Python function. Answer with the whole function in one code block and nothing else."


def _turn(text: str) -> Turns:
    return [{"role": "user", "content": text}]


FORMS: dict[str, Form] = {
    "complete": lambda prompt: _turn(f"{ASK}\n\n```python\n{prompt.strip()}\n```"),
    "whole function, fenced": lambda prompt: _turn(f"{WHOLE}\n\n```python\n{prompt.strip()}\n```"),
    "whole function, bare": lambda prompt: _turn(f"{WHOLE}\n\n{prompt.strip()}"),
    "fence alone": lambda prompt: _turn(f"```python\n{prompt.strip()}\n```"),
    "code alone": lambda prompt: _turn(prompt.strip()),
    "implement": lambda prompt: _turn(f"Implement this function in Python:\n\n{prompt.strip()}"),
    "solve": lambda prompt: _turn(
        "Write a solution to the following problem and make sure that it passes the tests.\n"
        f"```python\n{prompt.strip()}\n```"
    ),
    "body": lambda prompt: _turn(
        f"Write the body of this Python function, without the signature.\n\n```python\n{prompt.strip()}\n```"
    ),
}


def main() -> None:
    """Put all items to the model in each form, and print how many pass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    model = resolve_model(parser.parse_args().model, SETTINGS)
    with tempfile.TemporaryDirectory(prefix="bench-forms-") as folder:
        home = Path(folder)
        gguf, log = home / "model.gguf", home / "log"
        convert(SETTINGS, Path(model.path or model.id), gguf, QUANTISATION, log=log)
        with serve(SETTINGS, gguf, log=log, context=2048, slots=SLOTS) as url:
            for name, form in FORMS.items():
                print(f"{name:<26}{passed(url, form, home / f'{name}.jsonl'):>3} of {len(ITEMS)}", flush=True)


def passed(url: str, form: Form, file: Path) -> int:
    """Return how many items pass in one form, decoded greedily."""
    items = {item.name: item for item in ITEMS}

    def judge(question: Question, told: Told) -> dict[str, bool]:
        item = items[question.key]
        code = human_eval_item(item.prompt, completion_in(told.text, item.name), item.test, item.name)
        return {"passed": run_checked(code.program, code.check, LIMITS).passed}

    questions = [Question(key=name, prompt=form(item.prompt)) for name, item in items.items()]
    say = ask_server(url, decoding(is_chat=True, is_greedy=True))
    lines = answer_all(say, questions, file=file, slots=SLOTS, judge=judge, on_progress=lambda *_: None)
    return sum(line["passed"] for line in lines.values())


if __name__ == "__main__":
    main()
