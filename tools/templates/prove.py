"""Prove that a dataset trains: TRL prepares its rows with the real tokenizer and takes one step.

Reads `model`, `loader`, `split`, `functions` (the source of what the training script will use), `holdout`, `filter`,
`mapping`, `trainer_columns`, `every` (two numbers: read each n-th row of either side), `max_length` (null while nobody
stated one), `buckets` (lengths to count at) and `show`. Answers with `refusal` (`why`, `row`), or with `trl`,
`loss_on`, `context`, `lengths`, `at` (counts by bucket), `step` (`rows`, `length`, `loss`), `warnings`, `examples`.

The model is a two-layer Llama of width 32 with the real vocabulary: what is proven is the data. That the model itself
trains is proven later by running the script on its twin.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import trl
from datasets import Dataset
from transformers import AutoConfig, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import get_training_chat_template, is_chat_template_stop_token_trained

ROW = "__row__"
"""A column with the number of each row in the dataset as it was loaded."""
STEP_ROWS = 32
STEP_LENGTHS = (256, 2048, sys.maxsize)
"""Where the rows of the one step are cut: as short as leaves some of them loss. Two rows of 1,024 tokens take 8 s and
2.2 GiB with a vocabulary of 49,152 (measured)."""
IGNORED = -100
"""The label of a token without loss."""


class Warnings(logging.Handler):
    """Keeps what TRL warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.texts.append(record.getMessage())


def main(request: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Let TRL prepare every row and take one step on a few; what it raises is the refusal."""
    warnings = Warnings()
    logging.getLogger("trl").addHandler(warnings)
    train, heldout = load(request)
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    config = AutoConfig.from_pretrained(request["model"]).get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    loss_on = choose_loss(tokenizer, request["trainer_columns"])
    build = trainer_builder(tokenizer, config, loss_on, scratch)
    try:
        measured = measure(build, train, heldout, request, context)
    except Exception as error:  # noqa: BLE001 (whatever TRL raises is the verdict)
        traceback.print_exc()
        return {"refusal": {"why": f"{type(error).__name__}: {error}", "row": first_refused(build, train, heldout)}}
    return measured | {
        "trl": trl.__version__,
        "loss_on": loss_on,
        "context": context,
        "warnings": sorted(set(warnings.texts)),
    }


def load(request: dict[str, Any]) -> tuple[Dataset, ...]:
    """Load, hold out, filter and map with the functions of the training script, keeping each row's number."""
    functions: dict[str, Any] = {}
    exec(request["functions"], functions)
    why_not, mapping = functions.get(request["filter"]), functions.get(request["mapping"])
    rows = datasets.load_dataset(**request["loader"], split=request["split"])
    sides = functions[request["holdout"]](rows.add_column(ROW, list(range(len(rows)))))
    sides = [side.select(range(0, len(side), step)) for side, step in zip(sides, request["every"], strict=True)]
    if why_not:
        sides = [side.filter(lambda row: why_not(row) is None) for side in sides]
    if mapping:
        return tuple(side.map(mapping, remove_columns=rows.column_names) for side in sides)
    return tuple(side.select_columns([ROW, *request["trainer_columns"]]) for side in sides)


def choose_loss(tokenizer: Any, columns: list[str]) -> str:
    """Say which tokens can carry the loss: those of the answers alone, wherever TRL is able to tell them apart."""
    if "completion" in columns:
        return "completion"
    if "messages" in columns and tokenizer.chat_template:
        try:
            template = get_training_chat_template(tokenizer)
        except ValueError:  # no `{% generation %}` in the template, and TRL knows no version of it that has them
            return "all"
        if is_chat_template_stop_token_trained(tokenizer, template):
            return "assistant"
    return "all"


def trainer_builder(tokenizer: Any, config: Any, loss_on: str, scratch: Path) -> Callable[..., SFTTrainer]:
    """Return what builds a trainer over a training set, an evaluation set and a maximal length."""
    vocabulary = max(config.vocab_size, len(tokenizer))
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
        )
    )

    def build(train: Dataset, heldout: Dataset | None = None, max_length: int | None = None) -> SFTTrainer:
        arguments = SFTConfig(
            output_dir=str(scratch),
            max_length=max_length,
            assistant_only_loss=loss_on == "assistant",
            max_steps=1,
            per_device_train_batch_size=2,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            disable_tqdm=True,
        )
        sides = [None if side is None else side.remove_columns(ROW) for side in (train, heldout)]
        return SFTTrainer(model, arguments, train_dataset=sides[0], eval_dataset=sides[1], processing_class=tokenizer)

    return build


