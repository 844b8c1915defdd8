"""What datasets look like, and that the emitted functions do what their names say with whatever they meet."""

from __future__ import annotations

import builtins
import symtable
from collections.abc import Iterator
from typing import Any

import pytest
from ftagent.tools.data.emitted import source_of
from ftagent.tools.data.filters import FILTERS
from ftagent.tools.data.holdouts import HOLDOUTS
from ftagent.tools.data.mappings import MAPPINGS
from ftagent.tools.data.shapes import KINDS, Refusal, Shape, recognise
from ftagent.tools.facts import Method
from hypothesis import example, given
from hypothesis import strategies as st

CHAT = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]}
LONG_CHAT = {"messages": CHAT["messages"] * 2}
SHAREGPT = {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]}
LONG_SHAREGPT = {"conversations": SHAREGPT["conversations"] * 2}
ALPACA = {"instruction": "Add.", "input": "1, 2", "output": "3"}
PAIR = {"prompt": CHAT["messages"][:1], "completion": CHAT["messages"][1:]}


def seen(row: dict[str, Any], method: Method = "sft") -> Shape | Refusal:
    return recognise(list(row), [row, row], method)


# --- recognising ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "mapping", "columns"),
    [
        (CHAT, "messages_to_prompt_completion", ("prompt", "completion")),
        (LONG_CHAT, None, ("messages",)),
        (LONG_CHAT | {"prompt": "Why?"}, None, ("messages",)),
        (CHAT | {"tools": "[]"}, None, ("tools", "messages")),
        (SHAREGPT, "conversations_to_prompt_completion", ("prompt", "completion")),
        (LONG_SHAREGPT, "conversations_to_messages", ("messages",)),
        ({"prompt": "Why?", "completion": "Because."}, None, ("prompt", "completion")),
        (PAIR, None, ("prompt", "completion")),
        (ALPACA, "instruction_to_prompt_completion", ("prompt", "completion")),
        ({"question": "Why?", "answer": "Because."}, "question_to_prompt_completion", ("prompt", "completion")),
        ({"text": "Because.", "id": 7}, None, ("text",)),
    ],
)
def test_rows_for_sft_are_recognised_by_their_values(
    row: dict[str, Any], mapping: str | None, columns: tuple[str, ...]
) -> None:
    shape = seen(row)
    assert isinstance(shape, Shape)
    assert (shape.mapping, shape.trainer_columns) == (mapping, columns)


def test_the_trainer_never_sees_a_prompt_beside_messages() -> None:
    """`SFTTrainer` would take the prompt-completion branch and stop with `KeyError: 'completion'`."""
    shape = seen(CHAT | {"prompt": "Why?", "generation": "Because.", "split": "train"})
    assert isinstance(shape, Shape)
    assert shape.mapping == "messages_to_prompt_completion"


@pytest.mark.parametrize(
    ("row", "methods"),
    [
        ({"chosen": "yes", "rejected": "no"}, ("dpo", "reward")),
        ({"prompt": "Why?", "completion": "Because.", "label": True}, ("kto",)),
        ({"prompt": "Why?"}, ("grpo", "rloo", "distillation")),
    ],
)
def test_other_methods_recognise_their_rows(row: dict[str, Any], methods: tuple[Method, ...]) -> None:
    for method in methods:
        assert isinstance(seen(row, method), Shape)


@pytest.mark.parametrize(
    ("row", "method", "words"),
    [
        ({"chosen": "yes", "rejected": "no"}, "sft", "`chosen`, `rejected` would do for dpo or reward"),
        (CHAT, "dpo", "`messages` would do for sft"),
        ({"instruction": "Add."}, "sft", "`output` is missing beside `instruction`"),
        ({"messages": 7}, "sft", "`messages` holds 7"),
        ({"messages": None}, "sft", "`messages` holds nothing"),
        ({"body": "Because."}, "sft", "rename `body` to `text`"),
        ({"ask": "Why?", "say": "Because."}, "sft", "name the question `prompt` and the answer `completion`"),
        ({"a": 1, "b": [2]}, "sft", "no column holds text"),
        ({"{{ 7 * 7 }}\n'\"": 1, "x" * 500: 2}, "sft", "`{{ 7 * 7 }} '\"`"),
    ],
)
def test_a_refusal_names_what_is_missing_and_what_would_do(row: dict[str, Any], method: Method, words: str) -> None:
    refusal = seen(row, method)
    assert isinstance(refusal, Refusal)
    said = f"{refusal.missing} {refusal.nearest}"
    assert words in said
    assert "\n" not in said and len(said) < 500


def test_a_few_broken_rows_hide_no_shape() -> None:
    rows = [CHAT, {"messages": None}, CHAT, {"messages": "broken"}]
    shape = recognise(["messages"], rows, "sft")
    assert isinstance(shape, Shape) and shape.filter == "why_not_chat"


def test_a_chat_that_calls_tools_is_not_torn_apart() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"type": "function"}]}
    shape = seen({"messages": [CHAT["messages"][0], call]})
    assert isinstance(shape, Shape) and shape.mapping is None


