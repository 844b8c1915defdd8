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
    NUMBER_WORDS,
    PLAN_ONLY,
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

# The names of Hugging Face Jobs (`hf jobs hardware`), and GPUs by what people call them.
_GPUS = "t4|l4|l40s|a10g?|v100|a100|h100|h200|b200|rtx pro 6000"
FLAVOR = re.compile(
    r"(?<![\w./-])(?:cpu-(?:basic|upgrade|xl|performance)|t4-(?:small|medium)|(?:l4|l40s|a100|h100|h200|b200)x\d|"
    r"a10g-(?:small|large(?:x\d)?)|a100-large|rtx-pro-6000(?:x\d)?|"
    rf"(?P<gpus>[2-8]|two|four|eight)\s?[x×]?\s?(?P<of>{_GPUS})s?|{_GPUS})(?![\w./-])"
)

QUANTISATION = re.compile(r"\b(q[2-8]_(?:k(?:_[sml])?|[01])|iq\d_\w+|bf16|f16|f32)(?:\s+gguf)?\b", re.IGNORECASE)
_BITS = re.compile(
    r"\b([2-8])[- ]?bits?(?: gguf| quanti[sz]ation)|"
    r"\b(?:quanti[sz]\w*|gguf|exp[oó]rt\w*)(?: it)?(?: to| in| at| as| with)? ([2-8])[- ]?bits?\b"
)
"""Files of so many bits a weight: `a 4-bit gguf`, `quantize it to 8 bits`."""
_OF_BITS = {"2": "Q2_K", "3": "Q3_K_M", "4": "Q4_K_M", "5": "Q5_K_M", "6": "Q6_K", "8": "Q8_0"}
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


def read_plan_only(text: str) -> bool:
    """Return whether the person only wants to know: `what would it cost`, `just check it`, `don't train`."""
    return re.search(PLAN_ONLY, text) is not None


def read_flavor(text: str, questions: list[str]) -> str | None:
    """Return the flavor or the GPU that is named; two are a question."""
    named = list(dict.fromkeys(_flavor(match) for match in FLAVOR.finditer(text)))
    if len(named) > 1:
        questions.append(f"{' and '.join(named)} are both named: where is it to run?")
    return named[0] if named else None


def _flavor(match: re.Match[str]) -> str:
    """Return a flavor's name; several GPUs are named as Jobs does: `8 H100s` is `h100x8`."""
    if not match["of"]:
        return match[0]
    return f"{match['of']}x{NUMBER_WORDS.get(match['gpus'], match['gpus'])}"


def read_lists(text: str) -> tuple[dict[str, Any], str]:
    """Read the quantisations and benchmarks that are named, in their order, and whether by an importance matrix.

    Returns:
        What was found, and the text without what would say something of the training, too: bits, and bf16.
    """
    text = re.sub(r"\bbf16\b", _as_it_is_meant, text)
    bits = [first or second for first, second in _BITS.findall(text)]
    found = [*(q.upper() for q in QUANTISATION.findall(text)), *(_OF_BITS[b] for b in bits if b in _OF_BITS)]
    benchmarks = tuple(dict.fromkeys(b.lower() for b in BENCHMARK.findall(text)))
    matrix = bool(re.search(IMPORTANCE_MATRIX, text))
    named = {"quantisations": tuple(dict.fromkeys(found)), "importance_matrix": matrix, "benchmarks": benchmarks}
    return {name: value for name, value in named.items() if value}, re.sub(r"\bbf16\b", " ", _BITS.sub(" ", text))


def _as_it_is_meant(match: re.Match[str]) -> str:
    """Return `bf16` where it is the format of a file, and `bfloat16` where something is trained in it."""
    clause = re.split(r"[;.]|,(?!\s*$)", match.string[: match.start()])[-1]
    is_a_file = re.search(r"gguf|export|quanti|\bas\b|q\d_", clause) or match.string[match.end() :].startswith(" gguf")
    return "bf16" if is_a_file else "bfloat16"
