"""A dry run of rewards: real rows, completions that should and should not be rewarded, and what comes of it."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .answers import final_answer, plain

RewardFunction = Callable[..., Any]
BINS = 10
SILENCE = ("", "I do not know.")
"""Completions that answer nothing."""
FORMS = ("The answer is \\boxed{{{0}}}.", "<think>\nI work it out.\n</think>\n<answer>{0}</answer>")
"""How models write an answer."""
SOLUTIONS = ("canonical_solution", "solution", "code", "reference_solution", "given_solution", "given_completion")
"""Columns that may hold code that passes the tests of its row."""
CODE = "code_passes_tests"


class Completion(NamedTuple):
    """Something that a model might say to the prompt of a row."""

    row: int
    text: str
    kind: Literal["good", "bad", "other"]
    reward: str = ""
    """The reward to which it is good or bad; empty where it is so to all."""


@dataclass(frozen=True, kw_only=True)
class RewardRehearsal:
    """What one reward gave."""

    name: str
    histogram: tuple[tuple[str, int], ...] = ()
    """A reward, or a range of rewards, and how many completions got it; `none` where their row was left out."""
    good_mean: float | None = None
    """Mean over completions that are right; None where none is known to be."""
    bad_mean: float | None = None
    """Mean over completions that are wrong."""
    problem: str = ""
    """Why training on this reward would fail or teach nothing; empty where it would not."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What all rewards gave together."""

    rewards: tuple[RewardRehearsal, ...]
    completions: int
    are_all_equal: bool
    """Whether every completion got the same sum: there is nothing to learn."""
    is_blind: bool
    """Whether a reward compares with something, and no completion is known to be right: equal rewards say little."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why a training with these rewards would fail or teach nothing; empty where it would not."""
        found = tuple(f"{reward.name}: {reward.problem}" for reward in self.rewards if reward.problem)
        return found or ("every completion gets the same reward",) * (self.are_all_equal and not self.is_blind)


def rehearse(
    rewards: Mapping[str, RewardFunction],
    rows: Sequence[Mapping[str, Any]],
    *,
    columns: Mapping[str, str] | None = None,
    samples: Sequence[tuple[int, str]] = (),
    tokenize: Callable[[str], Sequence[int | str]] = str.split,
) -> Rehearsal:
    """Call rewards as the trainer does, on what is right, what is wrong and what a model says, and judge the outcome.

    Right is each row's own reference, in the forms in which models write; wrong are another row's reference and
    silence. What else a row holds is said too, as neither.

    Args:
        rewards: Name to function.
        rows: Rows as the trainer sees them.
        columns: Name of a reward to the column that it compares with.
        samples: What a model generated: the index of a row, and the text.
        tokenize: Makes tokens of a text, for rewards that count them.
    """
    columns = columns or {}
    said = list(_completions(rows, columns, samples))
    given = {name: _call(reward, rows, said, tokenize) for name, reward in rewards.items()}
    judged = tuple(_judged(name, values, said) for name, values in given.items())
    numbers = [values for values in given.values() if not isinstance(values, str)]
    sums = {round(sum(value or 0.0 for value in at), 6) for at in zip(*numbers, strict=True)}
    return Rehearsal(
        rewards=judged,
        completions=len(said),
        are_all_equal=len(sums) <= 1,
        is_blind=any(reward.name in columns and reward.good_mean is None for reward in judged),
    )


# --- what is said -----------------------------------------------------------------------------------------------------


def _completions(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], samples: Sequence[tuple[int, str]]
) -> Iterator[Completion]:
    for index, row in enumerate(rows):
        other = rows[(index + 1) % len(rows)]
        for reward, column in columns.items():
            right = _right(reward, column, row)
            yield from (Completion(index, text, "good", reward) for text in right)
            if _differs(row.get(column), other.get(column)):
                yield from (Completion(index, text, "bad", reward) for text in _right(reward, column, other))
        yield from (Completion(index, text, "bad") for text in SILENCE)
        plain_values = [
            value for name, value in row.items() if name != "prompt" and isinstance(value, str | int | float)
        ]
        yield from (Completion(index, str(value), "other") for value in plain_values)
    yield from (Completion(index, text, "other") for index, text in samples)


