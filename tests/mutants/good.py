"""Sound runs, which preflight must let through: methods, adapters, precisions, shapes of rows, families of models."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftagent.tools.facts import Method
from ftagent.tools.run import Run
from ftagent.tools.script import write_script

from ..tools.methods import METHODS, run_of

CONFIGS = Path(__file__).parent.parent / "configs"
FAMILIES = (
    "SmolLM2-135M",
    "Qwen2.5-0.5B",
    "Qwen3-0.6B",
    "Qwen3-30B-A3B",
    "gemma-2-2b",
    "gemma-3-1b",
    "OLMo-2-1124-7B",
    "Phi-4",
    "Mixtral-8x7B-v0.1",
)
TINY = {"vocab_size": 259, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}


@dataclass(frozen=True, kw_only=True)
class Good:
    """One sound run."""

    method: Method
    made_with: dict[str, Any] = field(default_factory=dict)
    family: str | None = None
    """The folder in `tests/configs` whose shape the model has."""
    rows: tuple[dict[str, Any], ...] | None = None
    """Rows in the place of the method's own."""


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CHATS = tuple({"messages": [_said("user", f"Double {n}."), _said("assistant", f"{n} {n}")]} for n in range(40))
TEXTS = tuple({"text": f"{n} {n} is {n} twice.<|end|>"} for n in range(40))
PLAIN = tuple({"prompt": f"Double {n}. ", "completion": f"{n} {n}<|end|>"} for n in range(40))


def _shape(*columns: str, **more: Any) -> dict[str, Any]:
    return {"dataset": {"trainer_columns": columns, **more}}


NOTHING_HELD_OUT = {"dataset": {"holdout": None}}
GOOD: dict[str, Good] = {
    f"{method}, {adapter}, {precision}": Good(
        method=method, made_with={"hardware": {"adapter": adapter, "precision": precision}}
    )
    for method in METHODS
    for adapter in ("full", "lora")
    for precision in ("fp32", "bf16")
}
GOOD |= {f"{method}, nothing held out": Good(method=method, made_with=NOTHING_HELD_OUT) for method in METHODS}
GOOD |= {
    "sft, chats": Good(
        method="sft", made_with=_shape("messages", loss_on="assistant", column_types={"messages": "turns"}), rows=CHATS
    ),
    "sft, text": Good(method="sft", made_with=_shape("text", loss_on="all", column_types={"text": "text"}), rows=TEXTS),
    "sft, plain prompts": Good(method="sft", made_with=_shape("prompt", "completion"), rows=PLAIN),
}
GOOD |= {f"sft, {family}": Good(method="sft", family=family) for family in FAMILIES}
GOOD |= {f"reward, {family}": Good(method="reward", family=family) for family in FAMILIES[1:3]}


def good_run(home: Path, good: Good) -> Run:
    """Return the run, with its script written."""
    home.mkdir(parents=True)
    run = run_of(good.method, home, **good.made_with, rows=good.rows)
    if good.family:
        config = json.loads((CONFIGS / good.family / "config.json").read_text(encoding="utf-8"))
        (home / "model" / "config.json").write_text(json.dumps(config | TINY), encoding="utf-8")
    return run.record(write_script(run))
