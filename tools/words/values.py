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
    CENTS,
    DOLLARS,
    EPOCHS,
    HAVE,
    HOURS,
    IS,
    LEARNING_RATE,
    MINUTES,
    NUMBER_WORDS,
    OTHER_MONEY,
    RANK,
    STEPS,
    UNSPACED_NUMBERS,
)

_WORDS = NUMBER_WORDS | UNSPACED_NUMBERS
_IN_WORDS = rf"(?:{'|'.join(NUMBER_WORDS)})"
_NUMBER = rf"((?<![\w.-])(?<!\d,)\d+(?:[.,]\d+)?|\b{_IN_WORDS}|[{''.join(UNSPACED_NUMBERS)}])"
_COUNT = r"((?<![\d.,])(?:\d{1,3}(?:[.,]\d{3})+|\d+k?))\b"
_FLOAT = r"(\d+(?:\.\d+)?e-?\d+|0?\.\d+|\d+\.\d+)"
_SHARE = r"(0?\.\d+|\d+(?:\.\d+)?\s?%)"
_AMOUNT = r"(\d+(?:[.,]\d+)*)"
_MONEY = rf"((?<![\d.,])\d+(?:[.,]\d+)*|\ba(?=\s)|\b{_IN_WORDS}\b|[{''.join(UNSPACED_NUMBERS)}])"
_TIME = rf"(\d+(?:[.,]\d+)?|\b(?:an?(?: half)?|half an?|{'|'.join(NUMBER_WORDS)})\b|[{''.join(UNSPACED_NUMBERS)}])"
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")


def _number(text: str) -> float:
    """Read `2`, `0.5`, `0,5`, `two`, `an` and `half an`."""
    if text.startswith(("half", "a half")):
        return 0.5
    return 1.0 if text in ("a", "an") else float(_WORDS.get(text, 0) or text.replace(",", "."))


def _whole(text: str) -> int:
    """Read `2048`, `2k`, `2,048` and `2.048`."""
    thousands = 1024 if text.endswith("k") else 1
    return int(text.rstrip("k").replace(",", "").replace(".", "")) * thousands


def share(text: str) -> float:
    """Read `0.03` and `3 %`."""
    return float(text.rstrip("% ")) / 100 if text.endswith("%") else float(text)


def stated_twice(name: str, one: object, other: object) -> str:
    """Return the question about a value that was said twice; `tools/answered.py` reads its answer."""
    return f"{name} is stated as {one} and as {other}: which one holds?"


def _money(text: str) -> float:
    """Read `5`, `five`, `2.50`, `1,000` and, as much of Europe writes it, `2,50`."""
    if not text[0].isdigit():
        return _number(text)
    *whole, last = _THOUSANDS.sub("", text).replace(",", ".").split(".")
    return float(f"{''.join(whole)}.{last}" if whole else last)


@dataclass(frozen=True, kw_only=True)
class Value:
    """How one value is said."""

    name: str
    pattern: str
    read: Callable[[str], Any]


