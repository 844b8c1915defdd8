"""Prove that rows train: TRL's own trainer prepares them with the real tokenizer and takes one step.

Reads `model`, `method`, `train` and `heldout` (folders of saved datasets; null where nothing is held out), `functions`
and `mapping` (the source of what the training script will use, and its name; null when rows train as they are),
`trainer_columns`, `column_types` (of mapped rows: see `data/judging/side.py`), `max_length` (null while nobody stated
one), `buckets` (lengths to count at) and `show`. Answers with `refusal` (`why`, `row`), or with `trainer`, `loss_on`,
`context`, `left_out` (rows that TRL cannot prepare: number to reason), `as_is` (why the rows need their columns
selected, or null), `lengths`, `at` (counts by bucket), `counted` (the training rows behind them), `endless`, `step`,
`warnings` and `examples`.
"""

from __future__ import annotations

import gc

gc.disable()  # importing TRL makes millions of objects that stay: not looking through them saves a second (measured)

import importlib.metadata
import itertools
import json
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any


class OwnNames(dict[str, list[str]]):
    """Stands for `packages_distributions()`, which reads every installed file list: TRL asks it for few packages, and
    all of them are distributed under the names that they are imported by."""

    def __missing__(self, name: str) -> list[str]:
        return [name]


if __name__ == "__main__":
    # Importing is most of what a verdict takes, so it is kept short (measured together: 0.5 s of 3.5 s). These packages
    # are optional to the libraries below, which import them wherever they are installed; nothing here uses them.
    for unused in ("boto3", "peft", "scipy", "sklearn", "torchvision"):
        sys.modules[unused] = None  # pyright: ignore[reportArgumentType]  # documented: it makes an import fail
    importlib.metadata.packages_distributions = OwnNames

import datasets
import numpy as np
import trl
from datasets import Dataset, Features, Json, List, Value
from tiny_trainers import Sequence, Tiny
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, set_seed
from trl.chat_template_utils import get_training_chat_template, is_chat_template_stop_token_trained

ROW = "__row__"
"""A column with the number of each row in the dataset as it was loaded."""
STEP_ROWS = 8
STEP_LENGTHS = (128, 256, 512, 1024, 2048, sys.maxsize)
"""Where the rows of the one step are cut: as short as leaves some of them loss. Two rows of 1,024 tokens take 8 s and
2.2 GiB with a vocabulary of 49,152 (measured)."""
COMPARED_ROWS = 32
REFUSED_SHARE, REFUSED_ROWS = 0.05, 20
"""So many rows may be left out because TRL cannot prepare them. Where it is more, the set is not what it seems, and
finding each takes a second or two."""
END_TOKENS = 4
"""The token that stops the model is among so many at the end of an answer: templates put a line break behind it."""


class Warnings(logging.Handler):
    """Keeps what TRL warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.texts.append(record.getMessage())


class Refused(Exception):
    """TRL cannot prepare these rows.

    Args:
        why: What it raised.
        row: The number of a row that it raised it for, where it is one.
    """

    def __init__(self, why: str, row: int | None) -> None:
        super().__init__(why)
        self.row = row


def main(request: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Let TRL prepare every row and take one step on a few; what it raises is the refusal."""
    warnings = Warnings()
    logging.getLogger("trl").addHandler(warnings)
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    config = AutoConfig.from_pretrained(request["model"]).get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    loss_on = choose_loss(tokenizer, request["method"], request["trainer_columns"])
    tiny = Tiny(request["method"], tokenizer, max(config.vocab_size, len(tokenizer)), loss_on, scratch)
    try:
        answer = prove(tiny, request | {"buckets": [*request["buckets"], *([context] if context else [])]})
    except Refused as refusal:
        return {"refusal": {"why": str(refusal), "row": refusal.row}}
    return answer | {
        "trainer": f"{tiny.name} (trl {trl.__version__})",
        "loss_on": loss_on,
        "context": context,
        "warnings": sorted(set(warnings.texts)),
    }


