"""What a person should know about the rows and their tokens, each with counts and the first row numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...facts import DatasetRef, DatasetReport, Problem
from ...wording import one_line
from .proof import Proof
from .side import Side, leaked, repeated, unusable

if TYPE_CHECKING:
    from .contamination import Overlap
    from .scan import Scan

SHOWN_ROWS = 5


def data_problems(
    ref: DatasetRef, sides: tuple[Side, Side], overlap: Overlap, scanned: Scan | None
) -> tuple[Problem, ...]:
    """Return what the rows themselves show.

    Args:
        ref: The dataset, with its licence.
        sides: The training rows and the held-out rows.
        overlap: Rows that a benchmark would ask for.
        scanned: What reading every row has shown, where that was done.
    """
    found = [
        *((reason, rows, "These rows are left out.") for reason, rows in unusable(*sides).items()),
        ("overlap", sorted(overlap.hits), _overlap_words(overlap)),
        ("duplicates", repeated(*sides), "Rows that were there before, word for word."),
        ("leakage", leaked(*sides), "Held-out rows that are trained on too: they flatter the result."),
    ]
    problems = [
        Problem(kind=kind, count=len(rows), detail=detail, rows=tuple(rows[:SHOWN_ROWS]))
        for kind, rows, detail in found
        if rows
    ]
    if not (sides[1].keys or sides[1].unread):
        detail = "No held-out row is usable: nothing is left to compare the model with its base on."
        problems.append(Problem(kind="no hold-out", count=1, detail=detail))
    return (*problems, *_licence(ref), *(_scan_problems(scanned) if scanned else ()))


def _overlap_words(overlap: Overlap) -> str:
    items = sorted({item for hit in overlap.hits.values() for item in hit})
    named = ", ".join(one_line(item) for item in items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
    return f"Rows that share whole passages with {named}: they are left out, as they would flatter the result."


def _licence(ref: DatasetRef) -> list[Problem]:
    if ref.licence is None:
        if ref.source != "hub":
            return []
        return [Problem(kind="no licence", count=1, detail="Its card names no licence: ask its owner what is allowed.")]
    if "-nc" in ref.licence.lower():
        detail = f"Its licence, {one_line(ref.licence)}, does not allow commercial use."
        return [Problem(kind="licence", count=1, detail=detail)]
    return []


def _scan_problems(scanned: Scan) -> list[Problem]:
    empty = {name: scanned.nulls.get(name, 0) + scanned.empties.get(name, 0) for name in scanned.nulls}
    named = ", ".join(f"`{one_line(name)}` {count:,}" for name, count in empty.items() if count)
    roles = ", ".join(f"{one_line(role)} {count:,}" for role, count in scanned.roles.items())
    detail = f"{scanned.rows:,} rows with {scanned.characters:,} characters, all of them read."
    detail += f" Turns by role: {roles}." if roles else ""
    detail += f" Empty or null: {named}." if named else ""
    problems = [Problem(kind="full scan", count=scanned.rows, detail=detail)]
    if scanned.duplicates:
        detail = "Rows that were there before, word for word, among all rows."
        rows = tuple(scanned.first_duplicates[:SHOWN_ROWS])
        problems.append(Problem(kind="duplicates in the whole set", count=scanned.duplicates, detail=detail, rows=rows))
    return problems


def token_problems(proof: Proof, report: DatasetReport) -> tuple[Problem, ...]:
    """Return what the rows show once they are tokens.

    Args:
        proof: What TRL did.
        report: The report so far, with its `max_length`.
    """
    length, context = report.max_length, proof.context
    counts = proof.at[str(length)]
    beyond = proof.at[str(context)]["cut"] if context and length > context else 0
    all_turns = proof.counted if proof.loss_on == "all" and "messages" in report.trainer_columns else 0
    unprepared = sorted(map(int, proof.left_out))
    found = [
        ("cut", counts["cut"], f"Training rows longer than max_length {length}: their ends are not learned."),
        ("answer cut away", counts["lost"], f"Training rows with nothing to learn in their first {length} tokens."),
        ("beyond the context", beyond, f"Training rows longer than the {context} tokens that the model takes."),
        ("loss on every turn", all_turns, "The chat template cannot tell the answers of a longer chat from the rest."),
        (
            "no end",
            proof.endless,
            "Rows whose answer does not end with the token that stops the model: it would learn to go on and on.",
        ),
        *(("TRL warns", 1, one_line(text, 400)) for text in proof.warnings),
    ]
    problems = [Problem(kind=kind, count=count, detail=detail) for kind, count, detail in found if count]
    if unprepared:
        why = one_line(next(iter(proof.left_out.values())), 200)
        detail = f"Rows that TRL cannot prepare are left out; the first: {why}"
        problems.append(
            Problem(kind="unprepared", count=len(unprepared), detail=detail, rows=tuple(unprepared[:SHOWN_ROWS]))
        )
    return tuple(problems)
