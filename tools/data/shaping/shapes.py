"""What the rows of a dataset look like, and how they become what the trainer of a method takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from ...facts import Method
from ...wording import one_line
from .filters import FILTERS
from .kinds import KINDS, Kind
from .mappings import MAPPINGS, Row
from .trainers import misleading, understood
from .turns import CHATS, column_of, turns_of
from .values import is_text

SELECT_COLUMNS = "select_columns"
"""The mapping of rows that train as they are once the trainer is shown some columns only; scripts always do."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How rows become what the trainer of one method takes."""

    kind: str
    """The shape in words."""
    mapping: str | None
    """A name in `MAPPINGS`, `SELECT_COLUMNS`, or None when the trainer takes the rows with all their columns."""
    trainer_columns: tuple[str, ...]
    filter: str
    """A name in `FILTERS`: what says why a row of this shape is unusable."""
    rule: str = ""
    """What the mapping takes for granted, in words; empty where nothing needs saying."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why no trainer of the method takes these rows, and the nearest thing that would do."""

    missing: str
    nearest: str


NEEDS: dict[Method, str] = {
    "sft": "answers to learn: a chat in `messages`, a `prompt` with its `completion`, or `text`",
    "dpo": "a `prompt` with a `chosen` and a `rejected` answer",
    "kto": "a `prompt`, its `completion`, and a `label` that says whether it is good",
    "reward": "a `prompt` with a `chosen` and a `rejected` answer",
    "grpo": "a `prompt`, or a question, to answer",
    "rloo": "a `prompt`, or a question, to answer",
    "distillation": "a `prompt`, or a question, to answer",
}
PICTURES = ("image", "images", "video", "videos", "audio")


def recognise(columns: Sequence[str], rows: Sequence[Row], method: Method) -> Shape | Refusal:
    """Say how a dataset becomes what the trainer of `method` takes, judging by its values.

    Args:
        columns: All columns of the dataset.
        rows: A sample of its rows.
        method: The training method.
    """
    columns = sorted(columns)
    if unusable := _unusable(columns, rows):
        return unusable
    nothing_usable: Refusal | None = None
    for kind in KINDS:
        if method in kind.methods and _fits(kind, columns, rows):
            if usable := [row for row in rows if FILTERS[kind.filter](row) is None]:
                return _shape(kind, columns, usable, rows, method)
            nothing_usable = nothing_usable or _nothing_usable(kind, rows)
    return nothing_usable or _refusal(columns, rows, method)


# --- what fits --------------------------------------------------------------------------------------------------------


