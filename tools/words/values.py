"""Numbers with a name: what a person stated of the training, of money and of time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .languages import (
    AT_MOST,
    BATCH,
    BUDGET,
    DOLLARS,
    EPOCHS,
    HOURS,
    IS,
    LEARNING_RATE,
    NUMBER_WORDS,
    OTHER_MONEY,
    RANK,
    STEPS,
    UNSPACED_NUMBERS,
)

_WORDS = NUMBER_WORDS | UNSPACED_NUMBERS
_NUMBER = rf"((?<![\w.,-])\d+(?:[.,]\d+)?|\b(?:{'|'.join(NUMBER_WORDS)})|[{''.join(UNSPACED_NUMBERS)}])"
_COUNT = r"((?<![\d.,])(?:\d{1,3}(?:[.,]\d{3})+|\d+k?))\b"
_FLOAT = r"(\d+(?:\.\d+)?e-?\d+|0?\.\d+|\d+\.\d+)"
_AMOUNT = r"(\d+(?:[.,]\d+)*)"
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")


def _number(text: str) -> float:
    return float(_WORDS.get(text, 0) or text.replace(",", "."))


def _whole(text: str) -> int:
    """Read `2048`, `2k`, `2,048` and `2.048`."""
    thousands = 1024 if text.endswith("k") else 1
    return int(text.rstrip("k").replace(",", "").replace(".", "")) * thousands


def _money(text: str) -> float:
    """Read `5`, `2.50`, `1,000` and, as much of Europe writes it, `2,50`."""
    *whole, last = _THOUSANDS.sub("", text).replace(",", ".").split(".")
    return float(f"{''.join(whole)}.{last}" if whole else last)


@dataclass(frozen=True, kw_only=True)
class Value:
    """How one value is said."""

    name: str
    pattern: str
    read: Callable[[str], Any]


OVERRIDES: tuple[Value, ...] = (
    Value(name="num_train_epochs", pattern=rf"{_NUMBER}[- ]?{EPOCHS}", read=_number),
    Value(name="num_train_epochs", pattern=rf"(?:\bnum_train_epochs\b|{EPOCHS})\s*[=:]?\s*(\d+(?:[.,]\d+)?)\b(?!\s*{STEPS})", read=_number),
    Value(name="max_steps", pattern=rf"{_COUNT}\s*{STEPS}", read=_whole),
    Value(name="max_steps", pattern=rf"\bmax[_ ]steps{IS}{_COUNT}", read=_whole),
    Value(name="learning_rate", pattern=rf"{LEARNING_RATE}{IS}{_FLOAT}", read=float),
    Value(name="r", pattern=rf"{RANK}{IS}(\d+)\b", read=int),
    Value(name="lora_alpha", pattern=rf"\b(?:lora[_ -])?alpha{IS}(\d+)\b", read=int),
    Value(name="per_device_train_batch_size", pattern=rf"{BATCH}{IS}(\d+)\b", read=int),
    Value(name="gradient_accumulation_steps", pattern=rf"\b(?:gradient[_ ]accumulation(?:[_ ]steps)?|accumulation){IS}(\d+)\b", read=int),
    Value(name="max_length", pattern=rf"\b(?:max(?:imum)?[_ -]?(?:seq(?:uence)?[_ -]?)?len(?:gth)?|(?:context|sequence|seq)[_ -]?len(?:gth)?|context(?: window)?|ctx){IS}{_COUNT}", read=_whole),
    Value(name="max_completion_length", pattern=rf"\bmax(?:imum)?[_ -]?completion[_ -]?(?:len(?:gth)?|tokens){IS}{_COUNT}", read=_whole),
    Value(name="max_completion_length", pattern=rf"\b(?:completions|answers) of (?:at most |up to )?{_COUNT} tokens\b", read=_whole),
    Value(name="num_generations", pattern=rf"\bnum[_ -]generations{IS}(\d+)\b", read=int),
    Value(name="num_generations", pattern=r"\b(\d+)\s+(?:generations|completions|answers|rollouts)\b(?: (?:a|per|for each) prompt)?", read=int),
    Value(name="beta", pattern=rf"\bbeta{IS}(\d+(?:\.\d+)?)\b", read=float),
    Value(name="temperature", pattern=rf"\btemperature{IS}(\d+(?:\.\d+)?)\b", read=float),
    Value(name="seed", pattern=rf"\bseed{IS}(\d+)\b", read=int),
    Value(name="warmup_ratio", pattern=rf"\bwarm-?up(?:[_ ]ratio)?{IS}(0?\.\d+)\b", read=float),
    Value(name="weight_decay", pattern=rf"\bweight[_ ]decay{IS}{_FLOAT}", read=float),
    Value(name="lr_scheduler_type", pattern=r"\b(cosine|linear|constant)(?:[- ](?:schedule|scheduler|decay|lr))", read=str),
    Value(name="packing", pattern=r"\b(no packing|without packing|packing\s*[=:]?\s*false)\b", read=lambda _: False),
    Value(name="packing", pattern=r"(?<!no )(?<!without )\b(packing)\b(?!\s*[=:]?\s*false)", read=lambda _: True),
    Value(name="adapter", pattern=r"\b(qlora|4-bit lora)\b", read=lambda _: "qlora"),
    Value(name="adapter", pattern=r"(?<!no )(?<!without )\b(lora)\b", read=lambda _: "lora"),
    Value(name="adapter", pattern=r"\b(full(?:[- ]parameter)?[- ](?:fine-?tun\w*|fine tun\w*|tuning|finetun\w*|training)|all parameters|without lora|no lora)\b", read=lambda _: "full"),
)  # fmt: skip

LIMITS: tuple[Value, ...] = (
    Value(name="budget_usd", pattern=rf"(?:\$|\busd\s?)\s?{_AMOUNT}", read=_money),
    Value(name="budget_usd", pattern=rf"(?<![\d.,]){_AMOUNT}\s?(?:\$|€|{DOLLARS})", read=_money),
    Value(name="budget_usd", pattern=rf"{BUDGET}(?:\s+of|\s*[=:])?\s+{_AMOUNT}\b(?!\s?{OTHER_MONEY})", read=_money),
    Value(name="max_hours", pattern=rf"{AT_MOST}\s+(\d+(?:\.\d+)?)\s*{HOURS}", read=float),
)  # fmt: skip

_FOREIGN_MONEY = re.compile(rf"(?<![\d.,]){_AMOUNT}\s?{OTHER_MONEY}")


def read_overrides(text: str, questions: list[str]) -> dict[str, Any]:
    """Return what is stated of the training, under TRL's and PEFT's names."""
    return _read(OVERRIDES, text, questions)


def read_limits(text: str, questions: list[str]) -> dict[str, Any]:
    """Return the budget in US dollars and the hours, as far as they are stated."""
    found = _read(LIMITS, text, questions)
    if "budget_usd" not in found and (match := _FOREIGN_MONEY.search(text)):
        questions.append(f"how much is `{match[0].strip()}` in US dollars? Jobs are paid in those.")
    return found


def _read(table: tuple[Value, ...], text: str, questions: list[str]) -> dict[str, Any]:
    into: dict[str, Any] = {}
    for value in table:
        for match in re.finditer(value.pattern, text):
            found = value.read(match.group(1))
            known = into.setdefault(value.name, found)
            if known != found and not (value.name == "adapter" and {known, found} == {"qlora", "lora"}):
                question = f"{value.name} is stated as {known} and as {found}: which one holds?"
                if question not in questions:
                    questions.append(question)
    return into
