"""The names in an instruction: model, dataset, subset, split, teacher and rewards.

A name is taken out of the text, so that no number in it is read as a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from .languages import ARTICLE, ON, TRAIN

REWARDS = ("exact_answer", "math_equality", "code_passes_tests", "format_matches", "length_within")
DATA_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".gz", ".zst")

# A name in an instruction: a quoted text, or a run of characters that model ids, dataset ids and paths are made of.
# The Hub allows letters, digits and -_. in names (huggingface_hub, utils/_validators.py).
_NAME = r"(?:\"(?P<{0}_quoted>[^\"]+)\"|`(?P<{0}_ticked>[^`]+)`|'(?P<{0}_single>[^']+)'|(?P<{0}_bare>[\w.~/:\\@+-]+))"
_FIRST = r"(?:^|[\s(\[])"
"""What stands before a name."""

# Words that stand where a name could stand and are none.
_NO_NAME = frozenset(
    """
    a an the my our this that it them model base data dataset lora qlora full rank epochs epoch lr learning
    batch evaluation gguf humaneval jobs gpu cpu hub hf hugging face huggingface local locally one two three
    supervised preference and or then for at in to sft dpo kto grpo rloo reward packing adapter adapters
    parameters trl peft budget max maximum steps seed llm small tiny better
    """.split()  # noqa: SIM905  a list of them has a line for each
)

_SIZE = re.compile(r"(?i)(?:^|[-_.])\d+(?:\.\d+)?(?:b|m)(?:[-_.]|$)|\d[bm]$")
_SIZED = re.compile(r"(?i)[a-z]{2}.*[-_/].*\d[bm]\b|[a-z]{2,}\d*[-_]\d+(?:\.\d+)?[bm]\b")
"""A name that can only be a model's: letters, and a size behind a hyphen."""
_ENDS_A_NAME = re.compile(
    r"\s*(?:$|[,.;:!?()\n]|\d|(?:with|without|for|from|using|via|and|then|on|at|by|in|into|to|under|within|but|no|plus|"
    r"und|mit|auf|für|et|avec|pour|y|con|para|e)\b)",
    re.IGNORECASE,
)
"""What may follow a bare dataset name: `on gsm8k with GRPO`, and not `on customer chats`."""


_FAMILIES = (
    "qwen|llama|code ?llama|tiny ?llama|gemma|phi|mistral|ministral|mixtral|smol ?lm|falcon|granite|olmo|deepseek|"
    "pythia|bloom|stable ?lm|internlm|lfm|exaone|nemotron|hunyuan|glm|opt|gpt-oss|yi|mobile ?llm|apertus"
)
_SPOKEN = re.compile(
    rf"(?<![\w/.-])(?:\d+(?:\.\d+)?[bm] (?:{_FAMILIES})[\d.]*(?![\w./-])|"
    rf"(?:{_FAMILIES})[\d.]*(?:[ -]v?\d+(?:\.\d+)?(?![\w.]))?(?:[ -]mini|[ -]small|[ -]nano)?"
    r"[ -]\d+(?:\.\d+)?[bm](?![\w])(?:[ -](?:instruct|it|chat|base|thinking|coder|math|pt)(?![\w-]))*)",
    re.IGNORECASE,
)
"""A model as people say it: `Llama 3.1 8B Instruct`, `0.6B Qwen3`."""
_JOINED = re.compile(r"(?<=^qwen)[ -](?=\d)|(?<=^smollm)[ -](?=\d)", re.IGNORECASE)
"""Between a family and its number, where the Hub writes nothing: `Qwen 3 0.6B` is `Qwen3-0.6B`."""
_HUB_URL = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?:datasets/)?([\w.-]+/[\w.-]+)(?:/[\w./?=&-]*)?")
_ONLY_A_SIZE = re.compile(r"\d+(?:\.\d+)?[bm]", re.IGNORECASE)


@dataclass(kw_only=True)
class Names:
    """The names of an instruction, as they were said."""

    model: str | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str | None = None
    teacher: str | None = None
    rewards: tuple[str, ...] = ()
    rest: str = ""
    """The text without them."""
    questions: list[str] = field(default_factory=list)


