"""The world of one scenario: a folder that is the current one, its models and files, a Hub if it has one, settings."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contents import text_of
from .scenario import FileContent, HubWorld, World

if TYPE_CHECKING:
    from tests.hub import LoopbackHub

PRECIOUS = "precious.txt"
"""Lies beside the working folder: whoever changes it wrote outside."""
CHATS = FileContent(rows_of="chats")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a scenario happens."""

    root: Path
    """Everything is below it, and nothing beside `work` and `cache` may change."""
    python: Path
    """The interpreter of the settings: see `understudy.py`."""
    hub: LoopbackHub | None
    tokens: tuple[str, ...]
    """Secrets of this world."""

    @property
    def work(self) -> Path:
        """The working folder, which is the current one."""
        return self.root / "work"

    def settings(self) -> dict[str, Any]:
        """Return what ftagent is told beside the instruction."""
        cache = self.root / "cache"
        return {"workdir": self.work, "cache_dir": cache, "data_dir": cache / "data", "python": str(self.python)}


@contextmanager
def staged(world: World, root: Path, scratch: Path) -> Iterator[Stage]:
    """Make the world below `root`, an empty folder, and make its working folder the current one.

    Args:
        world: What it has.
        root: Where it lies.
        scratch: Holds the small model that all worlds copy.
    """
    stage_work, before = root / "work", Path.cwd()
    stage_work.mkdir(parents=True)
    (root / PRECIOUS).write_text("Nobody but its owner writes here.\n", encoding="utf-8")
    for name in world.models:
        shutil.copytree(scratch / "model", stage_work / name)
    for name in world.sketches:
        shutil.copytree(scratch / "model", stage_work / name, ignore=shutil.ignore_patterns("*.safetensors"))
    for path, content in {"chats.jsonl": CHATS, **world.files}.items():
        _write(stage_work / path, text_of(content))
    python = _understudy(world, root, scratch)
    with ExitStack() as stack:
        os.chdir(stage_work)
        stack.callback(os.chdir, before)
        hub = stack.enter_context(_hub(world.hub, root, scratch)) if world.hub else None
        if hub:
            hub.jobs.run_with(str(python))
        tokens = tuple(vars(hub.tokens).values()) if hub else ()
        yield Stage(root=root, python=python, hub=hub, tokens=tokens)


def make_scratch(scratch: Path) -> Path:
    """Make the small model: three layers of 64 channels, a byte tokenizer with a chat template, weights of zeros."""
    import numpy
    from safetensors.numpy import save_file

    from tests.tools.scripted import write_tiny_model

    model = write_tiny_model(scratch / "model")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    save_file({n: numpy.zeros(s, "float32") for n, s in _weights(config).items()}, model / "model.safetensors")
    return scratch


def _weights(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a small Llama, by the names that transformers gives them."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in (f"model.layers.{number}" for number in range(config["num_hidden_layers"])):
        square = {f"{layer}.self_attn.{n}_proj.weight": (hidden, hidden) for n in "qo"}
        narrow = {f"{layer}.self_attn.{n}_proj.weight": (kv, hidden) for n in "kv"}
        up = {f"{layer}.mlp.{n}_proj.weight": (wide, hidden) for n in ("gate", "up")}
        norms = {f"{layer}.{n}_layernorm.weight": (hidden,) for n in ("input", "post_attention")}
        shapes |= square | narrow | up | norms | {f"{layer}.mlp.down_proj.weight": (hidden, wide)}
    return shapes | {"model.norm.weight": (hidden,)}


def _understudy(world: World, root: Path, scratch: Path) -> Path:
    """Write the interpreter of this world."""
    data = {
        "folder": str(root),
        "scratch": str(scratch),
        "preflight": world.preflight,
        "jobs": world.jobs,
        "effect": world.effect,
    }
    (root / "world.json").write_text(json.dumps(data), encoding="utf-8")
    if any(job.startswith("corpus ") for job in world.jobs):
        from tests.failures.corpus import read_corpus

        corpus = {log.name: {"exit_code": log.exit_code, "lines": log.lines} for log in read_corpus()}
        (root / "corpus.json").write_text(json.dumps(corpus), encoding="utf-8")
    python = root / "python"
    script = files("ftagent.evals") / "understudy.py"
    line = f'exec "{sys.executable}" -S "{script}" "{root / "world.json"}" "{sys.executable}" "$@"'
    python.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    python.chmod(0o755)
    return python


@contextmanager
def _hub(world: HubWorld, root: Path, scratch: Path) -> Iterator[LoopbackHub]:
    """Start a Hub with what the world says, and let this process take it for the real one."""
    from tests.hub import LoopbackHub

    with LoopbackHub(root / "hub") as hub:
        for name, model in world.models.items():
            kept = {file.name: file for file in (scratch / "model").iterdir()}
            if model.config:
                config = Path(str(files("ftagent"))) / "tests" / "configs" / model.config / "config.json"
                kept = {n: f for n, f in kept.items() if not n.endswith(".safetensors")} | {"config.json": config}
            hub.add_repo("model", name, kept, gated=model.gated)
        for name, contents in world.datasets.items():
            private = bool(contents.get("private", False))
            kept = {p: text_of(FileContent.model_validate(c)) for p, c in contents.items() if p != "private"}
            hub.add_repo("dataset", name, kept, private=private)
        with hub.used_here(getattr(hub.tokens, world.token)):
            yield hub


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
