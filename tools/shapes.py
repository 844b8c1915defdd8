"""What the rows of a dataset look like, which method that fits, and the small functions that make them fit.

The functions in `MAPPINGS`, `FILTERS` and `HOLDOUTS` are emitted into the training script as they stand here
(`source_of`), so each stands alone: no imports, no names from outside. The script applies them in this order: hold
out, filter, map. A mapping only ever sees rows that its filter has let through.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .facts import Method

Row = dict[str, Any]

# --- mappings: row -> the columns that the trainer is to see ----------------------------------------------------------


def messages_to_prompt_completion(row):
    """Split a chat into its last answer and the turns before it, so that only the answer is trained on."""
    turns = [{"role": turn["role"], "content": turn.get("content")} for turn in row["messages"]]
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def conversations_to_messages(row):
    """Rename the speakers of a ShareGPT conversation."""
    roles = {"human": "user", "gpt": "assistant"}
    turns = [{"role": roles.get(turn["from"], turn["from"]), "content": turn["value"]} for turn in row["conversations"]]
    return {"messages": turns}


def conversations_to_prompt_completion(row):
    """Rename the speakers of a ShareGPT conversation, and split off its last answer: only that is trained on."""
    roles = {"human": "user", "gpt": "assistant"}
    turns = [{"role": roles.get(turn["from"], turn["from"]), "content": turn["value"]} for turn in row["conversations"]]
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def instruction_to_prompt_completion(row):
    """Turn an Alpaca instruction, with its input where it has one, into a question and its answer."""
    question = "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": row["output"]}],
    }


def question_to_prompt_completion(row):
    """Turn a question and its answer into a chat of two turns."""
    return {
        "prompt": [{"role": "user", "content": row["question"]}],
        "completion": [{"role": "assistant", "content": row["answer"]}],
    }


# --- filters: row -> why it cannot be trained on, or None -------------------------------------------------------------


def why_not_chat(row):
    """Say why a chat cannot be trained on, or None when it can."""
    turns = row["messages"]
    if not isinstance(turns, list) or len(turns) < 2:
        return "no question and answer"
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            return "turn without a role"
        content = turn.get("content")
        if not isinstance(content, str | None):
            return "content that is not text"
        if not (content or "").strip() and not turn.get("tool_calls"):
            return "empty turn"
    return None if turns[-1]["role"] == "assistant" else "no answer at the end"


def why_not_conversation(row):
    """Say why a ShareGPT conversation cannot be trained on, or None when it can."""
    turns = row["conversations"]
    if not isinstance(turns, list) or len(turns) < 2:
        return "no question and answer"
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("from"), str):
            return "turn without a speaker"
        content = turn.get("value")
        if not isinstance(content, str | None):
            return "content that is not text"
        if not (content or "").strip():
            return "empty turn"
    return None if turns[-1]["from"] in ("gpt", "assistant") else "no answer at the end"


def why_not_prompt_completion(row):
    """Say why a prompt and its completion, as text or as turns, cannot be trained on, or None when they can."""
    for column in ("prompt", "completion"):
        turns = row[column] if isinstance(row[column], list) else [{"content": row[column]}]
        contents = [turn.get("content") if isinstance(turn, dict) else None for turn in turns]
        if not all(isinstance(content, str | None) for content in contents):
            return f"{column} that is not text"
        if not contents or not all((content or "").strip() for content in contents):
            return f"empty {column}"
    return None if isinstance(row["prompt"], list) == isinstance(row["completion"], list) else "text beside turns"


def why_not_instruction(row):
    """Say why an instruction and its output cannot be trained on, or None when they can."""
    for column in ("instruction", "output"):
        if not isinstance(row[column], str) or not row[column].strip():
            return f"no text in {column}"
    return None if isinstance(row.get("input") or "", str) else "input that is not text"


def why_not_question(row):
    """Say why a question and its answer cannot be trained on, or None when they can."""
    for column in ("question", "answer"):
        if not isinstance(row[column], str) or not row[column].strip():
            return f"no text in {column}"
    return None


def why_not_text(row):
    """Say why a text cannot be trained on, or None when it can."""
    return None if isinstance(row["text"], str) and row["text"].strip() else "no text in text"


# --- holdouts: dataset -> (train, heldout) ----------------------------------------------------------------------------


def split_by_column(rows):
    """Hold out the rows whose own `split` column says so, at most 200 of them."""
    names = ("test", "validation", "valid", "val", "eval", "dev")
    sides = [str(side).lower() in names for side in rows["split"]]
    heldout = [number for number, is_heldout in enumerate(sides) if is_heldout]
    train = [number for number, is_heldout in enumerate(sides) if not is_heldout]
    return rows.select(train), rows.select(heldout[:: -(-len(heldout) // 200)])


def split_given(rows):
    """Hold out the evaluation split that the dataset brings along, at most 200 of its rows."""
    train = rows.info.splits[str(rows.split).split("+")[0]].num_examples
    step = -(-(len(rows) - train) // 200)
    return rows.select(range(train)), rows.select(range(train, len(rows), step))


def split_by_seed(rows):
    """Hold out a tenth of the rows, at least 1 and at most 200, drawn with a fixed seed."""
    parts = rows.train_test_split(test_size=max(1, min(200, len(rows) // 10)), seed=42)
    return parts["train"], parts["test"]


MAPPINGS: dict[str, Callable[[Row], Row]] = {
    function.__name__: function
    for function in (
        messages_to_prompt_completion,
        conversations_to_messages,
        conversations_to_prompt_completion,
        instruction_to_prompt_completion,
        question_to_prompt_completion,
    )
}
FILTERS: dict[str, Callable[[Row], str | None]] = {
    function.__name__: function
    for function in (
        why_not_chat,
        why_not_conversation,
        why_not_prompt_completion,
        why_not_instruction,
        why_not_question,
        why_not_text,
    )
}
HOLDOUTS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    function.__name__: function for function in (split_by_column, split_given, split_by_seed)
}


def source_of(name: str) -> str:
    """Return the source of an emitted function, with its docstring and without blank lines around it.

    Raises:
        KeyError: No mapping, filter or holdout has this name.
    """
    return inspect.getsource({**MAPPINGS, **FILTERS, **HOLDOUTS}[name]).strip()


# --- the recogniser ---------------------------------------------------------------------------------------------------


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


def one_line(text: str, limit: int = 40) -> str:
    """Return foreign text in one line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
