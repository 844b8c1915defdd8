"""The words of an instruction: which model, which data, which values a person stated, in any of a dozen languages.

Reading is by tables of patterns, so a new wording is a new line. Nothing here looks at disk or network; a name stays
as it was said. Where two statements contradict each other, the answer is a question, never a guess.

    languages.py    the words themselves, by language
    text.py         one way to write quotes, commas and spaces, whatever the script
    names.py        model, dataset, subset, split, teacher, rewards
    values.py       numbers with a name, budget and time
    choices.py      method, targets, place, flavor, quantisations, benchmarks
    unread.py       what was left
    reading.py      all of it, in the order in which it must be read
"""

from __future__ import annotations

from .reading import Reading, read_words

__all__ = ["Reading", "read_words"]