def read_names(text: str) -> Names:
    """Take all names out of a text; two models or two datasets are a question."""
    names = Names()
    text = _SPOKEN.sub(_hyphened, _HUB_URL.sub(r"\1", text))
    rest = _read_rewards(_read_teacher(text, names), names)
    for attribute, patterns in _PARTS:
        for pattern in patterns if getattr(names, attribute) is None else ():
            match = re.search(pattern, rest, re.IGNORECASE)
            if (
                match
                and (name := _name(match)).lower() not in _NO_PART
                and not _NOT_TO_TRAIN.search(rest[: match.start()])
            ):
                setattr(names, attribute, name)
                rest = _without(rest, match)
                break
    for is_one in (_is_only_data, _is_data):
        if names.dataset is None:
            names.dataset, rest = _find(rest, _DATASET_PATTERNS, is_one)
    names.model, rest = _find(rest, _MODEL_PATTERNS, _is_model)
    for is_one in (_is_word, _is_owned):
        if names.dataset is None:
            names.dataset, rest = _find(rest, _DATASET_PATTERNS, is_one)
    for what, first, is_one in (("dataset", names.dataset, _is_file), ("model", names.model, _is_sized)):
        rest = _read_another(what, first, is_one, rest, names)
    names.rest = rest
    return names


def _hyphened(match: re.Match[str]) -> str:
    """Write a model as the Hub does: the size behind the family."""
    first, *others = _JOINED.sub("", match[0]).split()
    return "-".join([*others, first] if _ONLY_A_SIZE.fullmatch(first) else [first, *others])


def _read_another(what: str, first: str | None, is_one: Callable[[str], bool], text: str, names: Names) -> str:
    """Ask which one is meant where a second one of its kind is named; the same one said again is none."""
    if first is None:
        return text
    for match in reversed(list(re.finditer(rf"{_FIRST}{_NAME.format('n')}", text))):
        name = _name(match)
        if _is_same(name, first):
            text = _without(text, match)
        elif is_one(name):
            text = _without(text, match)
            names.questions.append(f"`{first}` and `{name}` are both named: which one is the {what}?")
    return text


def _is_same(name: str, other: str) -> bool:
    """Whether two names may mean one thing: `Qwen3-0.6B` and `Qwen/Qwen3-0.6B`."""
    one, another = name.casefold(), other.casefold()
    one_has_an_owner = ("/" in one) != ("/" in another)
    return one == another or (one_has_an_owner and one.split("/")[-1] == another.split("/")[-1])


def _is_file(name: str) -> bool:
    return name.lower().endswith(DATA_ENDINGS)


def _is_sized(name: str) -> bool:
    return _SIZED.search(name) is not None and not _is_file(name)


_PARTS = (
    *(
        (attribute, (rf"\b{word}(?:\s*[=:]\s*|\s+){_NAME.format('n')}", rf"(?:^|[\s(]){_NAME.format('n')}\s+{word}\b"))
        for attribute, word in (("subset", "(?:subset|config(?:uration)?)"), ("split", "split"))
    ),
    (
        "subset",
        (r"[\w.-]+/[\w.-]+\s+\(?(?P<n_bare>main|split_\d+)(?![\w/-])", r"[\w-]-[\w-]+\s+\((?P<n_bare>\w+_\w+)\)"),
    ),
)
"""`subset python`, `the python subset`, and names that only subsets have: `gsm8k main`, `cots (solutions_py)`."""
_NOT_TO_TRAIN = re.compile(
    r"\b(?:never|not|except|excluding|without|don'?t|evaluat\w*|eval|validat\w*|test(?:ed)?|compar\w*|hold\w* out)\b"
    r"[^,.;:!?]*$",
    re.IGNORECASE,
)
"""Before a split that is not the one to train on: `evaluate on the test split`."""
_NO_PART = _NO_NAME | frozenset(
    "of with for only its same whole full every each no any first last random small dataset".split()  # noqa: SIM905
)

_TEACHERS = (
    rf"\b(?:distil+(?:ing)?)\s+{ARTICLE}{_NAME.format('n')}\s+(?:in)?to\b",
    rf"{_NAME.format('n')}\s+(?:as|is)\s+(?:the\s+)?teacher\b",
    rf"\bteacher(?:[ -]model)?\s*(?:is|[=:])?\s+{_NAME.format('n')}",
)


