"""What a finished training left in the run's folder: a checkpoint of the promised base, and the held-out rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ToolError
from .facts import ModelRef, Spec
from .run import Run

CHECKPOINT = "checkpoint"
HELDOUT = "heldout.jsonl"
TOKENIZER = "tokenizer.json"

# What two configs of one model share, whatever was trained.
ARCHITECTURE = ("architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "text_config")

ANSWERS = ("answer", "reference", "solution", "label", "target")
"""Columns in which rows with a prompt alone may hold what is right."""


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
        has_new_head = run.spec.method == "reward"
        keys = ARCHITECTURE[has_new_head:]  # a reward model's head gives its class another name
        _require_same_architecture(_read_json(folder / "config.json"), _read_json(_base_config(ref)), ref, keys)
    else:
        raise ToolError(f"`{folder}` holds neither an adapter nor a model.", hint="train again: call submit_job")
    _require_same_vocabulary(folder / TOKENIZER, _base_config(ref).with_name(TOKENIZER), ref)
    base, revision = loaded_as(run.spec, ref)
    return Checkpoint(folder=folder, is_adapter=is_adapter, base=base, revision=revision)


def loaded_as(spec: Spec, model: ModelRef) -> tuple[str, str | None]:
    """Return by what transformers loads a model: its folder here, or its id and revision on the Hub.

    A job on the Hub does not have this machine's cache.
    """
    is_local = model.path is not None and not (spec.backend == "hf-jobs" and model.source in ("cache", "hub"))
    return (str(model.path), None) if is_local else (model.id, model.revision)


def _require_promised_adapter(config: dict[str, Any], ref: ModelRef) -> None:
    named, revision = str(config.get("base_model_name_or_path")), config.get("revision")
    if ref.path is None and revision not in (None, ref.revision):
        raise ToolError(
            f"the adapter in {CHECKPOINT}/ belongs to revision {revision}, and the run promises {ref.revision}.",
            hint="train again: call write_script, preflight and submit_job",
        )
    if named == ref.id or (ref.path and Path(named).resolve() == Path(ref.path).resolve()):
        return
    raise ToolError(
        f"the adapter in {CHECKPOINT}/ belongs to `{named}`, and the run promises `{ref.id}` ({ref.path}).",
        hint="train again: call write_script, preflight and submit_job",
    )


def _require_same_architecture(tuned: dict[str, Any], base: dict[str, Any], ref: ModelRef, keys: Sequence[str]) -> None:
    for key in keys:
        if tuned.get(key) != base.get(key):
            raise ToolError(
                f"the model in {CHECKPOINT}/ has {key} {tuned.get(key)}, and `{ref.id}` has {base.get(key)}.",
                hint="train again: call write_script, preflight and submit_job",
            )


def _require_same_vocabulary(tuned: Path, base: Path, ref: ModelRef) -> None:
    """Compare what each token number stands for; a checkpoint without a tokenizer is read with its base's."""
    if tuned.exists() and base.exists() and _vocabulary(tuned) != _vocabulary(base):
        raise ToolError(
            f"the tokenizer in {CHECKPOINT}/ has another vocabulary than `{ref.id}`: its tokens mean something else.",
            hint="train again: call write_script, preflight and submit_job",
        )


def _vocabulary(file: Path) -> Any:
    return _read_json(file).get("model", {}).get("vocab")


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


def heldout_lines(run: Run) -> list[dict[str, Any]]:
    """Return the rows that training never saw, as the training script wrote them; none where nothing was held out.

    Raises:
        ToolError: The file was changed since the training wrote it.
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
    return [json.loads(line) for line in text.splitlines()]


def heldout_rows(run: Run) -> list[HeldoutRow]:
    """Return the rows that training never saw, parted where a model would begin to answer.

    Raises:
        ToolError: The file was changed since the training wrote it, or its rows ask nothing.
    """
    return [part_row(number, row, HELDOUT) for number, row in enumerate(heldout_lines(run))]


def part_row(number: int, row: dict[str, Any], where: str) -> HeldoutRow:
    """Return a row of any method's columns as a question, and the answer to it where the row has one.

    Raises:
        ToolError: The row asks nothing.
    """
    prompt: Any
    match row:
        case {"messages": [_, *_] as turns}:
            answer = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=len(turns) - 1)
            prompt, reference = turns[:answer], _content(turns[answer])
        case {"prompt": prompt, "completion": answer} | {"prompt": prompt, "chosen": answer}:
            reference = answer if isinstance(answer, str) else _content(answer[-1])
        case {"chosen": [_, *_] as turns}:
            prompt, reference = turns[:-1], _content(turns[-1])
        case {"prompt": asked} | {"question": str(asked)}:
            prompt = [{"role": "user", "content": asked}] if "prompt" not in row else asked
            found = next((row[name] for name in ANSWERS if row.get(name) is not None), "")
            reference = found if isinstance(found, str) else json.dumps(found)
        case {"text": text}:
            words = text.split(" ")
            middle = max(1, len(words) // 2)
            prompt, reference = " ".join(words[:middle]), " ".join(words[middle:])
        case _:
            raise ToolError(
                f"row {number} of {where} has the columns {', '.join(row)}: no question with an answer.",
                hint="a row needs `messages`, or `prompt` and one of " + ", ".join(("completion", *ANSWERS)),
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
