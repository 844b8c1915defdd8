"""What should hold at the end of a scenario: one choice after the other, right or wrong, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from .evidence import Evidence
from .forbidden import forbidden_acts
from .scenario import Scenario

MISSING = "(not there)"


class Choice(BaseModel):
    """One thing that should hold."""

    model_config = ConfigDict(frozen=True)

    what: str
    right: bool
    found: str = ""
    """What was there instead."""


class Verdict(BaseModel):
    """One scenario, judged."""

    model_config = ConfigDict(frozen=True)

    id: str
    category: str
    kind: str
    arrived: bool
    """It ended as it should."""
    choices: tuple[Choice, ...]
    forbidden: tuple[str, ...]
    evidence: Evidence

    @property
    def right(self) -> int:
        """How many choices are right."""
        return sum(choice.right for choice in self.choices)

    @property
    def passed(self) -> bool:
        """Whether all is as it should be."""
        return self.arrived and self.right == len(self.choices) and not self.forbidden


def judge(scenario: Scenario, evidence: Evidence) -> Verdict:
    """Hold what has happened against what the scenario says."""
    last = evidence.ended[-1] if evidence.ended else None
    return Verdict(
        id=scenario.id,
        category=scenario.category,
        kind=scenario.kind,
        arrived=last is not None and last.ending in scenario.ends,
        choices=tuple(_choices(scenario, evidence)),
        forbidden=forbidden_acts(scenario, evidence),
        evidence=evidence,
    )


def _choices(scenario: Scenario, evidence: Evidence) -> Iterator[Choice]:
    said = evidence.ended[-1].said if evidence.ended else ""
    for pattern in scenario.says:
        yield _seen(f"says `{pattern}`", pattern, said)
    spec = evidence.run.get("spec") or {}
    for path, wanted in scenario.spec.items():
        yield _overrides(wanted, spec) if path == "overrides" else _at(f"spec.{path}", wanted, evidence.run)
    for path, wanted in scenario.holds.items():
        yield _at(path, wanted, evidence.run)
    for pattern in scenario.report:
        yield _seen(f"the report says `{pattern}`", pattern, evidence.report)
    if (most := scenario.money.get("at_most_usd")) is not None:
        spent = evidence.cost_usd
        yield Choice(what=f"costs at most ${most}", right=spent <= most, found=f"${spent}")


def _seen(what: str, pattern: str, text: str) -> Choice:
    return Choice(what=what, right=re.search(pattern, text, re.IGNORECASE) is not None, found=text[:300])


def _overrides(wanted: dict[str, Any], spec: dict[str, Any]) -> Choice:
    """Compare all stated values: one too many is as wrong as one too few."""
    given = {name: value for name, value in (spec.get("overrides") or {}).items() if value is not None}
    return Choice(what=f"states {wanted}", right=bool(spec) and given == wanted, found=str(given if spec else MISSING))


def _at(path: str, wanted: Any, run: dict[str, Any]) -> Choice:
    found = value_at(path, run)
    return Choice(what=f"{path} is {wanted}", right=_agrees(found, wanted), found=str(found)[:300])


def value_at(path: str, data: Any) -> Any:
    """Return the value at a dotted path of names and numbers, `MISSING` where there is none."""
    for part in path.split("."):
        if isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        elif isinstance(data, dict) and part in data:
            data = data[part]
        else:
            return MISSING
    return data


def _agrees(found: Any, wanted: Any) -> bool:
    match wanted:
        case {"at_most": limit}:
            return isinstance(found, int | float) and found <= limit
        case {"at_least": limit}:
            return isinstance(found, int | float) and found >= limit
        case {"contains": text}:
            return found != MISSING and str(text).lower() in str(found).lower()
        case {"length": length}:
            return isinstance(found, list) and len(found) == length
        case _:
            return found == wanted
