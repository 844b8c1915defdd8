"""What the zoo's rows say: a few exchanges, texts and snippets, all written for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Turns = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A question with a good and a bad answer."""

    question: str
    good: str
    bad: str


EXCHANGES = tuple(
    Exchange(question=question, good=good, bad=bad)
    for question, good, bad in (
        ("Why does bread rise?", "Yeast eats sugar and breathes out gas, which lifts the dough.", "Because it is hot."),
        ("How many legs have three spiders?", "Eight legs each, so 3 * 8 = 24.", "Eighteen, six for each of them."),
        ("Name a river that ends in a desert.", "The Okavango: its delta dries up in the Kalahari.", "The Nile does."),
        ("What does a cooper make?", "Barrels, casks and buckets of wooden staves.", "Copper pots and kettles."),
        ("Is 91 a prime number?", "No: 91 = 7 * 13.", "Yes, nothing divides it."),
        ("How do I turn a list around in Python?", "Write `items[::-1]`, or call `items.reverse()`.", "You cannot."),
        ("Wie heißt „butterfly“ auf Deutsch?", "Schmetterling 🦋", "Butterfliege"),
        ("Where should a fern stand?", "In the shade, in soil that never dries out.", "In full sun, next to a cactus."),
    )
)

TEXTS = (
    "The ferry left before dawn. Nobody on the pier waved, since nobody on board was known there.",
    "A hinge that creaks wants graphite, not oil: oil gathers dust, and dust is what creaks.",
    "Die Brücke wurde zweimal gebaut, das zweite Mal aus Stein. 石の橋は今も残っている。",
    "Most of the village's clocks were wrong, but they were wrong together, so the trains were never missed.",
    "Sorting is cheap when the list is almost sorted; insertion sort needs one pass and a few swaps.",
    "She kept the receipt for the umbrella, although the umbrella had been lost on the way home.",
)

SNIPPETS = (
    "def double(x):\n    return 2 * x\n",
    'fn main() {\n    println!("{}", 6 * 7);\n}\n',
    "SELECT name FROM boats WHERE length_m > 12;\n",
    'for file in *.log; do gzip "$file"; done\n',
)

SYSTEM = "You answer in one sentence."


def user(text: Any) -> dict[str, Any]:
    """A turn of the user."""
    return {"role": "user", "content": text}


def assistant(text: Any) -> dict[str, Any]:
    """A turn of the assistant."""
    return {"role": "assistant", "content": text}


def system(text: Any = SYSTEM) -> dict[str, Any]:
    """A system turn."""
    return {"role": "system", "content": text}


def chat(number: int) -> Turns:
    """A chat of one question and its good answer."""
    return [user(EXCHANGES[number].question), assistant(EXCHANGES[number].good)]


def long_chat(number: int) -> Turns:
    """A chat of two questions and two answers."""
    return chat(number) + chat((number + 1) % len(EXCHANGES))


def shared(turns: Turns, **names: str) -> Turns:
    """A chat as ShareGPT writes it, with `names` for the roles."""
    return [{"from": names.get(turn["role"], turn["role"]), "value": turn["content"]} for turn in turns]


NUMBERS = range(len(EXCHANGES))
