"""Which rewards fit which data, judged by what its columns hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..data.shaping.mappings import Row
from ..data.shaping.shapes import Refusal, mostly, named
from ..data.shaping.turns import ANSWERS
from ..errors import InputError
from ..wording import one_line
from .answers import check_of, completion_text, final_answer
from .own import own_reward
from .table import REWARDS, RewardChoice

# Columns that hold tests, and those that hold the reference, the surest first; in any case, and as they are called
# after `kept_for_rewards` renamed those that the trainer fills itself.
TESTS = ("tests", "test", "test_list", "test_cases", "unit_tests", "input_output", "official_tests", "public_tests")
REFERENCES = ("answer", "final_answer", "expected_answer", "ground_truth", "reference_answer", "target", "label")
GIVEN = tuple(f"given_{name}" for name in ("answer", "completion", "completions", "solution"))
ENTRY_POINT = "entry_point"
"""The column with the function that HumanEval's `check` is called with."""
MOST_WORDS = 8
"""A longer answer is prose, which no completion repeats word for word."""

_NUMBER = re.compile(r"[-+$€£]?\s*\d[\d,._ ]*(?:e[-+]?\d+)?\s*(?:%|/\s*\d+|\w{0,12})", re.IGNORECASE)
_LATEX = re.compile(r"\\(?:d?frac|sqrt|boxed|pi|cdot|times|left|infty|begin|le|ge|in)\b|[\d\w)}]\s*[\^=]\s*[-\d\w({\\]")


def choose_rewards(
    columns: Sequence[str], rows: Sequence[Row], stated: Mapping[str, Mapping[str, Any]] | None = None, *, folder: Path
) -> tuple[RewardChoice, ...] | Refusal:
    """Choose rewards for prompts by what is beside them, or say what is missing.

    Tests become `code_passes_tests`; answers that are numbers or formulas `math_equality`, short ones in words
    `exact_answer`. Prompts that ask for <think> and <answer> get `format_matches` besides. What a person states is
    taken instead, and only its column is looked for.

    Args:
        columns: The columns that the trainer keeps.
        rows: A sample of rows as the trainer sees them.
        stated: Rewards that a person asked for, by name or as `FILE.py:FUNCTION`, each with its options.
        folder: The folder in which a person's own file is looked for.

    Raises:
        InputError: What was stated is unknown, or does not fit these columns.
    """
    if stated:
        return tuple(_stated(name, dict(options), columns, rows, folder) for name, options in stated.items())
    for choose in (_tests, _references):
        if choice := choose(columns, rows):
            return (choice, *_form(rows))
    return Refusal(
        missing=f"no column says what a right completion is; the columns are {named(columns)}",
        nearest="name one with answers `answer` or with tests `tests`, or write a reward: `rewards.py:function`",
    )


# --- what the data says -----------------------------------------------------------------------------------------------


def _tests(columns: Sequence[str], rows: Sequence[Row]) -> RewardChoice | None:
    entry = {"entry_point_column": ENTRY_POINT} if ENTRY_POINT in columns else {}
    for name in _present(TESTS, columns):
        there = [row for row in rows if row.get(name)]
        if mostly(partial(_is_tested, name), there):
            return RewardChoice(
                name="code_passes_tests", reason=f"`{name}` holds tests", options={"reference_column": name, **entry}
            )
    return None


def _is_tested(name: str, row: Any) -> bool:
    return check_of(row[name], row.get(ENTRY_POINT)) is not None


def _references(columns: Sequence[str], rows: Sequence[Row]) -> RewardChoice | None:
    for name in _present((*REFERENCES, *GIVEN, *ANSWERS), columns):
        values = [row.get(name) for row in rows]
        if mostly(is_math, values):
            return RewardChoice(
                name="math_equality", reason=f"`{name}` holds numbers or formulas", options={"reference_column": name}
            )
        if mostly(is_short, values):
            return RewardChoice(
                name="exact_answer", reason=f"`{name}` holds short answers", options={"reference_column": name}
            )
    return None


def _form(rows: Sequence[Row]) -> tuple[RewardChoice, ...]:
    prompts = [_prompt(row) for row in rows]
    if mostly(lambda text: "<think>" in str(text) and "<answer>" in str(text), prompts):
        return (RewardChoice(name="format_matches", reason="the prompts ask for <think> and <answer>"),)
    return ()


def _prompt(row: Row) -> str:
    prompt = row.get("prompt") or ""
    return (
        prompt
        if isinstance(prompt, str)
        else "\n".join(completion_text([{**turn, "role": "assistant"}]) for turn in prompt)
    )


def is_math(value: object) -> bool:
    """Whether a reference is a number or a formula."""
    if isinstance(value, int | float):
        return not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    answer = final_answer(value).strip().strip("$").strip(". ")
    is_marked = answer != value.strip() or len(answer.split()) <= MOST_WORDS
    return is_marked and bool(_NUMBER.fullmatch(answer) or _LATEX.search(answer))


def is_short(value: object) -> bool:
    """Whether a reference is one that a completion can repeat, or several of such."""
    if isinstance(value, list):
        return bool(value) and all(map(is_short, value))
    if isinstance(value, str):
        return 0 < len(final_answer(value).split()) <= MOST_WORDS
    return isinstance(value, bool)


# --- what a person says -----------------------------------------------------------------------------------------------


def _stated(
    name: str, options: dict[str, Any], columns: Sequence[str], rows: Sequence[Row], folder: Path
) -> RewardChoice:
    if ".py:" in name:
        own = own_reward(name, folder)
        if lacking := [column for column in own.columns if column not in columns]:
            raise InputError(
                f"the reward `{own.name}` asks for {named(lacking)}, which the data does not have.",
                hint=f"its columns are {named(columns)}",
            )
        return RewardChoice(name=own.name, reason="as stated", options=options, own=own)
    if name not in REWARDS:
        raise InputError(
            f"there is no reward `{one_line(name)}`.", hint=f"known: {', '.join(REWARDS)}, or FILE.py:FUNCTION"
        )
    if REWARDS[name].needs_column:
        options["reference_column"] = options.get("reference_column") or _column_for(name, columns, rows)
        if options["reference_column"] not in columns:
            raise InputError(
                f"the reward `{name}` compares with `{options['reference_column']}`, which the data does not have.",
                hint=f"its columns are {named(columns)}",
            )
    return RewardChoice(name=name, reason="as stated", options=options)


def _column_for(name: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the column that a stated reward compares with: the one that fits, else the first of such a name."""
    fitting = (_tests if name == "code_passes_tests" else _references)(columns, rows)
    known = _present(TESTS if name == "code_passes_tests" else (*REFERENCES, *GIVEN, *ANSWERS), columns)
    if fitting is None and not known:
        raise InputError(
            f"the reward `{name}` needs a column to compare with, and none is known.",
            hint=f"state its `reference_column`; there are {named(columns)}",
        )
    return fitting.options["reference_column"] if fitting else known[0]


def _present(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    by_lower = {column.lower(): column for column in columns if column != "prompt"}
    return [by_lower[name] for name in names if name in by_lower]
