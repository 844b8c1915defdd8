"""What a finished training left in the run's folder: a checkpoint of the promised base, and the held-out rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ToolError
from .facts import ModelRef
from .run import Run

CHECKPOINT = "checkpoint"
HELDOUT = "heldout.jsonl"

# What two configs of one model share, whatever was trained.
ARCHITECTURE = ("architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "text_config")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The trained weights, and the base that they belong to."""

    folder: Path
    is_adapter: bool
    base: str
    """A folder, or an id on the Hub, from where transformers loads what its cache does not have."""
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class HeldoutRow:
    """A held-out row, parted where a model would begin to answer; plain text is parted in the middle."""

    number: int
    prompt: list[dict[str, Any]] | str
    reference: str

    @property
    def question(self) -> str:
        """What the row asks: the last turn of a chat, or the plain text."""
        return self.prompt if isinstance(self.prompt, str) else _content(self.prompt[-1])


def find_checkpoint(run: Run) -> Checkpoint:
    """Return the run's checkpoint, if it is one of the promised base model.

    Raises:
        ToolError: There is no checkpoint, or it has another base.
    """
    assert run.spec is not None and run.spec.model_ref is not None
    ref, folder = run.spec.model_ref, run.folder / CHECKPOINT
    is_adapter = (folder / "adapter_config.json").exists()
    if is_adapter:
        _require_promised_adapter(_read_json(folder / "adapter_config.json"), ref)
    elif (folder / "config.json").exists():
        _require_same_architecture(_read_json(folder / "config.json"), _read_json(_base_config(ref)), ref)
    else:
        raise ToolError(f"`{folder}` holds neither an adapter nor a model.", hint="train again: call submit_job")
    return Checkpoint(
        folder=folder, is_adapter=is_adapter, base=ref.path or ref.id, revision=None if ref.path else ref.revision
    )


def _require_promised_adapter(config: dict[str, Any], ref: ModelRef) -> None:
    named = str(config.get("base_model_name_or_path"))
    if named == ref.id or (ref.path and Path(named).resolve() == Path(ref.path).resolve()):
        return
    raise ToolError(
        f"the adapter in {CHECKPOINT}/ belongs to `{named}`, and the run promises `{ref.id}` ({ref.path}).",
        hint="train again: call write_script, preflight and submit_job",
    )


def _require_same_architecture(tuned: dict[str, Any], base: dict[str, Any], ref: ModelRef) -> None:
    for key in ARCHITECTURE:
        if tuned.get(key) != base.get(key):
            raise ToolError(
                f"the model in {CHECKPOINT}/ has {key} {tuned.get(key)}, and `{ref.id}` has {base.get(key)}.",
                hint="train again: call write_script, preflight and submit_job",
            )


def _base_config(ref: ModelRef) -> Path:
    """Return the base's `config.json`, which the training has left in the Hub's cache if it came from there."""
    if ref.path is not None:
        return Path(ref.path, "config.json")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(ref.id, "config.json", revision=ref.revision))
    except OSError as error:
        raise ToolError(f"the config of the base model `{ref.id}` cannot be read: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def trained_with(run: Run) -> dict[str, Any]:
    """Return the values that the training script was written with, by name."""
    assert run.script is not None
    return {parameter.name: parameter.value for parameter in run.script.parameters}


def heldout_rows(run: Run) -> list[HeldoutRow]:
    """Return the rows that training never saw, as the training script wrote them.

    Raises:
        ToolError: The file was changed since the training wrote it, or its rows are no questions and answers.
    """
    file = run.folder / HELDOUT
    if not file.exists():
        return []
    text = file.read_bytes()
    written = str((run.report.result if run.report else {}).get("heldout_sha256", "")).removeprefix("sha256:")
    if written and hashlib.sha256(text).hexdigest() != written:
        raise ToolError(
            f"{HELDOUT} was changed after the training wrote it.", hint="train again: call write_script and submit_job"
        )
    return [_part(number, json.loads(line)) for number, line in enumerate(text.splitlines())]


def _part(number: int, row: dict[str, Any]) -> HeldoutRow:
    match row:
        case {"messages": turns}:
            answer = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=len(turns) - 1)
            prompt, reference = turns[:answer], _content(turns[answer])
        case {"prompt": prompt, "completion": str(reference)}:
            pass
        case {"prompt": prompt, "completion": turns}:
            reference = _content(turns[-1])
        case {"text": text}:
            words = text.split(" ")
            middle = max(1, len(words) // 2)
            prompt, reference = " ".join(words[:middle]), " ".join(words[middle:])
        case _:
            raise ToolError(
                f"row {number} of {HELDOUT} has the columns {', '.join(row)}: no question with an answer.",
                hint="held-out rows can be used after supervised fine-tuning",
            )
    return HeldoutRow(number=number, prompt=prompt, reference=reference)


def _content(turn: dict[str, Any]) -> str:
    """Return the text of a turn; one that only calls tools has none."""
    return str(turn.get("content") or "")


def spread(rows: Sequence[HeldoutRow], count: int) -> list[HeldoutRow]:
    """Return up to `count` rows from all over the set, always the same ones, none from its longer half."""
    by_length = sorted(rows, key=lambda row: len(str(row.prompt)))
    short = sorted(by_length[: max(count, len(rows) // 2)], key=lambda row: row.number)
    count = min(count, len(short))
    return [short[i * len(short) // count] for i in range(count)]
