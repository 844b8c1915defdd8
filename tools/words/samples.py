"""How many rows are to be trained on: `the first 5000 rows of`, `2k examples from`, `10% of`, `train[:1000]`.

The phrase is taken out of the text, so that what it stands before can be read as a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .languages import CLAUSE_END, FIRST, OF, ROWS
from .values import share, stated_twice

_COUNT = r"(?P<count>(?<![\w.,$€/-])(?:\d{1,3}(?:[.,]\d{3})+|\d+(?:\.\d+)?\s?[km]|\d+))(?![\w%])"
_SHARE = r"(?P<share>(?<![\w.,$€/-])\d+(?:\.\d+)?\s?%|\b(?:one )?half\b)"
_BEFORE = (
    r"(?:\b(?:only|just|at most|up to|no more than|maximum|limit(?:ed)?(?: it| training| the (?:data|training))? to|"
    r"the|a|(?:random |small )?(?:subset|subsample|sample|selection) of|random(?:ly)?|any|nur|höchstens|den|die|les|"
    r"las|los|as|os|le|i|只)\s+)*"
)
_KIND = r"(?:(?:random|training|train|preference|labell?ed|code|chat|customer|good|high-quality)\s+)?"
_WHOLE = rf"(?:{ROWS}|(?:training )?data(?:set)?(?![\w./-])|it\b|(?=[\w.~-]*[/.][\w.~/-]*\w))"
"""What a share is of: the rows, the data, or a name that comes next."""

_PATTERNS = (
    r"\btrain\[:(?P<count>\d+)(?P<percent>%?)\](?P<first>)",
    rf"\b(?:max|num)_(?:train_)?samples\s*[=:]?\s*{_COUNT}",
    rf"{_BEFORE}(?:(?P<first>{FIRST})\s*)?{_COUNT}\s*{_KIND}{ROWS}(?:\s+{OF}\b)?",
    rf"{_BEFORE}(?:(?P<first>{FIRST})\s*)?{_SHARE}\s+(?:{OF}\s+)?(?:the\s+|all\s+|der\s+|la\s+|los\s+)?{_WHOLE}",
)
_CHOOSES = r"only|just|at most|up to|no more|max|limit|random|the first|first|use"
_OTHERS = re.compile(
    r"\b(?:evaluat\w*|eval|validat\w*|test\w*|compar\w*|judg\w*|bench\w*|hold\w*|held|few-?shot|shots?|batch\w*|"
    r"every|each|has|have|contains?|show\w*|give|print\w*|list\w*|report\w*|generat\w*|warm\w*|alle|tiene|halte|bewert\w*)\b|评估|测试",
    re.IGNORECASE,
)
"""What rows are also for."""
_TRAINS = re.compile(
    r"\b(?:\w*tun(?:e[ds]?|ing)|train\w*|teach\w*|trainier\w*|entra\w*|use|using|nutze)\b|训练|微调", re.IGNORECASE
)
_OTHERS_AFTER = re.compile(
    r"\s*(?:for|as|to)\s+(?:the\s+)?(?:eval\w*|test\w*|valid\w*|hold\w*|held)|"
    r"\s+(?:are\s+|be\s+)?held|\s+(?:per|each|at a time|an? (?:batch|step|prompt))\b",
    re.IGNORECASE,
)


@dataclass(kw_only=True)
class Samples:
    """How many rows were asked for, as `Overrides` has it."""

    overrides: dict[str, int | float | str] = field(default_factory=dict)
    rest: str = ""
    """The text without what was read."""
    questions: list[str] = field(default_factory=list)


def read_samples(text: str) -> Samples:
    """Take what is said of the number of rows out of a text; two numbers are a question."""
    found: list[int | float] = []
    is_first = False
    for pattern in _PATTERNS:
        for match in reversed(list(re.finditer(pattern, text, re.IGNORECASE))):
            if _is_for_something_else(text, match):
                continue
            found.append(_number(match.groupdict()))
            is_first = is_first or match.groupdict().get("first") is not None
            text = f"{text[: match.start()]} {text[match.end() :]}"
    samples = Samples(rest=text)
    if found:
        samples.overrides = {"max_train_samples": found[0]} | ({"sampling": "first"} if is_first else {})
    if len(set(found)) > 1:
        samples.questions.append(stated_twice("max_train_samples", found[-1], found[0]))
    return samples


def _is_for_something_else(text: str, match: re.Match[str]) -> bool:
    """Whether rows are counted that are not those to train on: `evaluate on 200 examples`, `batches of 8 rows`."""
    if re.search(r"\((?:about |around |roughly |~)?$", text[: match.start()]) and not re.match(
        _CHOOSES, match[0], re.IGNORECASE
    ):
        return True  # `rows.jsonl (5000 rows)` says how many there are
    clause = re.split(CLAUSE_END, text[: match.start()], flags=re.IGNORECASE)[-1]
    others, trains = (max((m.end() for m in of.finditer(clause)), default=-1) for of in (_OTHERS, _TRAINS))
    return others > trains or _OTHERS_AFTER.match(text, match.end()) is not None


def _number(of: dict[str, str | None]) -> int | float:
    """Read `5,000`, `2k`, `1.5m`, `10 %` and `half`; a share is below 1."""
    if said := of.get("share"):
        return 0.5 if said.lower().endswith("half") else share(said)
    count = (of["count"] or "").lower().replace(" ", "")
    if of.get("percent"):
        return int(count) / 100
    if count[-1] in "km":
        return round(float(count[:-1]) * {"k": 1_000, "m": 1_000_000}[count[-1]])
    return int(re.sub(r"[.,]", "", count))
