"""The words of an instruction: which model, which data, which values a person stated.

Reading is by tables of patterns, so a new wording is a new line. Nothing here looks at disk or network; a name stays
as it was said. Where two statements contradict each other, the answer is a question, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .facts import Method, Target, Trigger
from .triggers import TriggerReading, read_trigger

REWARDS = ("exact_answer", "math_equality", "code_passes_tests", "format_matches", "length_within")
DATA_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".gz", ".zst")

# A name in an instruction: a quoted text, or a run of characters that model ids, dataset ids and paths are made of.
# The Hub allows letters, digits and -_. in names (huggingface_hub, utils/_validators.py).
_NAME = r"(?:\"(?P<{0}_quoted>[^\"]+)\"|`(?P<{0}_ticked>[^`]+)`|'(?P<{0}_single>[^']+)'|(?P<{0}_bare>[\w.~/:\\@+-]+))"

_TRAIN = (
    r"fine[- ]?tun(?:e|ing)|finetun(?:e|ing)|post-?train(?:ing)?|train(?:ing)?|tun(?:e|ing)|adapt(?:ing)?|"
    r"teach(?:ing)?|align(?:ing)?|distil+(?:ing)?|sft|dpo|kto|grpo|rloo|"
    r"feintune|trainiere|entra[iî]ner?|affiner?|ajusta(?:r)?|entrena(?:r)?|afinar?|treina(?:r)?|addestra(?:re)?"
)
_ON = r"on|with|using|over|from|against|upon|mit|auf|anhand|sur|avec|con|sobre|en|com|su"
_ARTICLE = (
    r"(?:(?:the|a|an|my|our|this|that|base|model|modell|modèle|modelo|modello|das|dem|den|der|die|mein|le|la|el|il|o|"
    r"dataset|data|set|file|datensatz|daten|jeu|de|données|datos|conjunto|subset|called|named|of)\s+)*"
)

# Words that stand where a name could stand and are none.
_NO_NAME = frozenset(
    [
        "a",
        "an",
        "the",
        "my",
        "our",
        "this",
        "that",
        "it",
        "them",
        "model",
        "base",
        "data",
        "dataset",
        "lora",
        "qlora",
        "full",
        "rank",
        "epochs",
        "epoch",
        "lr",
        "learning",
        "batch",
        "evaluation",
        "gguf",
        "humaneval",
        "jobs",
        "gpu",
        "cpu",
        "hub",
        "hf",
        "hugging",
        "face",
        "huggingface",
        "local",
        "locally",
        "one",
        "two",
        "three",
        "supervised",
        "preference",
        "and",
        "or",
        "then",
        "for",
        "at",
        "in",
        "to",
        "sft",
        "dpo",
        "kto",
        "grpo",
        "rloo",
        "reward",
        "packing",
        "adapter",
        "adapters",
        "parameters",
        "trl",
        "peft",
        "budget",
        "max",
        "maximum",
        "steps",
        "seed",
        "llm",
        "small",
        "tiny",
        "better",
    ]
)

_NUMBER_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10, "half": 0.5, "ein": 1, "eine": 1,
    "einer": 1, "zwei": 2, "drei": 3, "une": 1, "deux": 2, "trois": 3, "una": 1, "dos": 2, "tres": 3, "due": 2,
    "tre": 3, "duas": 2, "três": 3,
}  # fmt: skip
_NUMBER = r"(\d+(?:[.,]\d+)?|" + "|".join(_NUMBER_WORDS) + ")"
_IS = r"\s*(?:size|rate|length|of|to|=|:|is|at|von|de)*\s*(?:=|:)?\s*"


def _number(text: str) -> float:
    return float(_NUMBER_WORDS.get(text, 0) or text.replace(",", "."))


def _whole(text: str) -> int:
    """Read `2048`, `2k`, `2,048`."""
    thousands = 1024 if text.endswith("k") else 1
    return int(float(text.rstrip("k").replace(",", "")) * thousands)


def _money(text: str) -> float:
    return float(text.replace(",", ""))


@dataclass(frozen=True, kw_only=True)
class _Value:
    """How one value is said."""

    name: str
    pattern: str
    read: Callable[[str], Any]


_EPOCHS = r"(?:epochs?|epochen?|époques?|épocas?|epocas?|epoche)"
_FLOAT = r"(\d+(?:\.\d+)?e-?\d+|0?\.\d+|\d+\.\d+)"
_COUNT = r"(\d[\d,]*k?)\b"

OVERRIDES: tuple[_Value, ...] = (
    _Value(name="num_train_epochs", pattern=rf"\b{_NUMBER}[- ]{_EPOCHS}\b", read=_number),
    _Value(name="num_train_epochs", pattern=rf"\b(?:num_train_)?{_EPOCHS}\s*[=:]?\s*(\d+(?:\.\d+)?)\b", read=_number),
    _Value(name="max_steps", pattern=r"\b(\d[\d,]*k?)\s+(?:training |optimi[sz]er )?steps\b", read=_whole),
    _Value(name="max_steps", pattern=rf"\bmax[_ ]steps{_IS}{_COUNT}", read=_whole),
    _Value(name="learning_rate", pattern=rf"\b(?:lr|learning[_ -]rate|lernrate){_IS}{_FLOAT}", read=float),
    _Value(name="r", pattern=rf"\b(?:lora[_ -])?(?:rank|r|rang|rango){_IS}(\d+)\b", read=int),
    _Value(name="lora_alpha", pattern=rf"\b(?:lora[_ -])?alpha{_IS}(\d+)\b", read=int),
    _Value(
        name="per_device_train_batch_size",
        pattern=rf"\b(?:per_device_train_batch_size|(?:micro[- ]?)?batch(?:[_ -]size)?|bs){_IS}(\d+)\b",
        read=int,
    ),
    _Value(
        name="gradient_accumulation_steps",
        pattern=rf"\b(?:gradient[_ ]accumulation(?:[_ ]steps)?|accumulation){_IS}(\d+)\b",
        read=int,
    ),
    _Value(
        name="max_length",
        pattern=rf"\b(?:max(?:imum)?[_ -]?(?:seq(?:uence)?[_ -]?)?len(?:gth)?|(?:context|sequence|seq)[_ -]?len(?:gth)?|"
        rf"context(?: window)?){_IS}{_COUNT}",
        read=_whole,
    ),
    _Value(
        name="max_completion_length",
        pattern=rf"\bmax(?:imum)?[_ -]?completion[_ -]?(?:len(?:gth)?|tokens){_IS}{_COUNT}",
        read=_whole,
    ),
    _Value(
        name="max_completion_length",
        pattern=r"\b(?:completions|answers) of (?:at most |up to )?(\d[\d,]*k?) tokens\b",
        read=_whole,
    ),
    _Value(name="num_generations", pattern=rf"\bnum[_ -]generations{_IS}(\d+)\b", read=int),
    _Value(
        name="num_generations",
        pattern=r"\b(\d+)\s+(?:generations|completions|answers|rollouts)\b(?: (?:a|per|for each) prompt)?",
        read=int,
    ),
    _Value(name="beta", pattern=rf"\bbeta{_IS}(\d+(?:\.\d+)?)\b", read=float),
    _Value(name="temperature", pattern=rf"\btemperature{_IS}(\d+(?:\.\d+)?)\b", read=float),
    _Value(name="seed", pattern=rf"\bseed{_IS}(\d+)\b", read=int),
    _Value(name="warmup_ratio", pattern=rf"\bwarm-?up(?:[_ ]ratio)?{_IS}(0?\.\d+)\b", read=float),
    _Value(name="weight_decay", pattern=rf"\bweight[_ ]decay{_IS}{_FLOAT}", read=float),
    _Value(
        name="lr_scheduler_type", pattern=r"\b(cosine|linear|constant)(?:[- ](?:schedule|scheduler|decay|lr))", read=str
    ),
    _Value(name="packing", pattern=r"\b(no packing|without packing|packing\s*[=:]?\s*false)\b", read=lambda _: False),
    _Value(name="packing", pattern=r"(?<!no )(?<!without )\b(packing)\b(?!\s*[=:]?\s*false)", read=lambda _: True),
    _Value(name="adapter", pattern=r"\b(qlora|4-bit lora)\b", read=lambda _: "qlora"),
    _Value(name="adapter", pattern=r"(?<!no )(?<!without )\b(lora)\b", read=lambda _: "lora"),
    _Value(
        name="adapter",
        pattern=r"\b(full(?:[- ]parameter)?[- ](?:fine-?tun\w*|tuning|finetun\w*|training)|all parameters|without lora|no lora)\b",
        read=lambda _: "full",
    ),
)

LIMITS: tuple[_Value, ...] = (
    _Value(name="budget_usd", pattern=r"(?:\$|usd\s?)\s?(\d[\d,]*(?:\.\d+)?)", read=_money),
    _Value(
        name="budget_usd", pattern=r"\b(\d[\d,]*(?:\.\d+)?)\s?(?:\$|dollars?|usd|bucks|dólares|euros?|€)", read=_money
    ),
    _Value(name="budget_usd", pattern=r"\bbudget(?:\s+of|\s*[=:])?\s+(\d+(?:\.\d+)?)\b", read=_money),
    _Value(
        name="max_hours",
        pattern=r"\b(?:within|under|at most|max(?:imum)?|less than|in|up to|no more than)\s+(\d+(?:\.\d+)?)\s*(?:h|hours?|stunden)\b",
        read=float,
    ),
)

_METHODS: tuple[tuple[Method, str], ...] = (
    ("dpo", r"\bdpo\b|direct preference"),
    ("kto", r"\bkto\b"),
    ("grpo", r"\bgrpo\b"),
    ("rloo", r"\brloo\b"),
    ("reward", r"\breward[- ]model"),
    ("distillation", r"\bdistil"),
    ("sft", r"\bsft\b|supervised|instruction[- ]tun"),
)

_NOT = r"(?:no|not|without|don'?t|do not|skip(?: the)?|ohne|sans|sin)\s+(?:\w+\s+)?"
_TARGETS: tuple[tuple[Target, str], ...] = (
    ("evaluate", r"\b(?:compar\w+|evaluat\w+|eval|benchmark\w*|measure\w*|vergleich\w*|évalu\w+|evalú\w+|humaneval|gsm8k|"
                 r"ifeval|mmlu|how much better)\b"),
    ("export", r"\b(?:export\w*|gguf|quanti[sz]\w*|ollama|llama\.?cpp|q\d_[k01]\w*|imatrix|importance matrix)\b"),
    ("publish", r"\b(?:publish\w*|push\w*|upload\w*|veröffentlich\w*|publier?)\b"),
    ("schedule", r"\b(?:whenever|each time|cron|schedul\w+|repeatedly|regularly)\b"),
)  # fmt: skip

_BACKENDS: tuple[tuple[str, str], ...] = (
    ("local", r"\b(?:locally|on this (?:machine|computer|laptop|cpu|gpu)|on my (?:machine|computer|laptop|gpu|cpu)|lokal)\b"),
    ("hf-jobs", r"\b(?:hf[- ]jobs|hugging ?face jobs|on jobs|in the cloud)\b"),
)  # fmt: skip

_QUANTISATION = re.compile(r"\b(q[2-8]_(?:k(?:_[sml])?|[01])|iq\d_\w+|bf16|f16|f32)(?:\s+gguf)?\b", re.IGNORECASE)
_IMPORTANCE = r"\b(?:imatrix|importance matrix)\b"
_BENCHMARK = re.compile(r"\b(humaneval|gsm8k|ifeval|mmlu(?:[-_]pro)?|arc|hellaswag|mbpp|truthfulqa)\b", re.IGNORECASE)
_SIZE = re.compile(r"(?i)(?:^|[-_.])\d+(?:\.\d+)?(?:b|m)(?:[-_.]|$)|\d[bm]$")


@dataclass(kw_only=True)
class Reading:
    """What an instruction says, before anything was looked up."""

    model: str | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str | None = None
    method: Method | None = None
    targets: tuple[Target, ...] = ()
    refused_targets: tuple[Target, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)
    budget_usd: float | None = None
    max_hours: float | None = None
    backend: str | None = None
    trigger: Trigger | None = None
    questions: list[str] = field(default_factory=list)


def read_words(text: str) -> Reading:
    """Read one instruction.

    Args:
        text: The instruction, in any of a few European languages; names may be quoted.

    Returns:
        What was said, under the names of `Spec`; a value that was said twice differently becomes a question.
    """
    reading = Reading()
    when = read_trigger(text)
    rest = _read_names(when.rest, reading)
    lowered = rest.lower()
    _read_values(OVERRIDES, lowered, reading.overrides, reading.questions)
    limits: dict[str, Any] = {}
    _read_values(LIMITS, lowered, limits, reading.questions)
    reading.budget_usd, reading.max_hours = limits.get("budget_usd"), limits.get("max_hours")
    _read_choices(lowered, reading)
    _read_when(when, reading)
    if "teacher" in reading.overrides and reading.method is None:
        reading.method = "distillation"  # nothing else has one
    return reading


def _read_names(text: str, reading: Reading) -> str:
    """Take model, dataset, subset and split out of the text; return it without them, so that no name is read as a value."""
    rest = _read_teacher(text, reading)
    rest = _read_rewards(rest, reading)
    for attribute, pattern in (
        ("subset", rf"\b(?:subset|config(?:uration)?)\s*[=:]?\s*{_NAME.format('n')}"),
        ("split", rf"\bsplit\s*[=:]?\s*{_NAME.format('n')}"),
    ):
        if (match := re.search(pattern, rest, re.IGNORECASE)) and (name := _name(match)):
            setattr(reading, attribute, name)
            rest = _without(rest, match)
    reading.dataset, rest = _find(rest, _DATASET_PATTERNS, _is_data)
    reading.model, rest = _find(rest, _MODEL_PATTERNS, _is_model)
    if reading.dataset is None:
        reading.dataset, rest = _find(rest, _DATASET_PATTERNS, _is_word)
    return rest


_TEACHERS = (
    rf"\b(?:distil+(?:ing)?)\s+{_ARTICLE}{_NAME.format('n')}\s+(?:in)?to\b",
    rf"{_NAME.format('n')}\s+(?:as|is)\s+(?:the\s+)?teacher\b",
    rf"\bteacher(?:[ -]model)?\s*(?:is|[=:])?\s+{_NAME.format('n')}",
)


def _read_teacher(text: str, reading: Reading) -> str:
    """Take the model that is learned from out of the text."""
    for pattern in _TEACHERS:
        if (match := re.search(pattern, text, re.IGNORECASE)) and (name := _name(match)).lower() not in _NO_NAME:
            reading.overrides["teacher"] = name
            into = re.sub(r"\s+(?:in)?to$", "", match[0], flags=re.IGNORECASE)  # what follows it is the student
            return text[: match.start()] + into.replace(name, " ") + text[match.end() :]
    return text


def _read_rewards(text: str, reading: Reading) -> str:
    """Take the rewards out of the text: those that ftagent knows by their names, and functions of files."""
    found: dict[str, None] = {}
    for pattern in (r"[\w./~-]+\.py:\w+", rf"\b(?:{'|'.join(name.replace('_', '[_ ]') for name in REWARDS)})\b"):
        for match in re.finditer(pattern, text):
            found[match[0] if ":" in match[0] else match[0].replace(" ", "_")] = None
        text = re.sub(pattern, " ", text)
    if found:
        reading.overrides["rewards"] = tuple(found)
    return text


_DATASET_PATTERNS = (
    rf"\b(?:dataset|data ?set|datensatz|corpus|data)\s*(?:is|[=:])?\s+{_NAME.format('n')}",
    rf"\b(?:{_ON})\s+{_ARTICLE}{_NAME.format('n')}",
    rf"(?:^|\s){_NAME.format('n')}",
)
_MODEL_PATTERNS = (
    rf"\bmodel\s*(?:is|[=:])?\s+{_NAME.format('n')}",
    rf"\b(?:{_TRAIN})\s+(?:(?:of|for|a|von)\s+)?{_ARTICLE}{_NAME.format('n')}",
    rf"(?:^|\s){_NAME.format('n')}",
)


def _find(text: str, patterns: tuple[str, ...], accept: Callable[[str, int], bool]) -> tuple[str | None, str]:
    for rank, pattern in enumerate(patterns):
        start = 0
        while match := re.compile(pattern, re.IGNORECASE).search(text, start):
            name = _name(match)
            if name and accept(name, rank):
                return name, _without(text, match)
            start = match.start() + 1
    return None, text


def _is_data(name: str, rank: int) -> bool:
    """A path, a file name, an `org/name`; the loosest pattern takes files only, since an `org/name` may be the model."""
    if name.lower() in _NO_NAME:
        return False
    if name.lower().endswith(DATA_ENDINGS) or name.startswith("hf://datasets/"):
        return True
    return rank < 2 and ("/" in name or (rank == 0 and "-" in name))


def _is_model(name: str, rank: int) -> bool:
    if name.lower() in _NO_NAME or name.replace(".", "").isdigit():
        return False
    if rank < 2:
        return "/" in name or any(c.isdigit() for c in name) or "-" in name or name.startswith((".", "~"))
    return "/" in name or _SIZE.search(name) is not None


def _is_word(name: str, rank: int) -> bool:
    """A bare dataset name such as `gsm8k`, but only straight behind `on` or `dataset`."""
    return rank < 2 and name.lower() not in _NO_NAME and len(name) > 2 and not name[0].isdigit() and name[0] != "$"


def _name(match: re.Match[str]) -> str:
    found = next(v for k, v in match.groupdict().items() if k.startswith("n_") and v is not None)
    return found.rstrip(".:") if match.groupdict().get("n_bare") else found


def _without(text: str, match: re.Match[str]) -> str:
    """Cut the name out of the text and leave the words before it."""
    group = next(k for k, v in match.groupdict().items() if k.startswith("n_") and v is not None)
    return text[: match.start(group)] + " " + text[match.end(group) :]


def _read_values(table: tuple[_Value, ...], text: str, into: dict[str, Any], questions: list[str]) -> None:
    for value in table:
        for match in re.finditer(value.pattern, text):
            found = value.read(match.group(1))
            known = into.setdefault(value.name, found)
            if known != found and not (value.name == "adapter" and {known, found} == {"qlora", "lora"}):
                question = f"{value.name} is stated as {known} and as {found}: which one holds?"
                if question not in questions:
                    questions.append(question)


def _read_when(when: TriggerReading, reading: Reading) -> None:
    """Take over when the run is to be repeated; a dataset that is only named where it is watched is the run's own."""
    if when.trigger is None and when.question is None:
        if "schedule" in reading.targets:
            reading.questions.append("when is it to run? Say, for example: every night at 2")
        return
    reading.trigger = when.trigger
    if when.question:
        reading.questions.append(when.question)
    if "schedule" not in reading.targets:
        reading.targets = (*reading.targets, "schedule")
    if reading.dataset is None and when.trigger is not None and when.trigger.watched:
        reading.dataset = when.trigger.watched


def _read_choices(text: str, reading: Reading) -> None:
    methods: list[Method] = [method for method, pattern in _METHODS if re.search(pattern, text)]
    reading.method = methods[0] if methods else None
    if len(methods) > 1:
        reading.questions.append(f"{' and '.join(methods)} are both named: which method is meant?")
    refused: tuple[Target, ...] = tuple(target for target, pattern in _TARGETS if re.search(_NOT + pattern, text))
    reading.refused_targets = refused
    reading.targets = tuple(t for t, pattern in _TARGETS if t not in refused and re.search(pattern, text))
    backends = [backend for backend, pattern in _BACKENDS if re.search(pattern, text)]
    reading.backend = backends[0] if backends else None
    if len(backends) > 1:
        reading.questions.append("both this machine and Hugging Face Jobs are named: where is it to run?")
    if quantisations := dict.fromkeys(q.upper() for q in _QUANTISATION.findall(text)):
        reading.overrides["quantisations"] = tuple(quantisations)
    if re.search(_IMPORTANCE, text):
        reading.overrides["importance_matrix"] = True
    if benchmarks := dict.fromkeys(b.lower() for b in _BENCHMARK.findall(text)):
        reading.overrides["benchmarks"] = tuple(benchmarks)