def _right(reward: str, column: str, row: Mapping[str, Any]) -> list[str]:
    """Return completions that are right by what a row holds."""
    if reward == CODE:
        solution = next((row[name] for name in SOLUTIONS if isinstance(row.get(name), str) and name != column), None)
        return [f"```python\n{_whole(row, solution)}\n```"] if solution else []
    reference = row.get(column)
    reference = reference[0] if isinstance(reference, list) and reference else reference
    answer = "" if reference is None else final_answer(str(reference))
    return [form.format(answer) for form in FORMS] if answer else []


def _whole(row: Mapping[str, Any], solution: str) -> str:
    """Return a solution with the prompt before it where it is the body of a function that the prompt begins."""
    prompt = row.get("prompt")
    begun = prompt[-1]["content"] if isinstance(prompt, list) and prompt else prompt
    return f"{begun}{solution}" if solution[:1].isspace() and isinstance(begun, str) and "def " in begun else solution


def _differs(mine: object, other: object) -> bool:
    return plain(final_answer(str(mine))) != plain(final_answer(str(other)))


# --- what is given for it ---------------------------------------------------------------------------------------------


def _call(
    reward: RewardFunction,
    rows: Sequence[Mapping[str, Any]],
    said: Sequence[Completion],
    tokenize: Callable[[str], Sequence[int | str]],
) -> list[float | None] | str:
    """Return the rewards of all completions, or why there are none (`_calculate_rewards`, trl 1.16)."""
    at = [rows[completion.row] for completion in said]
    prompts = [row.get("prompt") for row in at]
    talks = bool(prompts) and isinstance(prompts[0], list)
    names = [name for name in (rows[0] if rows else ()) if name not in ("prompt", "completion", "completion_ids")]
    try:
        found = reward(
            prompts=prompts,
            completions=[[{"role": "assistant", "content": c.text}] if talks else c.text for c in said],
            completion_ids=[list(tokenize(completion.text)) for completion in said],
            **{name: [row.get(name) for row in at] for name in names},
            trainer_state=None,
            log_extra=lambda *_: None,
            log_metric=lambda *_: None,
        )
        values = list(asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found)
        values = [None if value is None else float(value) for value in values]
    except Exception as error:  # noqa: BLE001  # a reward may be a person's own, and may raise anything
        return f"it raises {type(error).__name__}: {error}"
    if len(values) != len(said):
        return f"it returns {len(values)} rewards for {len(said)} completions"
    if any(value is not None and not math.isfinite(value) for value in values):
        return "it returns numbers that are not finite"
    return values


async def _awaited(found: Any) -> Any:
    return await found


def _judged(name: str, values: list[float | None] | str, said: Sequence[Completion]) -> RewardRehearsal:
    if isinstance(values, str):
        return RewardRehearsal(name=name, problem=values)
    mine = [
        (completion.kind, value)
        for completion, value in zip(said, values, strict=True)
        if value is not None and completion.reward in ("", name)
    ]
    good, bad = (_mean([value for kind, value in mine if kind == wanted]) for wanted in ("good", "bad"))
    problem = ""
    if all(value is None for value in values):
        problem = "it leaves out every row, as it cannot use what it compares with"
    elif good is not None and bad is not None and good <= bad:
        problem = f"what is right gets {good:.2f}, and what is wrong {bad:.2f}"
    return RewardRehearsal(name=name, histogram=_histogram(values), good_mean=good, bad_mean=bad, problem=problem)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _histogram(values: Sequence[float | None]) -> tuple[tuple[str, int], ...]:
    """Return how often each reward was given, in ranges where there are many."""
    numbers = sorted(value for value in values if value is not None)
    left_out = (("none", len(values) - len(numbers)),) if len(numbers) < len(values) else ()
    if len(set(numbers)) <= BINS:
        return tuple((f"{value:g}", count) for value, count in Counter(numbers).items()) + left_out
    low, width = numbers[0], (numbers[-1] - numbers[0]) / BINS
    counts = Counter(min(BINS - 1, int((value - low) / width)) for value in numbers)
    ranges = ((f"{low + n * width:.3g} to {low + (n + 1) * width:.3g}", counts[n]) for n in range(BINS))
    return tuple((label, count) for label, count in ranges if count) + left_out