def prove(tiny: Tiny, request: dict[str, Any]) -> dict[str, Any]:
    """Leave out what TRL cannot prepare, measure the rest, and train on a few rows for one step."""
    rows = Dataset.load_from_disk(request["train"])
    sides = [rows, Dataset.load_from_disk(request["heldout"]) if request["heldout"] else rows.select([])]
    trainer, (train, heldout), left_out = prepare(tiny, [visible(side, request) for side in sides])
    learned = tiny.sequences(trainer.train_dataset)
    print(f"TRL prepared {len(train)} training and {len(heldout)} held-out rows")
    measured = [learned, tiny.sequences(trainer.eval_dataset) if len(heldout) else []]
    numbers = train[ROW]
    as_is = None if request["mapping"] else why_not_as_is(tiny, sides[0], numbers, learned)
    return {
        "left_out": left_out,
        "as_is": as_is,
        "lengths": [longest(row) for rows in measured for row in rows],
        "at": count_at(tiny, learned, request["buckets"]),
        "counted": len(learned),
        "endless": 0 if tiny.method == "reward" else count_endless(learned, stop_tokens(tiny, request["model"])),
        "step": take_step(tiny, without_number(train), learned, request["max_length"] or sys.maxsize),
        "examples": [
            {"row": numbers[place % len(numbers)], "segments": segments(tiny.tokenizer, learned[place][0])}
            for place in range(len(learned))[: request["show"]]
        ],
    }


# --- rows -------------------------------------------------------------------------------------------------------------


def visible(rows: Dataset, request: dict[str, Any]) -> Dataset:
    """Map as the training script will, or keep the trainer's columns; each row keeps its number."""
    if not request["mapping"]:
        return rows.select_columns([ROW, *request["trainer_columns"]])
    functions: dict[str, Any] = {}
    exec(request["functions"], functions)
    columns = {ROW: "same", **request["column_types"]}
    types = {"turns": List(Json()), "json": Json(), "text": Value("string"), "flag": Value("bool")}
    features = Features({name: types.get(kind) or rows.features[name] for name, kind in columns.items()})
    unseen = [name for name in rows.column_names if name not in columns]
    return rows.map(functions[request["mapping"]], remove_columns=unseen, features=features)


def without_number(rows: Dataset) -> Dataset:
    """Return the rows as the trainer gets them."""
    return rows.remove_columns(ROW)


def choose_loss(tokenizer: Any, method: str, columns: list[str]) -> str:
    """Say which tokens can carry the loss: those of the answers alone, wherever TRL is able to tell them apart."""
    if method != "sft" or "completion" in columns:
        return "completion"
    if "messages" in columns and tokenizer.chat_template:
        try:
            template = get_training_chat_template(tokenizer)
        except ValueError:  # no `{% generation %}` in the template, and TRL knows no version of it that has them
            return "all"
        if is_chat_template_stop_token_trained(tokenizer, template):
            return "assistant"
    return "all"


def prepare(tiny: Tiny, sides: list[Dataset]) -> tuple[Any, list[Dataset], dict[int, str]]:
    """Return a trainer over both sides, the sides, and the rows that TRL cannot prepare: number to reason.

    Raises:
        Refused: There are too many of them, or the rest cannot be prepared either.
    """
    refused: dict[int, str] = {}
    trainer, why = attempt(tiny, sides)
    if why:
        limit = min(REFUSED_ROWS, int(REFUSED_SHARE * sum(map(len, sides))))
        for side in sides:
            find_refused(tiny, side, limit, refused)
        sides = [side.filter(lambda row: row[ROW] not in refused) for side in sides]
        trainer, why = attempt(tiny, sides)
        if why:  # each row alone is fine, but not beside the others
            raise Refused(why, None)
    return trainer, sides, refused


def attempt(tiny: Tiny, sides: list[Dataset]) -> tuple[Any, str | None]:
    """Return a trainer over these rows and None, or None and what TRL raises when it prepares them."""
    try:
        trainer = tiny.build(*(without_number(side) for side in sides if len(side)))
        if tiny.generates:
            tiny.sequences(trainer.train_dataset)  # such a trainer reads its prompts when it needs them
    except Exception as error:  # noqa: BLE001 (whatever TRL raises is the verdict)
        traceback.print_exc()
        return None, f"{type(error).__name__}: {error}"
    return trainer, None


def find_refused(tiny: Tiny, part: Dataset, limit: int, refused: dict[int, str]) -> None:
    """Add the rows of a part that TRL cannot prepare, found by halving it."""
    why = attempt(tiny, [part])[1] if len(part) else None
    if why is None:
        return
    if len(part) > 1:
        middle = len(part) // 2
        find_refused(tiny, part.select(range(middle)), limit, refused)
        find_refused(tiny, part.select(range(middle, len(part))), limit, refused)
        return
    refused[part[0][ROW]] = why
    if len(refused) > limit:
        raise Refused(why, part[0][ROW])


