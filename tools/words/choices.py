"""What is chosen by its name: method, targets, place, quantisations and benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..facts import Method, Target
from .languages import (
    CLAUSE_END,
    EVALUATE,
    EXPORT,
    HERE,
    IMPORTANCE_MATRIX,
    NOR,
    NOT,
    NOT_AFTER,
    PUBLISH,
    SCHEDULE,
    THERE,
)

METHODS: tuple[tuple[Method, str], ...] = (
    ("dpo", r"\bdpo\b|direct preference"),
    ("kto", r"\bkto\b"),
    ("grpo", r"\bgrpo\b"),
    ("rloo", r"\brloo\b"),
    ("reward", r"\breward[- ]model"),
    ("distillation", r"\bdistil"),
    ("sft", r"\bsft\b|supervised|instruction[- ]tun"),
)

TARGETS: tuple[tuple[Target, str], ...] = (
    ("evaluate", EVALUATE),
    ("export", EXPORT),
    ("publish", PUBLISH),
    ("schedule", SCHEDULE),
)

_ANY_TARGET = f"(?:{'|'.join(pattern for _, pattern in TARGETS)})"

PLACES: tuple[tuple[str, str], ...] = (("local", HERE), ("hf-jobs", THERE))

QUANTISATION = re.compile(r"\b(q[2-8]_(?:k(?:_[sml])?|[01])|iq\d_\w+|bf16|f16|f32)(?:\s+gguf)?\b", re.IGNORECASE)
BENCHMARK = re.compile(r"\b(humaneval|gsm8k|ifeval|mmlu(?:[-_]pro)?|arc|hellaswag|mbpp|truthfulqa)\b", re.IGNORECASE)


def read_method(text: str, questions: list[str]) -> Method | None:
    """Return the method that is named; two are a question."""
    methods: list[Method] = [method for method, pattern in METHODS if re.search(pattern, text)]
    if len(methods) > 1:
        questions.append(f"{' and '.join(methods)} are both named: which method is meant?")
    return methods[0] if methods else None


def read_targets(text: str, questions: list[str]) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
    """Return what is asked for and what is ruled out; what is both is a question."""
    wanted: list[Target] = []
    refused: list[Target] = []
    for target, pattern in TARGETS:
        spans = list(_ruled_out(pattern, text))
        asked = any(not any(s <= m.start() < e for s, e in spans) for m in re.finditer(pattern, text))
        if spans:
            refused.append(target)
        elif asked:
            wanted.append(target)
        if spans and asked:
            questions.append(f"{target} is asked for and ruled out: which one holds?")
    return tuple(wanted), tuple(refused)


def _ruled_out(pattern: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text that rule something out, each to the end of its clause: `don't export it to GGUF`."""
    for match in re.finditer(refusal(pattern), text):
        end = re.compile(CLAUSE_END).search(text, match.end())
        yield match.start(), end.start() if end else len(text)


def refusal(pattern: str) -> str:
    """Return the pattern of ruling out what `pattern` finds."""
    before = rf"{NOT}\s*(?:\w+\s+)?(?:{_ANY_TARGET}\s+{NOR}\s+(?:\w+\s+)?)?"
    return rf"{before}{pattern}|{pattern}\s?{NOT_AFTER}"


def read_place(text: str, questions: list[str]) -> str | None:
    """Return the backend that is named; both are a question."""
    places = [place for place, pattern in PLACES if re.search(pattern, text)]
    if len(places) > 1:
        questions.append("both this machine and Hugging Face Jobs are named: where is it to run?")
    return places[0] if places else None


def read_lists(text: str) -> dict[str, Any]:
    """Return the quantisations and benchmarks that are named, in their order, and whether by an importance matrix."""
    quantisations = tuple(dict.fromkeys(q.upper() for q in QUANTISATION.findall(text)))
    benchmarks = tuple(dict.fromkeys(b.lower() for b in BENCHMARK.findall(text)))
    matrix = bool(re.search(IMPORTANCE_MATRIX, text))
    named = {"quantisations": quantisations, "importance_matrix": matrix, "benchmarks": benchmarks}
    return {name: found for name, found in named.items() if found}
