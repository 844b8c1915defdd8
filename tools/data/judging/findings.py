"""What a person should know about the rows and their tokens, each with counts and the first row numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...facts import DatasetRef, DatasetReport, Problem
from ...wording import one_line
from .proof import Proof
from .rows import Rows
from .side import leaked, unusable

if TYPE_CHECKING:
    from .contamination import Overlap
    from .scan import Scan

SHOWN_ROWS = 5
UNCOUNTED = "as only estimates of their numbers are known"


def data_problems(ref: DatasetRef, rows: Rows, scanned: Scan | None) -> tuple[Problem, ...]:
    """Return what the rows themselves show.

    Args:
        ref: The dataset, with its licence.
        rows: The rows that are kept.
        scanned: What reading every row has shown, where that was done.
    """
    hits = sorted(rows.overlap.hits)
    found = [
        *((reason, numbers, "These rows are left out.") for reason, numbers in unusable(*rows.sides).items()),
        ("overlap", hits, _overlap_words(rows.overlap, are_left_out=set(hits) <= set(rows.left_out))),
        ("duplicates", rows.repeated, "Rows that were there before, word for word."),
        ("leakage", leaked(*rows.sides), "Held-out rows that are trained on too: they flatter the result."),
    ]
    problems = [
        Problem(kind=kind, count=len(numbers), detail=detail, rows=tuple(numbers[:SHOWN_ROWS]))
        for kind, numbers, detail in found
        if numbers
    ]
    if not (rows.heldout.keys or rows.heldout.unread):
        detail = "No held-out row is usable: nothing is left to compare the model with its base on."
        problems.append(Problem(kind="no hold-out", count=1, detail=detail))
    if rows.overlap.benchmarks and not (rows.are_whole or scanned):
        problems.append(_overlap_unknown(rows))
    return (*problems, *_licence(ref), *(_scan_problems(scanned) if scanned else ()))


def _overlap_words(overlap: Overlap, *, are_left_out: bool) -> str:
    items = sorted({item for hit in overlap.hits.values() for item in hit})
    named = ", ".join(one_line(item) for item in items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
    left_out = "they are left out, as they would flatter the result" if are_left_out else f"they stay, {UNCOUNTED}"
    return f"Rows that share whole passages with {named}: {left_out}."


def _overlap_unknown(rows: Rows) -> Problem:
    unread = sum(side.unread for side in rows.sides)
    named = " and ".join(map(one_line, rows.overlap.benchmarks))
    detail = f"Rows that nobody has read may hold items of {named}: `--full` reads them, and finds those to leave out."
    return Problem(kind="overlap unknown", count=unread, detail=detail)


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
    problems += _odd_fields(
        "mixed types", [f"`{one_line(path)}` holds {' and '.join(kinds)}" for path, kinds in scanned.mixed.items()]
    )
    problems += _odd_fields(
        "late fields", [f"no row before {row:,} has `{one_line(path)}`" for path, row in scanned.late.items()]
    )
    if scanned.duplicates:
        detail = "Rows that were there before, word for word, among all rows."
        rows = tuple(scanned.first_duplicates[:SHOWN_ROWS])
        problems.append(Problem(kind="duplicates in the whole set", count=scanned.duplicates, detail=detail, rows=rows))
    return problems


def _odd_fields(kind: str, found: list[str]) -> list[Problem]:
    """Say that `datasets` would not load such rows, which it does not look at before it reads them."""
    if not found:
        return []
    more = f"; {len(found) - SHOWN_ROWS} more" if len(found) > SHOWN_ROWS else ""
    detail = (
        f"{'; '.join(found[:SHOWN_ROWS])}{more}. `datasets` takes fields and types from the first rows, and may stop"
    )
    return [Problem(kind=kind, count=len(found), detail=f"{detail} at others: give all rows the same.")]


def token_problems(proof: Proof, report: DatasetReport, *, exact: bool) -> tuple[Problem, ...]:
    """Return what the rows show once they are tokens.

    Args:
        proof: What TRL did.
        report: The report so far, with its `max_length`.
        exact: Whether rows go by the numbers that they have in the dataset.
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
        detail = f"Rows that TRL cannot prepare {'are left out' if exact else f'stay, {UNCOUNTED}'}; the first: {why}"
        problems.append(
            Problem(kind="unprepared", count=len(unprepared), detail=detail, rows=tuple(unprepared[:SHOWN_ROWS]))
        )
    return tuple(problems)
