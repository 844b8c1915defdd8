"""What TRL does with rows: constructs the trainer of a method on them and takes one step, in a process of its own.

Reads `tokenizer` (a folder) and `cells`, each with `file`, `method`, `teaches` (a text that should carry loss) and
`functions` (source), `filter`, `mapping`, `columns`; with `columns` null its rows are tried as they are. Answers with
one outcome a cell: `trains` or `learns nothing` with `rows`, `ended` (rows whose end carries loss), `prompted` (rows
whose answer has a prompt; null where prompts are not told apart), `tokens` that carry loss, `taught` (whether the text
is among them) and `learned` (how the last of them ends); `fails` or `unreadable` with the `error`.

The model is a two-layer Llama of width 32. All rows are in the one step, so that none of them stays untried.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, set_seed
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

IGNORED = -100
ANSWER_TOKENS = 4
LEARNED_CHARACTERS = 80
LENGTH: dict[str, Any] = {"max_length": 8192}
"""TRL cuts at 1,024 tokens otherwise, which are few where each byte is one."""

Outcome = dict[str, Any]


def main(request: dict[str, Any]) -> list[Outcome]:
    """Return the outcome of each cell, in order."""
    tokenizer = AutoTokenizer.from_pretrained(request["tokenizer"])
    outcomes = []
    for cell in request["cells"]:
        outcomes.append(outcome_of(cell, tokenizer))
        print(cell["method"], cell["file"], outcomes[-1])
    return outcomes


def outcome_of(cell: dict[str, Any], tokenizer: Any) -> Outcome:
    """Read, map, train; what is raised on the way is the outcome."""
    try:
        rows = read(cell["file"])
    except Exception as error:  # noqa: BLE001 (a file that nobody can read is an outcome)
        return {"outcome": "unreadable", "error": in_short(error)}
    try:
        return trained(cell["method"], mapped(rows, cell), tokenizer, cell["teaches"])
    except Exception as error:  # noqa: BLE001 (whatever TRL raises is the outcome)
        return {"outcome": "fails", "error": in_short(error)}


@cache
def read(file: str) -> Dataset:
    """Load a JSONL file as `datasets` does."""
    return datasets.load_dataset("json", data_files=file, split="train", cache_dir=tempfile.gettempdir())


def mapped(rows: Dataset, cell: dict[str, Any]) -> Dataset:
    """Filter and map as the training script does; leave the rows as they are when the cell says nothing."""
    if cell["columns"] is None:
        return rows
    functions: dict[str, Any] = {}
    exec(cell["functions"], functions)
    why_not, mapping = functions.get(cell["filter"]), functions.get(cell["mapping"])
    if why_not:
        rows = rows.filter(lambda row: why_not(row) is None)
    if mapping:
        return rows.map(mapping, remove_columns=rows.column_names)
    return rows.select_columns(cell["columns"])


def trained(method: str, rows: Dataset, tokenizer: Any, teaches: str) -> Outcome:
    """Take one step on all rows, and count what carried loss."""
    with tempfile.TemporaryDirectory() as scratch:
        options: dict[str, Any] = {
            "output_dir": scratch,
            "max_steps": 1,
            "per_device_train_batch_size": max(2, len(rows)),
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
            "gradient_checkpointing": False,
        }
        trainer, learned = TRAINERS[method](rows, tokenizer, options)
        loss = trainer.train().training_loss
    tokens = learned()
    texts = [tokenizer.decode(row) for row in tokens]
    return {
        "outcome": "trains" if any(tokens) and math.isfinite(loss) else "learns nothing",
        "rows": len(texts),
        "ended": sum(text.rstrip().endswith(tokenizer.eos_token) for text in texts),
        "prompted": prompted(trainer),
        "tokens": sum(map(len, tokens)),
        "taught": any(teaches in text for text in texts),
        "learned": texts[-1][-LEARNED_CHARACTERS:] if texts else "",
    }


def prompted(trainer: Any) -> int | None:
    """Count the prepared rows whose prompt is not empty."""
    rows = trainer.train_dataset
    return sum(map(bool, rows["prompt_ids"])) if "prompt_ids" in rows.column_names else None


Learned = Callable[[], list[list[int]]]


def sft(rows: Dataset, tokenizer: Any, options: dict[str, Any]) -> tuple[Any, Learned]:
    """`SFTTrainer`: the tokens whose labels are not masked."""
    trainer = SFTTrainer(
        language_model(tokenizer), SFTConfig(**options, **LENGTH), train_dataset=rows, processing_class=tokenizer
    )
    return trainer, lambda: [[label for label in row if label != IGNORED] for row in column(trainer, "labels")]


def dpo(rows: Dataset, tokenizer: Any, options: dict[str, Any]) -> tuple[Any, Learned]:
    """`DPOTrainer`: the chosen answers; the rejected stand beside them."""
    trainer = DPOTrainer(
        language_model(tokenizer),
        language_model(tokenizer),
        args=DPOConfig(**options, **LENGTH),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    return trainer, lambda: column(trainer, "chosen_ids")


def kto(rows: Dataset, tokenizer: Any, options: dict[str, Any]) -> tuple[Any, Learned]:
    """`KTOTrainer`: the answers."""
    trainer = KTOTrainer(
        language_model(tokenizer),
        language_model(tokenizer),
        args=KTOConfig(**options, **LENGTH),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    return trainer, lambda: column(trainer, "completion_ids")


def grpo(rows: Dataset, tokenizer: Any, options: dict[str, Any]) -> tuple[Any, Learned]:
    """`GRPOTrainer`: what it generated, with a reward that takes every column there is."""
    generated: list[list[int]] = []

    def length(completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        generated.extend(completion_ids)
        return [float(sum(ids)) for ids in completion_ids]

    batch = 2 * options["per_device_train_batch_size"]
    config = GRPOConfig(
        **options | {"per_device_train_batch_size": batch},
        num_generations=2,
        max_completion_length=ANSWER_TOKENS,
    )
    trainer = GRPOTrainer(
        language_model(tokenizer), reward_funcs=length, args=config, train_dataset=rows, processing_class=tokenizer
    )
    return trainer, lambda: generated


def reward(rows: Dataset, tokenizer: Any, options: dict[str, Any]) -> tuple[Any, Learned]:
    """`RewardTrainer`: the chosen texts; the rejected stand beside them."""
    model = LlamaForSequenceClassification(llama(tokenizer, num_labels=1))
    trainer = RewardTrainer(
        model, args=RewardConfig(**options, **LENGTH), train_dataset=rows, processing_class=tokenizer
    )
    return trainer, lambda: column(trainer, "chosen_ids")


TRAINERS = {"sft": sft, "dpo": dpo, "kto": kto, "grpo": grpo, "reward": reward}


def column(trainer: Any, name: str) -> list[list[int]]:
    """A column of the rows that TRL prepared."""
    return list(trainer.train_dataset[name])


def language_model(tokenizer: Any) -> LlamaForCausalLM:
    """A new tiny model."""
    set_seed(0)
    return LlamaForCausalLM(llama(tokenizer))


def llama(tokenizer: Any, **more: Any) -> LlamaConfig:
    """The shape of the tiny model."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        **more,
    )


def in_short(error: Exception) -> str:
    """The type and the first words of an error, without what changes from run to run."""
    cause = error.__cause__ if type(error).__name__ == "DatasetGenerationError" and error.__cause__ else error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"[:200]


if __name__ == "__main__":
    datasets.disable_caching()
    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)
    question, answer = Path(sys.argv[1]), Path(sys.argv[2])
    answer.write_text(json.dumps(main(json.loads(question.read_text(encoding="utf-8")))), encoding="utf-8")