def _read_teacher(text: str, names: Names) -> str:
    """Take the model that is learned from out of the text."""
    for pattern in _TEACHERS:
        if (match := re.search(pattern, text, re.IGNORECASE)) and (name := _name(match)).lower() not in _NO_NAME:
            names.teacher = name
            into = re.sub(r"\s+(?:in)?to$", "", match[0], flags=re.IGNORECASE)  # what follows it is the student
            return text[: match.start()] + into.replace(name, " ") + text[match.end() :]
    return text


def _read_rewards(text: str, names: Names) -> str:
    """Take the rewards out of the text: those that ftagent knows by their names, and functions of files."""
    found: dict[str, None] = {}
    for pattern in (r"[\w./~-]+\.py:\w+", rf"\b(?:{'|'.join(name.replace('_', '[_ ]') for name in REWARDS)})\b"):
        for match in re.finditer(pattern, text):
            found[match[0] if ":" in match[0] else match[0].replace(" ", "_")] = None
        text = re.sub(pattern, " ", text)
    names.rewards = tuple(found)
    return text


_DATASET_PATTERNS = (
    rf"\b(?:dataset|data ?set|datensatz|corpus|data)(?:\s*[=:]\s*|\s+(?:is\s+)?){_NAME.format('n')}",
    rf"(?:\b|(?<=\s))(?:{ON})\s+{ARTICLE}{_NAME.format('n')}",
    rf"{_FIRST}{_NAME.format('n')}",
)
_MODEL_PATTERNS = (
    rf"\bmodel(?:\s*[=:]\s*|\s+(?:is\s+)?){_NAME.format('n')}",
    rf"{TRAIN}\s+(?:(?:of|for|a|von)\s+)?{ARTICLE}{_NAME.format('n')}",
    rf"{_FIRST}{_NAME.format('n')}",
    rf"{_FIRST}{_NAME.format('n')}",  # again: a name with a size in it goes before any `org/name`
)


def _find(text: str, patterns: tuple[str, ...], accept: Callable[[re.Match[str], int], bool]) -> tuple[str | None, str]:
    for rank, pattern in enumerate(patterns):
        start = 0
        while match := re.compile(pattern, re.IGNORECASE).search(text, start):
            if _name(match) and accept(match, rank):
                return _name(match), _without(text, match)
            start = match.start() + 1
    return None, text


def _is_data(match: re.Match[str], rank: int) -> bool:
    """A path, a file name, an `org/name`; the loosest pattern takes files alone: an `org/name` may be the model."""
    name = _name(match)
    if name.lower() in _NO_NAME:
        return False
    if _is_file(name) or name.startswith("hf://datasets/"):
        return True
    return rank < 2 and ("/" in name or (rank == 0 and "-" in name))


def _is_only_data(match: re.Match[str], rank: int) -> bool:
    """What `_is_data` accepts, but no name with a model's size in it: `a model from org/base-1B on org/set`."""
    return _is_data(match, rank) and not _is_sized(_name(match))


def _is_model(match: re.Match[str], rank: int) -> bool:
    name = _name(match)
    if name.lower() in _NO_NAME or name.replace(".", "").isdigit() or _ONLY_A_SIZE.fullmatch(name):
        return False
    if rank < 2:
        return "/" in name or any(c.isdigit() for c in name) or "-" in name or name.startswith((".", "~"))
    return _SIZE.search(name) is not None or (rank == 3 and "/" in name)


def _is_word(match: re.Match[str], rank: int) -> bool:
    """A bare dataset name such as `gsm8k`, but only straight behind `on` or `dataset`, and at the end of its phrase."""
    name = _name(match)
    is_name = name.lower() not in _NO_NAME and len(name) > 2 and not name[0].isdigit() and name[0] != "$"
    return rank < 2 and is_name and _ENDS_A_NAME.match(match.string, match.end()) is not None


def _is_owned(match: re.Match[str], rank: int) -> bool:
    """An `org/name` wherever it stands, once the model has been found elsewhere."""
    del rank
    name = _name(match)
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not _is_sized(name)


def _name(match: re.Match[str]) -> str:
    found = next(v for k, v in match.groupdict().items() if k.startswith("n_") and v is not None)
    return found.rstrip(".:") if match.groupdict().get("n_bare") else found.strip()


def _without(text: str, match: re.Match[str]) -> str:
    """Cut the name out of the text and leave the words before it."""
    group = next(k for k, v in match.groupdict().items() if k.startswith("n_") and v is not None)
    return text[: match.start(group)] + " " + text[match.end(group) :]
