"""A run of every method that is ready for its script: the tiny model, and forty rows in the method's own shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from ftagent.tools.data.reading.local import revision_now
from ftagent.tools.facts import GENERATING_METHODS, REWARDED_METHODS, DatasetRef, Method, ModelRef, Reward
from ftagent.tools.run import Run

from .scripted import settled_run, write_tiny_model

METHODS: tuple[Method, ...] = get_args(Method)
COLUMNS: dict[Method, tuple[str, ...]] = {
    "sft": ("prompt", "completion"),
    "dpo": ("prompt", "chosen", "rejected"),
    "kto": ("prompt", "completion", "label"),
    "reward": ("prompt", "chosen", "rejected"),
    "grpo": ("prompt", "answer"),
    "rloo": ("prompt", "answer"),
    "distillation": ("prompt",),
}


def rows_of(method: Method, count: int = 40) -> Iterator[dict[str, Any]]:
    """Yield rows about doubling numbers, as the method's trainer takes them."""
    for number in range(count):
        good, bad = _said("assistant", f"{number} {number}"), _said("assistant", "I do not know that at all.")
        values = {
            "prompt": _said("user", f"Double {number}."),
            "completion": good if number % 2 or method == "sft" else bad,
            "label": number % 2 == 1,
            "chosen": good,
            "rejected": bad,
            "answer": f"{number} {number}",
        }
        yield {name: values[name] for name in COLUMNS[method]}


def _said(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def run_of(
    method: Method,
    home: Path,
    *,
    overrides: dict[str, Any] | None = None,
    hardware: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    rows: Iterable[dict[str, Any]] | None = None,
) -> Run:
    """Return a run below `home` that is ready for `write_script`; its model is shared by all that live there."""
    model = write_tiny_model(home / "model")
    file = home / f"{method}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows or rows_of(method)), encoding="utf-8")
    loader = {"path": "json", "data_files": {"train": [str(file)]}}
    ref = DatasetRef(id=file.name, source="file", revision="", loader=loader)
    ref = ref.model_copy(update={"revision": revision_now(ref)})
    teacher = ModelRef(id="Teacher", source="folder", path=str(model), revision="sha256:0")
    plan = {
        "method": method,
        "dataset": file.name,
        "dataset_ref": ref,
        "teacher_ref": teacher if method == "distillation" else None,
    }
    short = {"max_completion_length": 16} if method in GENERATING_METHODS else {}
    reward = Reward(name="exact_answer", reason="test", options={"reference_column": "answer"})
    data = {
        "rewards": (reward,) if method in REWARDED_METHODS else (),
        "method": method,
        "mapping": None,
        "filter": None,
        "trainer_columns": COLUMNS[method],
    }
    return settled_run(
        home,
        overrides={**short, **(overrides or {})},
        spec={**plan, **(spec or {})},
        dataset={**data, **(dataset or {})},
        hardware={"batch": 8 if method in REWARDED_METHODS else 4, **(hardware or {})},
    )
