"""TRL's own trainer of each method over a model so small that only the data is on trial.

The model is a two-layer Llama of width 32 with the real vocabulary. A prepared row is a list of sequences, each with
its token ids and a flag a token that says whether it carries loss: one sequence for SFT and KTO, two (chosen, rejected)
for DPO and reward models, one without loss (the prompt) for the methods that learn from what they generate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import trl
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

IGNORED = -100
"""The label of a token without loss."""


class Sequence(NamedTuple):
    """Tokens that go through the model together."""

    ids: list[int]
    learned: list[bool]


@dataclass(frozen=True)
class Tiny:
    """Builds the trainer of one method, again and again, over one tokenizer."""

    method: str
    tokenizer: Any
    vocabulary: int
    loss_on: str
    scratch: Path

    @property
    def name(self) -> str:
        """The name of TRL's class."""
        return CLASSES[self.method][0]

    @property
    def generates(self) -> bool:
        """Whether the data has prompts only."""
        return self.method in GENERATING

    def build(self, train: Dataset, heldout: Dataset | None = None, max_length: int | None = None) -> Any:
        """Construct the trainer over these rows. TRL prepares them here; what it raises is its verdict."""
        trainer, config = (getattr(trl, name) for name in CLASSES[self.method])
        arguments = config(
            output_dir=str(self.scratch),
            max_steps=1,
            per_device_train_batch_size=2,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            disable_tqdm=True,
            **self._settings(max_length),
        )
        return trainer(
            args=arguments,
            train_dataset=train,
            eval_dataset=heldout,
            processing_class=self.tokenizer,
            **self._models(),
        )

    def _settings(self, max_length: int | None) -> dict[str, Any]:
        match self.method:
            case "sft":
                return {"max_length": max_length, "assistant_only_loss": self.loss_on == "assistant"}
            case "dpo" | "kto" | "reward":
                return {"max_length": max_length}
            case "distillation":
                return {"max_completion_length": GENERATED_TOKENS}
            case _:  # beta 0: no reference model
                return {"max_completion_length": GENERATED_TOKENS, "num_generations": 2, "beta": 0.0}

    def _models(self) -> dict[str, Any]:
        config = LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            pad_token_id=self.tokenizer.pad_token_id,
            num_labels=1,
        )
        match self.method:
            case "reward":
                return {"model": LlamaForSequenceClassification(config)}
            case "grpo" | "rloo":
                return {"model": LlamaForCausalLM(config), "reward_funcs": distinct_tokens}
            case "dpo" | "kto":
                return {"model": LlamaForCausalLM(config), "ref_model": LlamaForCausalLM(config)}
            case "distillation":
                return {"model": LlamaForCausalLM(config), "teacher_model": LlamaForCausalLM(config)}
            case _:
                return {"model": LlamaForCausalLM(config)}

    def sequences(self, prepared: Dataset) -> list[list[Sequence]]:
        """Return the sequences of every prepared row."""
        if self.generates:
            return [[prompt_sequence(self.tokenizer, prompt)] for prompt in prepared["prompt"]]
        return [SEQUENCES[self.method](row) for row in prepared]


def distinct_tokens(completion_ids: list[list[int]], **columns: Any) -> list[float]:
    """A reward that differs between completions, so that there is something to learn."""
    return [float(len(set(ids))) for ids in completion_ids]


def labelled(row: dict[str, Any]) -> list[Sequence]:
    """Return an SFT row."""
    return [Sequence(row["input_ids"], [label != IGNORED for label in row["labels"]])]


def answered(*answers: str) -> Callable[[dict[str, Any]], list[Sequence]]:
    """Return what makes a row of a prompt and these answers to it into sequences."""

    def sequences(row: dict[str, Any]) -> list[Sequence]:
        prompt = row.get("prompt_ids", [])
        return [Sequence(prompt + row[answer], [False] * len(prompt) + [True] * len(row[answer])) for answer in answers]

    return sequences


def prompt_sequence(tokenizer: Any, prompt: Any) -> Sequence:
    """Return a prompt as the generating trainers feed it to the model."""
    if isinstance(prompt, str):
        ids = tokenizer(prompt)["input_ids"]
    else:
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
    return Sequence(ids, [False] * len(ids))


GENERATING = ("grpo", "rloo", "distillation")
GENERATED_TOKENS = 8
CLASSES = {
    "sft": ("SFTTrainer", "SFTConfig"),
    "dpo": ("DPOTrainer", "DPOConfig"),
    "kto": ("KTOTrainer", "KTOConfig"),
    "reward": ("RewardTrainer", "RewardConfig"),
    "grpo": ("GRPOTrainer", "GRPOConfig"),
    "rloo": ("RLOOTrainer", "RLOOConfig"),
    "distillation": ("DistillationTrainer", "DistillationConfig"),
}
SEQUENCES: dict[str, Callable[[dict[str, Any]], list[Sequence]]] = {
    "sft": labelled,
    "dpo": answered("chosen_ids", "rejected_ids"),
    "kto": answered("completion_ids"),
    "reward": answered("chosen_ids", "rejected_ids"),
}