def measure(
    build: Callable[..., SFTTrainer], train: Dataset, heldout: Dataset, request: dict[str, Any], context: int | None
) -> dict[str, Any]:
    """Count the tokens of every prepared row, then train on a few for one step."""
    prepared = build(train, heldout)
    learned = [np.array(row) != IGNORED for row in prepared.train_dataset["labels"]]
    print(f"TRL prepared {len(train)} training and {len(heldout)} held-out rows")
    return {
        "lengths": [len(row) for row in learned] + [len(row) for row in prepared.eval_dataset["labels"]],
        "at": {str(length): count_at(learned, length) for length in [*request["buckets"], context] if length},
        "step": take_step(build, train, learned, request["max_length"] or sys.maxsize),
        "examples": [
            {"row": train[number][ROW], "segments": segments(prepared.processing_class, prepared.train_dataset[number])}
            for number in range(len(train))[: request["show"]]
        ],
    }


def count_at(learned: list[np.ndarray], length: int) -> dict[str, int]:
    """Count tokens, trained tokens, cut rows, and rows whose whole answer is cut away, when rows end at `length`."""
    trained = [int(row[:length].sum()) for row in learned]
    return {
        "tokens": sum(min(len(row), length) for row, count in zip(learned, trained, strict=True) if count),
        "trained": sum(trained),
        "cut": sum(len(row) > length for row in learned),
        "lost": trained.count(0),
    }


def take_step(build: Callable[..., SFTTrainer], train: Dataset, learned: list[np.ndarray], stated: int) -> Any:
    """Train for one step on a few rows, evenly spaced among those that keep some loss; None when none does."""
    for length in (min(stated, length) for length in STEP_LENGTHS):
        usable = [number for number, row in enumerate(learned) if row[:length].any()]
        if usable:
            count = min(STEP_ROWS, len(usable))
            sample = train.select([usable[place * len(usable) // count] for place in range(count)])
            print(f"one step on {count} rows, cut at {length} tokens")
            loss = build(sample, max_length=length).train().training_loss
            return {"rows": count, "length": length, "loss": loss}
    return None


def first_refused(build: Callable[..., SFTTrainer], train: Dataset, heldout: Dataset) -> int | None:
    """Return the number of a row that TRL cannot prepare, or None when the trouble lies elsewhere."""
    for part in (train, heldout):
        if can_prepare(build, part):
            continue
        while len(part) > 1:
            middle = len(part) // 2
            first = part.select(range(middle))
            part = part.select(range(middle, len(part))) if can_prepare(build, first) else first
        return part[0][ROW]
    return None


def can_prepare(build: Callable[..., SFTTrainer], part: Dataset) -> bool:
    """Whether TRL prepares these rows without an error."""
    try:
        build(part)
    except Exception:  # noqa: BLE001 (any error counts: `main` has shown the first)
        return False
    return True


def segments(tokenizer: Any, row: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return the text of a row in runs of tokens that carry loss and that do not."""
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    runs = itertools.groupby(pairs, key=lambda pair: pair[1] != IGNORED)
    return [(tokenizer.decode([token for token, _ in run]), trained) for trained, run in runs]


if __name__ == "__main__":
    datasets.disable_caching()  # prepared rows are of no use to anybody later
    datasets.disable_progress_bars()
    question, answer = Path(sys.argv[1]), Path(sys.argv[2])
    result = main(json.loads(question.read_text(encoding="utf-8")), answer.parent)
    answer.write_text(json.dumps(result), encoding="utf-8")
