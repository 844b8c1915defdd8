"""The zoo's table: what ftagent says beside what TRL does, and every place where they part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .judged import Judge, Judgement
from .truth import Outcome, trains_well
from .zoo_set import METHODS, Method, Verdict, ZooSet

VERDICTS: tuple[Verdict, ...] = ("ready", "mapped", "refused")
RAW = ("trains", "nonsense", "fails")
MAPPED = ("trains", "nonsense", "fails", "—")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One set with one method: what was expected, what ftagent says, and what TRL does."""

    zoo_set: ZooSet
    method: Method
    judgement: Judgement
    raw: Outcome
    mapped: Outcome | None

    @property
    def expected(self) -> Verdict:
        """The verdict that the set's author gave."""
        return self.zoo_set.expected(self.method)

    @property
    def raw_does(self) -> str:
        """What TRL does with the file as it is."""
        return "nonsense" if self.method in self.zoo_set.nonsense else in_a_word(self.raw, self.method)

    @property
    def mapped_does(self) -> str:
        """What TRL does with the rows as ftagent maps them."""
        return in_a_word(self.mapped, self.method)

    @property
    def complaints(self) -> list[str]:
        """Where the verdict parts from TRL, and from what was expected."""
        verdict = self.judgement.verdict
        found = {
            "false ready: TRL does not train on the file as it is": verdict == "ready" and self.raw_does != "trains",
            "does not train as mapped": verdict != "refused" and self.mapped_does != "trains",
            "false refused: TRL trains on the file as it is": verdict == "refused" and self.raw_does == "trains",
            f"{verdict}, but expected {self.expected}": verdict != self.expected,
        }
        return [complaint for complaint, holds in found.items() if holds]


def in_a_word(outcome: Outcome | None, method: Method) -> str:
    """Whether TRL trains, trains on what it should not, or fails."""
    if outcome is None:
        return "—"
    if outcome["outcome"] != "trains":
        return "fails"
    return "trains" if trains_well(outcome, method) else "nonsense"


def compare(zoo: Sequence[ZooSet], truth: dict[str, Any], judge: Judge) -> list[Compared]:
    """Put a judge's verdicts and the truth side by side."""
    return [
        Compared(
            zoo_set=zoo_set,
            method=method,
            judgement=judge(zoo_set, method),
            raw=truth["sets"][zoo_set.name]["raw"][method],
            mapped=truth["sets"][zoo_set.name]["mapped"].get(method),
        )
        for zoo_set in zoo
        for method in METHODS
    ]


def render(cells: Sequence[Compared], truth: dict[str, Any]) -> str:
    """Return the confusion table, the verdicts by method, the disagreements, and with what the truth was measured."""
    count = len({cell.zoo_set.name for cell in cells})
    versions = ", ".join(f"{library} {version}" for library, version in truth["versions"].items())
    return "\n".join(
        [
            f"{count} sets, {len(cells)} cells; the truth was measured in {truth['seconds']} s with {versions}",
            "",
            *_confusion(cells),
            "",
            *_by_method(cells),
            "",
            *_disagreements(cells),
        ]
    )


def _confusion(cells: Sequence[Compared]) -> Iterator[str]:
    counts = Counter((cell.judgement.verdict, cell.raw_does, cell.mapped_does) for cell in cells)
    yield f"{'':32}TRL, on the rows as mapped"
    yield f"{'ftagent':12}{'TRL, on the file':20}" + "".join(f"{column:>10}" for column in MAPPED)
    for verdict in VERDICTS:
        for raw in RAW:
            row = [counts[verdict, raw, mapped] for mapped in MAPPED]
            yield f"{verdict:12}{raw:20}" + "".join(f"{count or '·':>10}" for count in row)


def _by_method(cells: Sequence[Compared]) -> Iterator[str]:
    counts = Counter((cell.method, cell.judgement.verdict) for cell in cells)
    yield f"{'verdicts by method':32}" + "".join(f"{verdict:>10}" for verdict in VERDICTS)
    for method in METHODS:
        yield f"{method:32}" + "".join(f"{counts[method, verdict] or '·':>10}" for verdict in VERDICTS)


def _disagreements(cells: Sequence[Compared]) -> Iterator[str]:
    complaining = [cell for cell in cells if cell.complaints]
    yield f"{len(complaining)} disagreements{':' if complaining else ''}"
    for cell in complaining:
        outcome = cell.mapped or cell.raw
        yield f"  {cell.zoo_set.name} · {cell.method}: {'; '.join(cell.complaints)}"
        yield f"      ftagent: {cell.judgement.why or 'as it is'}"
        yield f"      TRL: {outcome.get('error') or outcome.get('learned')!r}"