# Read from the top: what one pattern has found, no later one sees.
OVERRIDES: tuple[Value, ...] = (
    Value(name="adapter", pattern=r"\b(qlora|(?:in )?4[- ]?bits?(?: (?:lora|quanti[sz]ed|training|base))?|load[_ ]in[_ ]4bit)\b(?! gguf)", read=lambda _: "qlora"),
    Value(name="adapter", pattern=r"(?<!no )(?<!without )\b(lora)\b", read=lambda _: "lora"),
    Value(name="adapter", pattern=r"\b(full(?:[- ]parameter)?[- ](?:fine-?tun\w*|fine tun\w*|tuning|finetun\w*|training)|all parameters|without lora|no lora|adapter\s*[=:]\s*full)\b", read=lambda _: "full"),
    Value(name="warmup_steps", pattern=rf"\bwarm-?up(?:[_ ](?:ratio|steps))?{IS}{_SHARE}", read=share),
    Value(name="warmup_steps", pattern=rf"{_SHARE}\s*(?:of\s+)?warm-?up\b", read=share),
    Value(name="warmup_steps", pattern=rf"\bwarm-?up(?:[_ ]steps)?{IS}(?:for |over )?{_COUNT}(?:\s*{STEPS})?", read=_whole),
    Value(name="warmup_steps", pattern=rf"{_COUNT}[- ]?(?:(?:{STEPS}|step)\s*(?:of\s+)?)?warm-?up(?:\s*{STEPS})?", read=_whole),
    Value(name="num_train_epochs", pattern=rf"\b(half an?|a half|an?(?= (?:single )?epoch))\s+(?:single )?{EPOCHS}", read=_number),
    Value(name="num_train_epochs", pattern=rf"{_NUMBER}[- ]?{EPOCHS}", read=_number),
    Value(name="num_train_epochs", pattern=r"(?<![\w.,-])(\d+(?:[.,]\d+)?)ep\b", read=_number),
    Value(name="num_train_epochs", pattern=rf"(?:\bnum_train_epochs\b|{EPOCHS})\s*[=:]?\s*(\d+(?:[.,]\d+)?)\b(?!\s*{STEPS})", read=_number),
    Value(name="max_steps", pattern=rf"{_COUNT}\s*{STEPS}", read=_whole),
    Value(name="max_steps", pattern=rf"\bmax[_ ]steps{IS}{_COUNT}", read=_whole),
    Value(name="learning_rate", pattern=rf"{LEARNING_RATE}{IS}{_FLOAT}", read=float),
    Value(name="r", pattern=rf"{RANK}{IS}(\d+|{_IN_WORDS})\b", read=lambda text: round(_number(text))),
    Value(name="lora_alpha", pattern=rf"\b(?:lora[_ -])?alpha{IS}(\d+)\b", read=int),
    Value(name="gradient_accumulation_steps", pattern=r"(?:[x×*]\s*)?\b(\d+)\s*(?:steps of )?(?:gradient[_ ])?accum\w*\b(?!\s*\d)", read=int),
    Value(name="per_device_train_batch_size", pattern=rf"(?<!effective )(?<!global )(?<!total ){BATCH}{IS}(\d+)\b", read=int),
    Value(name="gradient_accumulation_steps", pattern=rf"\b(?:gradient[_ ]accumulation(?:[_ ]steps)?|accumulation|ga|grad[_ ]acc(?:um)?){IS}(\d+)\b", read=int),
    Value(name="max_length", pattern=rf"\b(?:max(?:imum)?[_ -]?(?:seq(?:uence)?[_ -]?)?len(?:gth)?|(?:context|sequence|seq)[_ -]?len(?:gth)?|context(?: window| size)?|ctx|block[_ -]?size){IS}{_COUNT}", read=_whole),
    Value(name="max_length", pattern=rf"{_COUNT}(?:[- ]tokens?)?[- ](?:context|ctx|sequences?\b|seq(?:uence)?[ -]?len)", read=_whole),
    Value(name="max_completion_length", pattern=rf"\bmax(?:imum)?[_ -]?completion[_ -]?(?:len(?:gth)?|tokens){IS}{_COUNT}", read=_whole),
    Value(name="max_completion_length", pattern=rf"\b(?:completions|answers) of (?:at most |up to )?{_COUNT} tokens\b", read=_whole),
    Value(name="num_generations", pattern=rf"\bnum[_ -]generations{IS}(\d+)\b", read=int),
    Value(name="num_generations", pattern=r"\b(\d+)\s+(?:generations|completions|answers|rollouts)\b(?: (?:a|per|for each) prompt)?", read=int),
    Value(name="beta", pattern=rf"\bbeta{IS}(\d+(?:\.\d+)?)\b", read=float),
    Value(name="temperature", pattern=rf"\btemperature{IS}(\d+(?:\.\d+)?)\b", read=float),
    Value(name="seed", pattern=rf"\bseed{IS}(\d+)\b", read=int),
    Value(name="weight_decay", pattern=rf"\bweight[_ ]decay{IS}{_FLOAT}", read=float),
    Value(name="lr_scheduler_type", pattern=r"\b(cosine|linear|constant)(?:[- ](?:schedule|scheduler|decay|lr))", read=str),
    Value(name="lr_scheduler_type", pattern=r"(?:^|[,;(])\s*(cosine|constant)\s*(?=$|[,;.)])", read=str),
    Value(name="precision", pattern=r"\b(?:in |with )?(fp32|float32|full precision)\b", read=lambda _: "fp32"),
    Value(name="precision", pattern=r"\b(?:in |with )?(fp16|float16|half precision)\b", read=lambda _: "fp16"),
    Value(name="precision", pattern=r"\b(?:in |with )?(bfloat16)\b", read=lambda _: "bf16"),
    Value(name="packing", pattern=r"\b(no packing|without packing|packing\s*[=:]?\s*false)\b", read=lambda _: False),
    Value(name="packing", pattern=r"(?<!no )(?<!without )\b(packing)\b(?!\s*[=:]?\s*false)", read=lambda _: True),
    Value(name="gradient_checkpointing", pattern=r"\b((?:no|without) (?:gradient|activation)[_ -]checkpointing)\b", read=lambda _: False),
    Value(name="gradient_checkpointing", pattern=r"\b((?:gradient|activation)[_ -]checkpointing)\b", read=lambda _: True),
    Value(name="lora_dropout", pattern=rf"\b(?:lora[_ -])?dropout{IS}{_SHARE}", read=share),
)  # fmt: skip

