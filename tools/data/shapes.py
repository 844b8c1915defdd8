"""What the rows of a dataset look like, and which method and which mapping that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..facts import Method
from ..wording import one_line
from .filters import FILTERS
from .mappings import MAPPINGS, Row


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How rows become what the trainer of one method takes."""

    kind: str
    """The shape in words."""
    mapping: str | None
    """A name in `MAPPINGS`, or None when the trainer takes the rows as they are."""
    trainer_columns: tuple[str, ...]
    filter: str | None
    """A name in `FILTERS`: what says why a row of this shape is unusable; None where nothing is known about it."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why no trainer of the method takes these rows, and the nearest thing that would do."""

    missing: str
    nearest: str


def is_text(value: object) -> bool:
    """Whether the value is a string with something in it."""
    return isinstance(value, str) and bool(value.strip())


def is_turns(value: object) -> bool:
    """Whether the value is a chat of `role` and `content`."""
    return _is_list_of(value, "role", "content")


def is_conversation(value: object) -> bool:
    """Whether the value is a ShareGPT conversation of `from` and `value`."""
    return _is_list_of(value, "from", "value")


def is_answer(value: object) -> bool:
    """Whether the value is text or turns."""
    return is_text(value) or is_turns(value)


def is_flag(value: object) -> bool:
    """Whether the value is true or false."""
    return isinstance(value, bool)


def _is_list_of(value: object, *keys: str) -> bool:
    items = value if isinstance(value, list) else []
    return bool(items) and all(isinstance(item, dict) and item.keys() >= set(keys) for item in items)