# --- the emitted functions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "row", "mapped"),
    [
        ("messages_to_prompt_completion", CHAT | {"id": 1}, PAIR),
        ("conversations_to_prompt_completion", SHAREGPT, PAIR),
        ("conversations_to_messages", LONG_SHAREGPT, LONG_CHAT),
        ("question_to_prompt_completion", {"question": "Why?", "answer": "Because."}, PAIR),
        ("instruction_to_prompt_completion", {"instruction": "Why?", "input": None, "output": "Because."}, PAIR),
        ("instruction_to_prompt_completion", {"instruction": "Why?", "output": "Because."}, PAIR),
    ],
)
def test_a_mapping_makes_the_columns_of_the_trainer_and_no_others(
    name: str, row: dict[str, Any], mapped: dict[str, Any]
) -> None:
    assert MAPPINGS[name](row) == mapped


def test_the_input_of_an_instruction_is_kept() -> None:
    mapped = MAPPINGS["instruction_to_prompt_completion"](ALPACA)
    assert mapped["prompt"] == [{"role": "user", "content": "Add.\n\n1, 2"}]


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("why_not_chat", CHAT, None),
        ("why_not_chat", {"messages": None}, "no question and answer"),
        ("why_not_chat", {"messages": CHAT["messages"][:1] * 2}, "no answer at the end"),
        ("why_not_chat", {"messages": [{"role": "user", "content": None}, CHAT["messages"][1]]}, "empty turn"),
        (
            "why_not_chat",
            {"messages": [{"role": "user", "content": 7}, CHAT["messages"][1]]},
            "content that is not text",
        ),
        ("why_not_chat", {"messages": [{"content": "Why?"}, CHAT["messages"][1]]}, "turn without a role"),
        ("why_not_conversation", SHAREGPT, None),
        ("why_not_conversation", {"conversations": [{"from": "human"}, {"from": "gpt"}]}, "empty turn"),
        ("why_not_prompt_completion", PAIR, None),
        ("why_not_prompt_completion", {"prompt": "Why?", "completion": ""}, "empty completion"),
        ("why_not_prompt_completion", PAIR | {"prompt": "Why?"}, "text beside turns"),
        ("why_not_instruction", ALPACA, None),
        ("why_not_instruction", ALPACA | {"input": 7}, "input that is not text"),
        ("why_not_question", {"question": "Why?", "answer": " "}, "no text in answer"),
        ("why_not_text", {"text": None}, "no text in text"),
    ],
)
def test_a_filter_says_why_a_row_is_of_no_use(name: str, row: dict[str, Any], reason: str | None) -> None:
    assert FILTERS[name](row) == reason


@pytest.mark.parametrize("name", [*MAPPINGS, *FILTERS, *HOLDOUTS])
def test_an_emitted_function_asks_for_nothing_but_builtins(name: str) -> None:
    module = symtable.symtable(source_of(name), name, "exec")
    assert list(module.get_identifiers()) == [name]
    assert set(_globals(module)) <= {name, *dir(builtins)}


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global())
    for child in table.get_children():
        yield from _globals(child)


# --- whatever comes ---------------------------------------------------------------------------------------------------

VALUES = st.sampled_from(["Why?", " ", "", None, 7, True, ["x"], {"x": None}])
SPEAKERS = st.sampled_from(["user", "assistant", "human", "gpt", None, ["x"]])
TURN = st.fixed_dictionaries(
    {"role": SPEAKERS, "from": SPEAKERS},
    optional={"content": VALUES, "value": VALUES, "tool_calls": VALUES},
) | st.fixed_dictionaries({}, optional={"role": SPEAKERS, "from": SPEAKERS})
COLUMNS = sorted({name for kind in KINDS for name in kind.needs} | {"input", "tools", "{{ x }}"})
CELL = VALUES | st.lists(TURN, min_size=1, max_size=3)
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, CELL)), min_size=1, max_size=4)


@given(rows=ROWS, columns=st.sets(st.sampled_from(COLUMNS), min_size=1))
def test_the_recogniser_answers_whatever_the_rows_hold(rows: list[dict[str, Any]], columns: set[str]) -> None:
    rows = [{name: row[name] for name in columns} for row in rows]
    for method in ("sft", "dpo", "kto", "grpo", "reward", "distillation"):
        assert isinstance(recognise(sorted(columns), rows, method), Shape | Refusal)


@example(
    rows=[
        dict.fromkeys(COLUMNS)
        | {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "tool_calls": [{"name": "look"}]}]}
    ]
)
@given(rows=ROWS)
def test_a_mapping_takes_every_row_that_its_filter_lets_through(rows: list[dict[str, Any]]) -> None:
    for kind in KINDS:
        for mapping in (kind.mapping, kind.single_answer):
            for row in rows:
                if kind.filter and FILTERS[kind.filter](row) is None and mapping:
                    assert set(MAPPINGS[mapping](row)) in ({"messages"}, {"prompt", "completion"})