LIMITS: tuple[Value, ...] = (
    Value(name="budget_usd", pattern=rf"(?:[$€]|\b(?:usd|eur)\s?)\s?{_AMOUNT}(?!\s?(?:million|k\b))", read=_money),
    Value(name="budget_usd", pattern=rf"{_MONEY}\s?{CENTS}", read=lambda text: _money(text) / 100),
    Value(name="budget_usd", pattern=rf"{_MONEY}\s?(?:\$|€|{DOLLARS})", read=_money),
    Value(name="budget_usd", pattern=rf"{BUDGET}(?:\s+of|\s+is|\s*[=:])?\s+{_AMOUNT}\b(?!\s?{OTHER_MONEY})", read=_money),
    Value(name="max_hours", pattern=rf"{AT_MOST}\s+{_TIME}\s*{HOURS}", read=_number),
    Value(name="max_hours", pattern=rf"{AT_MOST}\s+{_TIME}\s*{MINUTES}", read=lambda text: _number(text) / 60),
    Value(name="max_hours", pattern=rf"{HAVE}\s+(?:only\s+)?{_TIME}\s*{HOURS}", read=_number),
    Value(name="max_hours", pattern=rf"{HAVE}\s+(?:only\s+)?{_TIME}\s*{MINUTES}", read=lambda text: _number(text) / 60),
)  # fmt: skip
BARE_RATE = Value(
    name="learning_rate", pattern=r"(?:^|[\s,(]|\bat |\bwith |@)(\d+(?:\.\d+)?e-0?[3-7])(?=$|[\s,;.)])", read=float
)
"""A number that nothing stands before, written as nobody writes anything but a learning rate."""

_OTHER_STEPS = re.compile(rf"(?:every|each|alle) {_COUNT}\s*{STEPS}")
"""Steps that are not those of the training: `evaluate every 200 steps`."""
_FOREIGN_MONEY = re.compile(rf"(?<![\d.,]){_AMOUNT}\s?{OTHER_MONEY}")


def read_values(text: str, questions: list[str]) -> tuple[dict[str, Any], str]:
    """Read what is stated of the training, under TRL's and PEFT's names, and of money and time.

    Args:
        text: An instruction in lower case, without its names.
        questions: Gets what was said in two ways, and money that is not dollars.

    Returns:
        The values, among them `budget_usd` in US dollars and `max_hours`; and the text without what was read.
    """
    heard, text = text, _OTHER_STEPS.sub(lambda match: " " * len(match[0]), text)
    found, rest = _read((*LIMITS, *OVERRIDES), text, questions)
    if "learning_rate" not in found:
        rate, rest = _read((BARE_RATE,), rest, questions)
        found |= rate
    if "budget_usd" not in found and (match := _FOREIGN_MONEY.search(rest)):
        questions.append(f"how much is `{match[0].strip()}` in US dollars? Jobs are paid in those.")
        rest = rest[: match.start()] + " " * len(match[0]) + rest[match.end() :]
    for match in _OTHER_STEPS.finditer(heard):
        rest = rest[: match.start()] + match[0] + rest[match.end() :]
    return found, rest


def _read(table: tuple[Value, ...], text: str, questions: list[str]) -> tuple[dict[str, Any], str]:
    into: dict[str, Any] = {}
    for value in table:
        for match in re.finditer(value.pattern, text):
            text = text[: match.start()] + " " * len(match[0]) + text[match.end() :]
            found = value.read(match.group(1))
            known = into.setdefault(value.name, found)
            if known != found and not (value.name == "adapter" and {known, found} == {"qlora", "lora"}):
                question = stated_twice(value.name, known, found)
                if question not in questions:
                    questions.append(question)
    return into, text