def why_not_as_is(tiny: Tiny, rows: Dataset, numbers: list[int], selected: list[list[Sequence]]) -> str | None:
    """Return why the rows with all their columns would not train as they do with the selected ones, or None."""
    kept = set(numbers)
    whole = without_number(rows.filter(lambda row: row[ROW] in kept).select(range(min(len(kept), COMPARED_ROWS))))
    try:
        trainer = tiny.build(whole)
        same = all(a == b for a, b in zip(tiny.sequences(trainer.train_dataset), selected, strict=False))
        if tiny.generates:  # the rewards see the other columns first
            trainer.train()
    except Exception as error:  # noqa: BLE001 (whatever TRL raises is the verdict)
        return f"with all columns TRL raises {type(error).__name__}: {error}"
    return None if same else "with all columns TRL would train on other tokens"


# --- tokens -----------------------------------------------------------------------------------------------------------


def longest(row: list[Sequence]) -> int:
    """Return the tokens of a row's longest sequence."""
    return max(len(sequence.ids) for sequence in row)


def count_at(tiny: Tiny, rows: list[list[Sequence]], lengths: list[int]) -> dict[str, dict[str, int]]:
    """Count tokens, trained tokens, cut rows, and rows whose whole answer is cut away, when rows end at each length."""
    tokens = np.array([sum(np.minimum(len(s.ids), lengths) for s in row) for row in rows])
    trained, kept = trained_at(rows, lengths), kept_at(tiny, rows, lengths)
    counts = {
        "tokens": (tokens * kept).sum(axis=0),
        "trained": (trained * kept).sum(axis=0),
        "cut": (~whole_at(rows, lengths)).sum(axis=0),
        "lost": (~kept).sum(axis=0),
    }
    return {
        str(length): {name: int(count[place]) for name, count in counts.items()} for place, length in enumerate(lengths)
    }


def trained_at(rows: list[list[Sequence]], lengths: list[int]) -> np.ndarray:
    """Return the tokens of each row (down) that carry loss when rows end at each length (across)."""
    return np.array([sum(np.searchsorted(np.flatnonzero(s.learned), lengths) for s in row) for row in rows])


def whole_at(rows: list[list[Sequence]], lengths: list[int]) -> np.ndarray:
    """Return which rows (down) are not cut at each length (across)."""
    return np.array([longest(row) for row in rows])[:, None] <= np.array(lengths)


def kept_at(tiny: Tiny, rows: list[list[Sequence]], lengths: list[int]) -> np.ndarray:
    """Return which rows (down) are still trained on at each length (across); RewardTrainer leaves out what is cut."""
    if tiny.method == "reward":
        return whole_at(rows, lengths)
    return np.full((len(rows), len(lengths)), True) if tiny.generates else trained_at(rows, lengths) > 0


def stop_tokens(tiny: Tiny, model: str) -> set[int]:
    """Return the tokens at which the model stops to generate."""
    stops = {tiny.tokenizer.eos_token_id}
    try:
        named = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:  # the model comes without a generation config
        return stops
    return stops | set(named if isinstance(named, list) else [named])


def count_endless(rows: list[list[Sequence]], stops: set[int]) -> int:
    """Count the rows with an answer that does not end with a token that stops the model."""
    return sum(any(any(s.learned[-1:]) and stops.isdisjoint(s.ids[-END_TOKENS:]) for s in row) for row in rows)


def take_step(tiny: Tiny, train: Dataset, rows: list[list[Sequence]], stated: int) -> Any:
    """Train for one step on a few rows, evenly spaced among those that keep some loss; None when none does."""
    lengths = [min(stated, length) for length in STEP_LENGTHS]
    for length, kept in zip(lengths, kept_at(tiny, rows, lengths).T, strict=True):
        usable = [place % len(train) for place in np.flatnonzero(kept).tolist()]  # some trainers make two rows of one
        if usable:
            count = min(STEP_ROWS, len(usable))
            sample = train.select([usable[place * len(usable) // count] for place in range(count)])
            print(f"one step on {count} rows, cut at {length} tokens")
            loss = tiny.build(sample, max_length=length).train().training_loss
            return {"rows": count, "length": length, "loss": loss}
    return None


def segments(tokenizer: Any, sequence: Sequence) -> list[tuple[str, bool]]:
    """Return the text of a sequence in runs of tokens that carry loss and that do not."""
    runs = itertools.groupby(zip(*sequence, strict=True), key=lambda pair: pair[1])
    return [(tokenizer.decode([token for token, _ in run]), bool(learned)) for learned, run in runs]


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    datasets.disable_caching()  # prepared rows are of no use to anybody later
    datasets.disable_progress_bars()
    question, answer = Path(sys.argv[1]), Path(sys.argv[2])
    result = main(json.loads(question.read_text(encoding="utf-8")), answer.parent)
    answer.write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # taking the interpreter down costs another second (measured)
