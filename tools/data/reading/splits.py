"""Which subset and which split to train on, when nobody said so: by a rule that can be printed, or not at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import InputError
from ...wording import one_line

# What people call the side that is not trained on: in a `split` column, as a split, or in a file's name.
EVALUATION_SIDES = ("test", "validation", "eval", "dev", "valid", "val")

PYTHON, ENGLISH = ("py", "python", "python3"), ("en", "eng", "english")

# Benchmark (in small letters and digits) to the words that subsets in its language have in their names.
LANGUAGES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("humaneval", "mbpp", "bigcodebench", "livecodebench", "apps", "ds1000"), PYTHON),
    **dict.fromkeys(("gsm8k", "ifeval", "mmlu", "hellaswag", "arc", "truthfulqa", "winogrande", "math"), ENGLISH),
}


class Chosen(NamedTuple):
    """A name and the rule that led to it."""

    name: str
    why: str


class Splits(NamedTuple):
    """The split to train on, the split to hold out where there is one, and the rule that led to them."""

    train: str
    heldout: str | None
    why: str


def choose_subset(dataset: str, names: Sequence[str], default: str | None, benchmarks: Sequence[str]) -> Chosen:
    """Return the subset to train on.

    The dataset's own default wins. Else decontaminated subsets are preferred, then those in the language of a
    benchmark that will be run, then, among these, the one whose name says least: `py` before `py_with_editorials`.

    Raises:
        InputError: More than one is left.
    """
    if len(names) == 1 or default:
        return Chosen(default or names[0], "it is the dataset's default" if len(names) > 1 else "")
    left, reasons = list(names), []
    decontaminated = _with_words(left, ("decontaminated",))
    if decontaminated:
        left, reasons = decontaminated, ["decontaminated"]
    for benchmark in benchmarks:
        spoken = _with_words(left, _language(benchmark))
        if spoken:
            left = _plainest(spoken)
            reasons.append(f"in the language of {one_line(benchmark)}")
            break
    if len(left) == 1:
        return Chosen(left[0], f"the only one of {len(names)} subsets that is {' and '.join(reasons)}")
    guess = _plainest(_with_words(left, (*PYTHON, *ENGLISH)) or left)[0]
    raise InputError(
        f"dataset `{one_line(dataset)}` has {len(names)} subsets and no default: {listed(names)}.",
        hint=f"--subset {one_line(guess, 80)}",
    )


def _language(benchmark: str) -> tuple[str, ...]:
    """Return the words for a benchmark's language; its variants (`HumanEval+`, `mmlu_pro`) share it."""
    plain = re.sub(r"[^a-z0-9]", "", benchmark.lower())
    return next((words for name, words in LANGUAGES.items() if plain.startswith(name)), ())


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower()))


def _with_words(names: Sequence[str], words: Sequence[str]) -> list[str]:
    return [name for name in names if not _words(name).isdisjoint(words)]


def _plainest(names: Sequence[str]) -> list[str]:
    """Return the one name whose words all the others have too, or all of them."""
    plain = [name for name in names if all(_words(name) <= _words(other) for other in names)]
    return plain if len(plain) == 1 else list(names)


def choose_splits(names: Sequence[str]) -> Splits:
    """Return the split to train on, and the one to evaluate on where there is one.

    Raises:
        InputError: No split is plainly the training split.
    """
    trains = [name for name in names if any(word.startswith("train") for word in _words(name))]
    # Best first: `train` itself, then one with an evaluation split of its own.
    trains.sort(key=lambda name: (name != "train", _partner(name, names) is None))
    train = trains[0] if trains else None
    if train is None and len(names) != 1:
        raise InputError(f"none of the splits {listed(names)} is a training split.", hint=f"--split {_guess(names)}")
    train = train or names[0]
    heldout = _partner(train, names)
    if len(names) == 1:
        return Splits(train, None, "" if train == "train" else "it is the only split")
    return Splits(
        train, heldout, f"of {listed(names)}, " + (f"with `{heldout}` to evaluate on" if heldout else "alone")
    )


def known_split(dataset: str, names: Sequence[str], split: str) -> str:
    """Return `split` where the dataset has it.

    Raises:
        InputError: It has not; the message names those that there are.
    """
    if split not in names:
        raise InputError(
            f"`{one_line(dataset)}` has no split `{one_line(split)}`, only {listed(names)}.",
            hint=f"--split {_guess(names)}",
        )
    return split


def _partner(train: str, names: Sequence[str]) -> str | None:
    """Return the evaluation split that belongs to a training split: `test_sft` to `train_sft`."""
    others = (train.replace("train", word) for word in EVALUATION_SIDES)
    return next((other for other in others if other != train and other in names), None)


def _guess(names: Sequence[str]) -> str:
    sides = set(EVALUATION_SIDES)
    return one_line(next((name for name in names if _words(name).isdisjoint(sides)), names[0] if names else "NAME"), 80)


def listed(names: Sequence[str], limit: int = 12) -> str:
    """Return names in one line, whatever is in them."""
    shown = ", ".join(one_line(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
