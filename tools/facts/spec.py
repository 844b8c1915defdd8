"""What the user wants, and what was found for it."""

from __future__ import annotations

from typing import Any, Literal

from .base import Adapter, Fact, Method, Precision, Target


class ModelRef(Fact):
    """A base model that was found."""

    id: str
    source: Literal["folder", "cache", "hub", "package"]
    path: str | None
    """Folder with config, tokenizer and weights; None while they lie on the Hub only."""
    revision: str
    """Commit SHA on the Hub, or `sha256:…` over the weights of a local folder."""
    licence: str | None = None
    note: str | None = None
    """What a reader of the report must know, such as dequantised weights."""


class DatasetRef(Fact):
    """A dataset that was found, before its rows were read."""

    id: str
    source: Literal["file", "folder", "hub"]
    revision: str
    """Commit SHA on the Hub, or `sha256:…` over the bytes of the local files."""
    loader: dict[str, Any]
    """Keyword arguments for `datasets.load_dataset`."""
    licence: str | None = None


class Trigger(Fact):
    """When a run is repeated, by the clock or by commits to a dataset; or its checkpoints evaluated, by the clock."""

    does: Literal["train", "evaluate"] = "train"
    kind: Literal["cron", "webhook"]
    cron: str | None = None
    """Five fields, in UTC."""
    watched: str | None = None
    """The dataset repository whose commits count; empty for the run's own."""
    words: str
    """As it was said."""


class Overrides(Fact):
    """Values that the person stated, under the names of TRL and PEFT; None means that rules decide."""

    max_train_samples: int | float | None = None
    """Most rows to train on; below 1 a share of them. The name is that of transformers' example scripts."""
    sampling: Literal["first", "random"] | None = None
    """Which ones, where there are more: drawn with a fixed seed by default."""
    num_train_epochs: float | None = None
    max_steps: int | None = None
    learning_rate: float | None = None
    lr_scheduler_type: str | None = None
    warmup_steps: int | float | None = None
    """Below 1 a share of all steps."""
    weight_decay: float | None = None
    per_device_train_batch_size: int | None = None
    gradient_accumulation_steps: int | None = None
    max_length: int | None = None
    packing: bool | None = None
    seed: int | None = None
    adapter: Adapter | None = None
    precision: Precision | None = None
    r: int | None = None
    lora_alpha: int | None = None
    lora_dropout: float | None = None
    gradient_checkpointing: bool | None = None
    beta: float | None = None
    temperature: float | None = None
    num_generations: int | None = None
    max_completion_length: int | None = None
    rewards: tuple[str, ...] | None = None
    """Names of rewards for GRPO and RLOO, or `file.py:function`."""
    teacher: str | None = None
    """The model that a distillation learns from."""
    quantisations: tuple[str, ...] | None = None
    importance_matrix: bool | None = None
    benchmarks: tuple[str, ...] | None = None

    def given(self) -> dict[str, Any]:
        """Return only what was stated."""
        return self.model_dump(exclude_none=True)


class Spec(Fact):
    """What the user wants."""

    request: str
    model: str
    dataset: str
    subset: str | None = None
    split: str | None = None
    method: Method = "sft"
    targets: tuple[Target, ...] = ()
    overrides: Overrides = Overrides()
    budget_usd: float | None = None
    backend: Literal["local", "hf-jobs"] = "local"
    max_hours: float | None = None
    flavor: str | None = None
    """A flavor of Hugging Face Jobs or the name of a GPU, where one was stated."""
    plan_only: bool = False
    """The person wants to know what it would be: no job is submitted."""
    unread: tuple[str, ...] = ()
    """Parts of the request that have a number or a repository in them and were not understood."""
    trigger: Trigger | None = None
    """When it is to be repeated, where that was said."""
    stated: tuple[str, ...] = ()
    """Names of the fields that the person stated; nothing downstream changes those without asking."""
    inferred: dict[str, str] = {}
    """Field name to the reason for its value."""
    questions: tuple[str, ...] = ()
    """What a person must decide before the run can go on."""
    model_ref: ModelRef | None = None
    teacher_ref: ModelRef | None = None
    dataset_ref: DatasetRef | None = None
