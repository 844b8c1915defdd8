"""What TRL does with every set of the zoo, measured by `trl_says.py` and kept in `truth.json`.

`trl.data_utils.is_conversational` takes the first element of a Python set of column names, so what TRL does with a row
that holds text in one of them and turns in another depends on the seed of Python's hashes. Sets with such rows are
tried under several seeds, and count as trained only where they train under each.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftagent.tools.data.shaping.emitted import source_of
from ftagent.tools.data.shaping.filters import FILTERS
from ftagent.tools.data.shaping.mappings import MAPPINGS
from ftagent.tools.data.shaping.shapes import Shape

from .judged import judged
from .zoo_set import METHODS, Method, ZooSet

TRUTH = Path(__file__).with_name("truth.json")
WORKER = Path(__file__).with_name("trl_says.py")
HASH_SEEDS = ("0", "1", "10", "11", "22")
"""Under these, each of the columns in `LOOKED_AT` comes first in any set of them at least once (measured)."""
LIBRARIES = ("trl", "transformers", "datasets", "torch")
TEMPLATE = "qwen2_5.jinja"
"""A template of TRL's own that renders tools."""

# The columns among which `is_conversational` takes whichever comes first.
LOOKED_AT = ("prompt", "chosen", "rejected", "completion", "messages")

Outcome = dict[str, Any]
Cell = dict[str, Any]


def load_truth() -> dict[str, Any]:
    """Return what was measured last."""
    return json.loads(TRUTH.read_text(encoding="utf-8"))


def save_truth(truth: dict[str, Any]) -> None:
    """Write what was measured, a line for each outcome so that a change can be read."""
    sets = ",\n".join(f"{json.dumps(name)}: {_set_as_json(entry)}" for name, entry in truth["sets"].items())
    head = json.dumps({key: value for key, value in truth.items() if key != "sets"})
    TRUTH.write_text(f'{head[:-1]}, "sets": {{\n{sets}\n}}}}\n', encoding="utf-8")


def _set_as_json(entry: dict[str, Any]) -> str:
    lines = [f'"fingerprint": {json.dumps(entry["fingerprint"])}']
    for side in ("raw", "mapped"):
        outcomes = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in entry[side].items())
        lines.append(f'"{side}": {{\n{outcomes}\n }}' if outcomes else f'"{side}": {{}}')
    return "{\n " + ",\n ".join(lines) + "\n}"


