"""The base of all facts, and the names of what their fields may hold."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

Method = Literal["sft", "dpo", "kto", "grpo", "rloo", "reward", "distillation"]
Target = Literal["evaluate", "export", "publish", "schedule"]
Adapter = Literal["full", "lora", "qlora"]
Precision = Literal["fp32", "fp16", "bf16"]
Sharding = Literal["ddp", "fsdp2", "zero3"]
Purpose = Literal["train", "evaluate", "export"]
Stage = Literal["queued", "running", "completed", "failed", "cancelled", "timed_out"]
Health = Literal[
    "healthy", "warned", "diverged", "stalled", "out_of_memory", "timed_out", "failed", "cancelled", "done"
]
Verdict = Literal["better", "worse", "no evidence"]
Rung = Literal[
    "smaller_batch",
    "checkpointing",
    "larger_flavor",
    "more_time",
    "lower_learning_rate",
    "full_precision",
    "other_precision",
    "fewer_checkpoints",
    "again",
    "from_start",
    "rewrite",
]
"""What a repair may do; `tools/repair.py` has one function for each."""

GENERATING_METHODS: frozenset[Method] = frozenset({"grpo", "rloo", "distillation"})
"""Methods that learn from what the model itself generates; their data has prompts only."""
REWARDED_METHODS: frozenset[Method] = frozenset({"grpo", "rloo"})
"""Of those, the ones that answer each prompt several times and learn from rewards for the answers."""
TERMINAL_STAGES: frozenset[Stage] = frozenset({"completed", "failed", "cancelled", "timed_out"})


class Fact(BaseModel):
    """The base of all facts: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_unset_unknowns(cls, data: Any) -> Any:
        """Leave out what another version knew and had not set: its journals are read by this one."""
        unknown = data.keys() - cls.model_fields.keys() if isinstance(data, dict) else set()
        if not unknown:
            return data
        return {name: value for name, value in data.items() if value is not None or name not in unknown}