IN_WORDS: dict[Callable[[object], bool], str] = {
    is_text: "text",
    is_turns: "turns of `role` and `content`",
    is_conversation: "turns of `from` and `value`",
    is_answer: "text or turns",
    is_flag: "true or false",
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A shape that datasets have: the columns that show it, and what its method's trainer is given."""

    name: str
    needs: dict[str, Callable[[object], bool]]
    methods: tuple[Method, ...]
    columns: tuple[str, ...]
    """What the trainer sees, after the mapping if there is one; `beside` columns are added where a set has them."""
    beside: tuple[str, ...] = ()
    mapping: str | None = None
    single_answer: str | None = None
    """The mapping to use instead when every chat has one answer: its loss falls on that answer alone."""
    filter: str | None = None


PAIR = ("prompt", "completion")

# Best first: a set with several shapes, such as a `prompt` beside its `messages`, is read as the first that fits.
KINDS: tuple[Kind, ...] = (
    Kind(
        name="preference",
        needs={"chosen": is_answer, "rejected": is_answer},
        methods=("dpo", "reward"),
        columns=("chosen", "rejected"),
        beside=("prompt",),
    ),
    Kind(
        name="unpaired preference",
        needs={"prompt": is_answer, "completion": is_answer, "label": is_flag},
        methods=("kto",),
        columns=(*PAIR, "label"),
    ),
    Kind(
        name="chat",
        needs={"messages": is_turns},
        methods=("sft",),
        columns=("messages",),
        beside=("tools",),
        single_answer="messages_to_prompt_completion",
        filter="why_not_chat",
    ),
    Kind(
        name="ShareGPT conversation",
        needs={"conversations": is_conversation},
        methods=("sft",),
        columns=("messages",),
        mapping="conversations_to_messages",
        single_answer="conversations_to_prompt_completion",
        filter="why_not_conversation",
    ),
    Kind(
        name="prompt and completion",
        needs={"prompt": is_answer, "completion": is_answer},
        methods=("sft",),
        columns=PAIR,
        filter="why_not_prompt_completion",
    ),
    Kind(
        name="instruction and output",
        needs={"instruction": is_text, "output": is_text},
        methods=("sft",),
        columns=PAIR,
        mapping="instruction_to_prompt_completion",
        filter="why_not_instruction",
    ),
    Kind(
        name="question and answer",
        needs={"question": is_text, "answer": is_text},
        methods=("sft",),
        columns=PAIR,
        mapping="question_to_prompt_completion",
        filter="why_not_question",
    ),
    Kind(name="text", needs={"text": is_text}, methods=("sft",), columns=("text",), filter="why_not_text"),
    Kind(name="prompt", needs={"prompt": is_answer}, methods=("grpo", "rloo", "distillation"), columns=("prompt",)),
)


def recognise(columns: Sequence[str], rows: Sequence[Row], method: Method) -> Shape | Refusal:
    """Say how a dataset becomes what the trainer of `method` takes, judging by its values.

    Args:
        columns: All columns of the dataset.
        rows: A sample of its rows.
        method: The training method.
    """
    fitting = [kind for kind in KINDS if _fits(kind, columns, rows)]
    for kind in fitting:
        if method in kind.methods:
            return _shape(kind, columns, rows)
    wanted = [kind for kind in KINDS if method in kind.methods]
    needs = ", or ".join(" and ".join(f"`{name}`" for name in kind.needs) for kind in wanted)
    if fitting:
        return Refusal(
            missing=f"{method} needs {needs}",
            nearest=f"its {_names(fitting[0].needs)} would do for {' or '.join(fitting[0].methods)}",
        )
    near = max(wanted, key=lambda kind: len(kind.needs.keys() & set(columns)) / len(kind.needs))
    if near.needs.keys() & set(columns):
        return _nearly(near, columns, rows)
    return Refusal(missing=f"{method} needs {needs}", nearest=_renaming(columns, rows))


def _fits(kind: Kind, columns: Sequence[str], rows: Sequence[Row]) -> bool:
    return all(name in columns and _mostly(holds, name, rows) for name, holds in kind.needs.items())


def _mostly(holds: Callable[[object], bool], column: str, rows: Sequence[Row]) -> bool:
    """Whether at least half of the values that are there are such values: a few broken rows hide no shape."""
    values = [value for row in rows if (value := row[column]) is not None]
    good = sum(map(holds, values))
    return good > 0 and 2 * good >= len(values)


def _shape(kind: Kind, columns: Sequence[str], rows: Sequence[Row]) -> Shape:
    beside = tuple(column for column in kind.beside if column in columns)
    if kind.single_answer and not beside and _has_single_answers(kind, rows):
        return Shape(kind=kind.name, mapping=kind.single_answer, trainer_columns=PAIR, filter=kind.filter)
    return Shape(kind=kind.name, mapping=kind.mapping, trainer_columns=(*beside, *kind.columns), filter=kind.filter)


def _has_single_answers(kind: Kind, rows: Sequence[Row]) -> bool:
    why_not = FILTERS[kind.filter or ""]
    whole = [MAPPINGS[kind.mapping](row) if kind.mapping else row for row in rows if why_not(row) is None]
    chats = [row["messages"] for row in whole]
    calls_tools = any(turn.get("tool_calls") for turns in chats for turn in turns)
    return not calls_tools and all(sum(turn["role"] == "assistant" for turn in turns) == 1 for turns in chats)


def _nearly(kind: Kind, columns: Sequence[str], rows: Sequence[Row]) -> Refusal:
    """Refuse a set that has some columns of `kind`, or has them all with other values in them."""
    if lacking := [name for name in kind.needs if name not in columns]:
        return Refusal(
            missing=f"{_names(lacking)} is missing beside {_names(kind.needs.keys() - set(lacking))}",
            nearest=f"name the column that holds it {_names(lacking)}; the columns are {_names(columns)}",
        )
    name, holds = next((n, h) for n, h in kind.needs.items() if not _mostly(h, n, rows))
    values = [row[name] for row in rows if row[name] is not None]
    return Refusal(
        missing=f"`{name}` holds {one_line(repr(values[0])) if values else 'nothing'}",
        nearest=f"each `{name}` should hold {IN_WORDS[holds]}",
    )


def _renaming(columns: Sequence[str], rows: Sequence[Row]) -> str:
    texts = [column for column in columns if _mostly(is_text, column, rows)]
    if len(texts) > 1:
        return f"name the question `prompt` and the answer `completion`; columns with text are {_names(texts)}"
    if texts:
        return f"rename {_names(texts)} to `text`"
    return f"no column holds text; the columns are {_names(columns)}"


def _names(columns: Iterable[str]) -> str:
    """Return column names as one short line, whatever is in them."""
    shown = [f"`{one_line(name)}`" for name in columns]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