def measure(zoo: Sequence[ZooSet]) -> dict[str, Any]:
    """Let TRL try each set with each method, as it is and as ftagent maps it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_tokenizer(folder / "tokenizer")
        cells = [cell for zoo_set in zoo for cell in cells_of(zoo_set, str(zoo_set.write(folder)))]
        outcomes = _tried(cells, folder)
    sets = {s.name: {"fingerprint": s.fingerprint, "raw": {}, "mapped": {}} for s in zoo}
    for cell, outcome in zip(cells, outcomes, strict=True):
        side = "raw" if cell["columns"] is None else "mapped"
        by = {} if side == "raw" else {"by": cell["by"]}
        sets[cell["set"]][side][cell["method"]] = by | outcome
    versions = {library: version(library) for library in LIBRARIES}
    return {"versions": versions, "seconds": round(time.monotonic() - began), "sets": sets}


def cells_of(zoo_set: ZooSet, file: str) -> list[Cell]:
    """The raw cells of a set, and the mapped ones for the methods that it is not refused for."""
    common = {"set": zoo_set.name, "file": file, "teaches": zoo_set.teaches}
    raw = {"columns": None, "depends": depends_on_hashes(zoo_set)}
    cells = [common | raw | {"method": method} for method in METHODS]
    for method in METHODS:
        if shape := judged(zoo_set, method).shape:
            cells.append(common | mapping_of(shape) | {"method": method, "depends": False, "by": by_of(shape)})
    return cells


def mapping_of(shape: Shape) -> Cell:
    """What the worker must know to map rows in the way of `shape`."""
    names = [name for name in (shape.filter, shape.mapping) if name in {**FILTERS, **MAPPINGS}]
    return {
        "functions": "\n\n\n".join(map(source_of, names)),
        "filter": shape.filter,
        "mapping": shape.mapping,
        "columns": list(shape.trainer_columns),
    }


def by_of(shape: Shape) -> str:
    """The name of a mapping, and a hash of all that it rests on."""
    stands_on = json.dumps(mapping_of(shape)).encode()
    return f"{shape.mapping or 'nothing'} {hashlib.sha256(stands_on).hexdigest()[:8]}"


def depends_on_hashes(zoo_set: ZooSet) -> bool:
    """Whether `is_conversational` would say one thing or another of the first row."""
    columns = {name for row in zoo_set.rows for name in row}
    first = zoo_set.rows[0] if zoo_set.rows else {}
    return len({_looks_like(first.get(column)) for column in LOOKED_AT if column in columns}) > 1


def _looks_like(value: Any) -> str:
    if not isinstance(value, list):
        return "text"
    return "turns" if value and isinstance(value[0], dict) and "role" in value[0] else "something else"


def _tried(cells: Sequence[Cell], folder: Path) -> list[Outcome]:
    outcomes = run_worker(cells, folder, HASH_SEEDS[0])
    unsure = [number for number, cell in enumerate(cells) if cell["depends"]]
    for seed in HASH_SEEDS[1:] if unsure else ():
        for number, outcome in zip(unsure, run_worker([cells[n] for n in unsure], folder, seed), strict=True):
            outcomes[number] = _either(outcomes[number], outcome)
    return outcomes


def _either(one: Outcome, other: Outcome) -> Outcome:
    """The outcome under two seeds: one that says so where they differ, be it only in the ends of the answers."""
    if one["outcome"] == "depends" or all(one.get(key) == other.get(key) for key in ("outcome", "ended")):
        return one
    words = sorted(
        o.get("error") or f"{o['ended']} of {o['rows']} answers learned with their end" for o in (one, other)
    )
    return {"outcome": "depends", "error": f"on the seed of Python's hashes: {words[0]}, or {words[1]}"}


def run_worker(cells: Sequence[Cell], folder: Path, hash_seed: str) -> list[Outcome]:
    """Try cells in a process with a given seed of Python's hashes.

    Raises:
        RuntimeError: The worker itself failed; the message is the end of its log.
    """
    request, answer, log = (folder / f"{name}-{hash_seed}" for name in ("request", "answer", "log"))
    request.write_text(json.dumps({"tokenizer": str(folder / "tokenizer"), "cells": list(cells)}), encoding="utf-8")
    # One thread: a model of this size only loses time to more, most of all on a busy machine.
    settings = {"PYTHONHASHSEED": hash_seed, "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    environment = os.environ | settings
    command = [sys.executable, str(WORKER), str(request), str(answer)]
    with log.open("w", encoding="utf-8") as out:
        code = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    if code != 0:
        raise RuntimeError(log.read_text(encoding="utf-8")[-2000:])
    return json.loads(answer.read_text(encoding="utf-8"))


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer with one token a byte and a chat template that TRL brings along."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: number for number, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(_template(), encoding="utf-8")


def _template() -> str:
    spec = find_spec("trl")
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / TEMPLATE).read_text(encoding="utf-8")


def trains_well(outcome: Outcome | None, method: Method) -> bool:
    """Whether TRL trained, and on what it should: whole answers, each after its prompt."""
    if outcome is None or outcome["outcome"] != "trains":
        return False
    has_prompts = method not in ("dpo", "kto") or outcome["prompted"] == outcome["rows"]
    has_ends = method == "grpo" or outcome["ended"] > 0  # what GRPO learns from, the model writes itself
    return has_prompts and has_ends and (method != "sft" or outcome["taught"])
