"""The tuned model in one folder, as converters and servers read it: the checkpoint itself, or merged into its base."""

from __future__ import annotations

import json
from pathlib import Path

from .run import Run
from .trained import CHECKPOINT, Checkpoint
from .worker import run_worker

MERGED = "gguf/merged"
TIMEOUT_S = 3600
STAMP = "merged_from.json"


def merged_path(checkpoint: Checkpoint) -> str:
    """Return where the whole tuned model lies, relative to the run folder."""
    return MERGED if checkpoint.is_adapter else CHECKPOINT


def merged(run: Run, checkpoint: Checkpoint) -> Path:
    """Return the folder of the whole tuned model; an adapter is merged once for each checkpoint.

    Raises:
        ToolError: The merge failed.
    """
    folder = run.folder / merged_path(checkpoint)
    if not checkpoint.is_adapter or _stamp(folder) == _trained(checkpoint):
        return folder
    run.journal.tell("progress", step="merge", text="the adapter into its base")
    request = {
        "base": checkpoint.base,
        "revision": checkpoint.revision,
        "checkpoint": str(checkpoint.folder),
        "destination": str(folder),
    }
    (folder / STAMP).unlink(missing_ok=True)
    run_worker(run.settings, "merge.py", request, log=run.log("export"), timeout_s=TIMEOUT_S)
    (folder / STAMP).write_text(json.dumps(_trained(checkpoint)), encoding="utf-8")
    return folder


def _trained(checkpoint: Checkpoint) -> dict[str, list[float]]:
    """Return what tells one training's weights from another's: size and time of each file."""
    files = sorted(checkpoint.folder.glob("*.safetensors"))
    return {file.name: [file.stat().st_size, file.stat().st_mtime] for file in files}


def _stamp(folder: Path) -> dict[str, list[float]] | None:
    file = folder / STAMP
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def chat_template(folder: Path) -> str | None:
    """Return the chat template that a model's folder brings, or None."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    found = json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.exists() else None
    return found if isinstance(found, str) else None