def _fits(kind: Kind, columns: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether at least half of the rows are of this kind: a few broken ones hide no shape."""
    if any(name in columns and mostly(is_text, [row.get(name) for row in rows]) for name in kind.lacks):
        return False
    if not all(_holds(names, holds, columns, rows) for names, holds in kind.needs.items()):
        return False
    if kind.never and any(map(kind.never, rows)):
        return False
    return kind.when is None or 2 * sum(map(kind.when, rows)) >= max(1, len(rows))


def _holds(names: Sequence[str], holds: Callable[[object], bool], columns: Sequence[str], rows: Sequence[Row]) -> bool:
    name = _first(names, columns)
    return name is not None and mostly(holds, [row.get(name) for row in rows])


def _first(names: Sequence[str], columns: Sequence[str]) -> str | None:
    if len(names) > 1:
        return column_of(columns, names)
    return names[0] if names[0] in columns else None


def mostly(holds: Callable[[object], bool], values: Sequence[object]) -> bool:
    """Whether at least half of the values that are there are such values."""
    there = [value for value in values if value is not None]
    good = sum(map(holds, there))
    return good > 0 and 2 * good >= len(there)


def _shape(kind: Kind, columns: Sequence[str], usable: Sequence[Row], rows: Sequence[Row], method: Method) -> Shape:
    mapping = kind.mapping
    if kind.single_answer and all(_answers(MAPPINGS[kind.single_answer](row)) == 1 for row in usable):
        mapping = kind.single_answer
    shown = _in_order(MAPPINGS[mapping](usable[0])) if mapping else kind.columns
    if mapping is None or _changes_nothing(mapping, shown, columns, usable):
        shown = [*shown, *understood(method, columns, rows)]
        mapping = SELECT_COLUMNS if misleading(method, shown, columns, rows) else None
    return Shape(
        kind=kind.name,
        mapping=mapping,
        trainer_columns=tuple(shown),
        filter=kind.filter,
        rule=kind.rule if method == "kto" else "",
    )


def _changes_nothing(mapping: str, shown: Sequence[str], columns: Sequence[str], rows: Sequence[Row]) -> bool:
    same = ({name: row.get(name) for name in shown} == MAPPINGS[mapping](row) for row in rows)
    return set(shown) <= set(columns) and all(same)


def _answers(mapped: Row) -> int:
    return sum(turn["role"] == "assistant" for turn in (*mapped["prompt"], *mapped["completion"]))


def _in_order(mapped: Row) -> list[str]:
    """Return the columns that a mapping makes: the prompt first, then as they are named."""
    return sorted(mapped, key=lambda name: (name != "prompt", name))


# --- what does not ----------------------------------------------------------------------------------------------------


def _unusable(columns: Sequence[str], rows: Sequence[Row]) -> Refusal | None:
    """Refuse what trains with no method, whatever else is in it."""
    for name in PICTURES:
        if any(row.get(name) for row in rows):
            return Refusal(
                missing=f"`{name}` holds pictures, sound or film, which no model here is shown",
                nearest="a set of text, or this one without that column and the rows that need it",
            )
    if any(_shows_pictures(row.get(name)) for row in rows for name in (*CHATS, "prompt")):
        return Refusal(
            missing="its turns hold images, which no model here is shown",
            nearest="a set whose `content` is text, or parts of text",
        )
    if {"message_id", "parent_id", "text", "role"} <= set(columns):
        return Refusal(
            missing="each row is one message of a tree, not a chat",
            nearest="walk each branch from `parent_id` to its leaf and write its messages as one row of `messages`",
        )
    return None


def _shows_pictures(chat: object) -> bool:
    contents = [turn["content"] for turn in turns_of(chat) if isinstance(turn["content"], list)]
    kinds = [part.get("type") for content in contents for part in content if isinstance(part, dict)]
    return any(isinstance(kind, str) and kind.startswith(("image", "video", "audio")) for kind in kinds)


def _nothing_usable(kind: Kind, rows: Sequence[Row]) -> Refusal:
    reasons = [reason for row in rows if (reason := FILTERS[kind.filter](row))]
    return Refusal(
        missing=f"no row of this shape ({kind.name}) can be trained on: {max(reasons, key=reasons.count)}",
        nearest="mend what is said to be wrong with them; one good row shows the shape",
    )


def _refusal(columns: Sequence[str], rows: Sequence[Row], method: Method) -> Refusal:
    missing = f"{method} needs {NEEDS[method]}"
    others = [other for other in get_args(Method) if other != method and _serves(other, columns, rows)]
    if others:
        return Refusal(missing=missing, nearest=f"its {named(columns)} would do for {', '.join(others)}")
    if "input_ids" in columns:
        return Refusal(
            missing="its rows are tokens already, and nothing says of which tokenizer",
            nearest="the text or the chats that they were made from",
        )
    if {"completions", "labels"} <= set(columns):
        return Refusal(
            missing=f"its `labels` judge single steps of an answer, and {missing}",
            nearest="step rewards are trained by TRL's experimental PRMTrainer",
        )
    wanted = [kind for kind in KINDS if method in kind.methods and kind.needs]
    near = max(wanted, key=lambda kind: _share(kind, columns))
    return (
        _nearly(near, columns, rows)
        if _share(near, columns)
        else Refusal(missing=missing, nearest=_renaming(columns, rows))
    )


def _serves(method: Method, columns: Sequence[str], rows: Sequence[Row]) -> bool:
    return any(
        FILTERS[kind.filter](row) is None
        for kind in KINDS
        if method in kind.methods and _fits(kind, columns, rows)
        for row in rows
    )


def _share(kind: Kind, columns: Sequence[str]) -> float:
    return sum(_first(names, columns) is not None for names in kind.needs) / len(kind.needs)


def _nearly(kind: Kind, columns: Sequence[str], rows: Sequence[Row]) -> Refusal:
    """Refuse a set that has some columns of `kind`, or has them all with other values in them."""
    there = [name for names in kind.needs if (name := _first(names, columns))]
    if lacking := [names[0] for names in kind.needs if not _first(names, columns)]:
        return Refusal(
            missing=f"{named(lacking)} is missing beside {named(there)}",
            nearest=f"name the column that holds it {named(lacking)}; the columns are {named(columns)}",
        )
    right = [_holds(names, holds, columns, rows) for names, holds in kind.needs.items()]
    name = next((name for name, is_right in zip(there, right, strict=True) if not is_right), there[0])
    values = [row[name] for row in rows if row.get(name) is not None]
    return Refusal(
        missing=f"`{name}` holds {one_line(_said(values[0])) if values else 'nothing'}",
        nearest=f"each row should be a {kind.name}, and its values text or turns of `role` and `content`",
    )


def _said(value: object) -> str:
    return repr(value[:60] if isinstance(value, str | bytes | list) else value)


def _renaming(columns: Sequence[str], rows: Sequence[Row]) -> str:
    texts = [name for name in columns if mostly(is_text, [row.get(name) for row in rows])]
    if len(texts) > 1:
        return f"name the question `prompt` and the answer `completion`; columns with text are {named(texts)}"
    if texts:
        return f"rename {named(texts)} to `text`"
    return f"no column holds text; the columns are {named(columns)}"


def named(columns: Iterable[str]) -> str:
    """Return column names as one short line, whatever is in them."""
    shown = [f"`{one_line(name)}`" for name in columns]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
