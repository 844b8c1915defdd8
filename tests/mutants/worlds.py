"""Mutants of what the script meets: models, tokenizers, chat templates, data files, packages."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from ftagent.tools.run import Run

from ..tools.scripted import TEMPLATE
from .mutant import Mutant, mutant


def model_folder(run: Run) -> Path:
    """Return the folder of the run's model."""
    assert run.spec is not None and run.spec.model_ref is not None and run.spec.model_ref.path is not None
    return Path(run.spec.model_ref.path)


def data_file(run: Run) -> Path:
    """Return the file of the run's rows."""
    assert run.spec is not None and run.spec.dataset_ref is not None
    return Path(run.spec.dataset_ref.loader["data_files"]["train"][0])


def change_json(path: Path, changes: dict[str, Any]) -> None:
    """Change keys of a JSON file; None takes one away."""
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}), encoding="utf-8")


def tokenizer_with(**changes: Any) -> Any:
    """Return what changes keys of the tokenizer's settings."""
    return lambda run: change_json(model_folder(run) / "tokenizer_config.json", changes)


def template(old: str, new: str) -> Any:
    """Return what changes the chat template."""
    assert old in TEMPLATE
    return tokenizer_with(chat_template=TEMPLATE.replace(old, new))


def cut_weights(run: Run) -> None:
    """Leave a weight file that ends before its tensors do."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    (model_folder(run) / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(100))


def lose_shard(run: Run) -> None:
    """Leave an index that names a file which is not there."""
    index = {"weight_map": {"w": "model-00002-of-00002.safetensors"}}
    (model_folder(run) / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def other_teacher(run: Run) -> None:
    """Give the teacher, which is a folder of its own, another vocabulary."""
    assert run.spec is not None and run.spec.teacher_ref is not None
    change_json(Path(run.spec.teacher_ref.path or "") / "config.json", {"vocab_size": 300})


def edit_afterwards(run: Run) -> None:
    """Change the script without telling the run."""
    with (run.folder / "train.py").open("a", encoding="utf-8") as file:
        file.write("# mine\n")


WORLD: dict[str, Mutant] = {
    "turns without an end": mutant(
        "end of answer",
        "would never stop; check chat template",
        wreck=template("<|end|>{% endgeneration %}", "{% endgeneration %}"),
    ),
    "turns without an end, for pairs": mutant(
        "end of answer",
        "would never stop; check chat template",
        wreck=template("<|end|>{% endgeneration %}", "{% endgeneration %}"),
        method="dpo",
    ),
    "a template that drops the question": mutant(
        "rows", "never reads what the user asked", wreck=template("{% else %}{{ m['content'] }}", "{% else %}")
    ),
    "a template that drops the question, for prompts": mutant(
        "rows|prompts",
        "never reads what the user asked",
        wreck=template("{% else %}{{ m['content'] }}", "{% else %}"),
        method="distillation",
    ),
    "a template that no Jinja reads": mutant(
        "trains",
        "chat template is no Jinja",
        wreck=tokenizer_with(chat_template="{% for m in messages %}{{ m['content'] }"),
    ),
    "no chat template": mutant(
        "trains", "give the tokenizer a chat template", wreck=tokenizer_with(chat_template=None)
    ),
    "neither a pad nor an end token": mutant(
        "trains|saved", "token", wreck=tokenizer_with(pad_token=None, eos_token=None)
    ),
    "no tokenizer": mutant(
        "twin",
        "download the model whole",
        wreck=lambda run: [(model_folder(run) / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
    ),
    "a tokenizer larger than the model": mutant(
        "twin",
        "take both from one model",
        wreck=lambda run: change_json(model_folder(run) / "config.json", {"vocab_size": 200}),
    ),
    "no config": mutant(
        "twin", "download the model whole", wreck=lambda run: (model_folder(run) / "config.json").unlink()
    ),
    "a model type that transformers does not know": mutant(
        "twin",
        "model type|model_type",
        wreck=lambda run: change_json(model_folder(run) / "config.json", {"model_type": "llamb"}),
    ),
    "truncated weights": mutant("weights", "bytes: download `Tiny` again", wreck=cut_weights),
    "a missing shard": mutant("weights", "is missing, which the index names: download", wreck=lose_shard),
    "a teacher of another vocabulary": mutant("twin|trains", "vocabular", wreck=other_teacher, method="distillation"),
    "a data file that vanished": mutant("data file", "is gone.*put it back", wreck=lambda run: data_file(run).unlink()),
    "a data file that changed": mutant(
        "data file",
        "has changed since it was planned .*: plan and validate it anew",
        wreck=lambda run: data_file(run).write_text(data_file(run).read_text() * 2),
    ),
    "an edit after it was written": mutant(
        "script", "changed or removed since it was written: call write_script", wreck=edit_afterwards
    ),
    "a script that vanished": mutant(
        "script", "changed or removed", wreck=lambda run: (run.folder / "train.py").unlink()
    ),
}
