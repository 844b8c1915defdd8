"""Follow-ups: `same, but rank 64` is the earlier request with one statement changed; all others stay as they were said.

A change is read by the same tables as a request (tools/words/). What it states replaces what the earlier request
said of it, and where that said nothing, is added to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .errors import InputError
from .words import Reading, read_words
from .words.choices import BENCHMARK, FLAVOR, METHODS, PLACES, QUANTISATION, TARGETS, refusal
from .words.values import BARE_RATE, LIMITS, OVERRIDES

CHANGEABLE = "rank 64, learning rate 1e-4, 3 epochs, batch size 8, on other.jsonl, budget 5, without export"
_AGAIN = re.compile(
    r"^\s*(?:(?:do |run |try |train )?(?:it |that )?(?:the )?(?:same|again|once more|noch ?mal|dasselbe)\b"
    r"|(?:and )?now\b|try\b)(?:\s+(?:again|thing|run|as before))?\s*[,;:–-]?\s*(?:but|and|aber)?\s*"
    r"(?:(?:with|at|using|mit)\b)?\s*",
    re.IGNORECASE,
)

_LISTS = {"quantisations": QUANTISATION.pattern, "benchmarks": BENCHMARK.pattern}


def change_in(text: str) -> str | None:
    """Return what is to be different, where the text asks for an earlier request with a change; else None.

    The empty string is a plain `again`.
    """
    return text[match.end() :].strip() if (match := _AGAIN.match(text)) else None


def changed_request(request: str, change: str) -> str:
    """Return the earlier request with what `change` states in place of what it said of the same things.

    Raises:
        InputError: Nothing in the change is understood, or the earlier request does not name what it replaces.
    """
    if not change:
        return request
    stated = read_words(_without_loose_names(change))
    stated.backend = next((name for name, pattern in PLACES if re.search(pattern, change, re.IGNORECASE)), None)
    values = {**stated.overrides, **_limits(stated)}
    chosen = (stated.targets, stated.refused_targets, stated.method, stated.backend, stated.flavor)
    if not (values or _names(stated) or any(chosen)):
        raise InputError(f"`{change}` changes nothing that is understood.", hint=f"such as: {CHANGEABLE}")
    earlier = read_words(request)
    for old, new in ((earlier.model, stated.model), (earlier.dataset, stated.dataset)):
        if new is not None and old is not None:
            spoken = re.escape(old).replace(r"\-", "[- ]")  # `Llama 3.1 8B` is read with hyphens
            request = re.sub(spoken, lambda _, name=new: name, request)
            change = re.sub(rf"(?:\b(?:on|with|from|model|dataset)\s+)?{re.escape(new)}", "", change)
    request = without_values(request, values)
    request = _cut(request, [*_choices(stated)], read_words(request))
    change = change.strip(" ,;.")
    return f"{request.rstrip(' .,;')}, {change}" if change else request


def without_values(request: str, names: Iterable[str]) -> str:
    """Return the request without what it states of these values; names of models, data and files stay whole."""
    wanted = set(names)
    patterns = [value.pattern for value in (*OVERRIDES, *LIMITS, BARE_RATE) if value.name in wanted]
    patterns += [pattern for name, pattern in _LISTS.items() if name in wanted]
    return _cut(request, patterns, read_words(request))


def _cut(text: str, patterns: list[str], reading: Reading) -> str:
    names = _names(reading)
    for pattern in patterns:
        kept = [(m.start(), m.end()) for name in names for m in re.finditer(re.escape(name), text)]
        for match in reversed(list(re.finditer(pattern, text, re.IGNORECASE))):
            if not any(start < match.end() and match.start() < end for start, end in kept):
                text = text[: match.start()] + text[match.end() :]
    text = re.sub(r"\s*\b(?:with|and|at|a|of)\s*(?=[,;.]|$)", "", text)
    return re.sub(r"(\s*,)+", ",", re.sub(r"\s{2,}", " ", text)).strip(" ,;")


def _limits(reading: Reading) -> dict[str, float]:
    given = {"budget_usd": reading.budget_usd, "max_hours": reading.max_hours}
    return {name: value for name, value in given.items() if value is not None}


def _choices(stated: Reading) -> Iterator[str]:
    """Yield the patterns of what the earlier request may have chosen otherwise."""
    if stated.method is not None:
        yield from (pattern for _, pattern in METHODS)
    if stated.backend is not None:
        yield from (pattern for _, pattern in PLACES)
    if stated.flavor is not None:
        yield rf"(?:\bon )?(?:an? |the )?{FLAVOR.pattern}"
    yield from (refusal(pattern) for target, pattern in TARGETS if target in stated.targets)


def _names(reading: Reading) -> list[str]:
    """Return what was named: models, data and files, inside which no value is looked for."""
    found = (reading.model, reading.dataset, reading.subset, reading.split, reading.overrides.get("teacher"))
    return [name for name in found if name]


def _without_loose_names(change: str) -> str:
    """Return the change without words that would be taken for a dataset in a request: `with care`, `on my laptop`."""
    for _, pattern in PLACES:
        change = re.sub(pattern, ", ", change, flags=re.IGNORECASE)
    return re.sub(r"\b(?:with|using|at|mit)\s+(?![\w.~-]*[/.\\]\w)", ", ", change, flags=re.IGNORECASE)
