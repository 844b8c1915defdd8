"""A run that is ready for its script: a tiny model with a byte tokenizer and a chat template, and forty short chats."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ftagent.tools.data.reading.local import revision_now
from ftagent.tools.facts import (
    DatasetRef,
    DatasetReport,
    HardwareChoice,
    Holdout,
    Lengths,
    MemoryGib,
    ModelRef,
    Overrides,
    Range,
    Spec,
)
from ftagent.tools.run import REPORTS, Run, experiment_name, new_run
from ftagent.tools.settings import Settings
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ m['content'] }}<|end|>{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SPECIAL = ("<|start|>", "<|end|>", "<|pad|>")


def write_tiny_model(folder: Path) -> Path:
    """Write config and tokenizer of a model, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = {byte: number for number, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    _write_json(folder / "tokenizer_config.json", {**names, "chat_template": TEMPLATE})
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "vocab_size": 259}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    ends = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258, "tie_word_embeddings": True}
    kind = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    _write_json(folder / "config.json", kind | sizes | heads | ends)
    return folder


def write_chats(path: Path, count: int = 40) -> Path:
    """Write chats of a question and an answer."""
    turns = ([("user", f"Double {n}."), ("assistant", f"{n} {n}")] for n in range(count))
    chats = ({"messages": [{"role": role, "content": text} for role, text in chat]} for chat in turns)
    path.write_text("".join(json.dumps(chat) + "\n" for chat in chats), encoding="utf-8")
    return path


def settled_run(
    folder: Path,
    *,
    overrides: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    hardware: dict[str, Any] | None = None,
) -> Run:
    """Return a run on disk that is ready for `write_script`; each dict changes fields of its fact."""
    plan = Spec(
        request="test",
        model="Tiny",
        dataset="chats.jsonl",
        overrides=Overrides(**overrides or {}),
        model_ref=ModelRef(id="Tiny", source="folder", path=str(folder / "model"), revision="sha256:0"),
        dataset_ref=_found(folder / "chats.jsonl"),
    ).model_copy(update=spec)
    run = new_run(Settings(workdir=folder, python=sys.executable, namespace="acme"))
    run = run.record(plan).record(CHATS.model_copy(update=dataset)).record(LAPTOP.model_copy(update=hardware))
    run.journal.settle(folder / REPORTS / experiment_name(plan) / run.id)
    return run


def _found(file: Path) -> DatasetRef:
    """Return a dataset as the plan finds it; one that no test reads may be missing."""
    loader = {"path": "json", "data_files": {"train": [str(file)]}}
    ref = DatasetRef(id=file.name, source="file", revision="sha256:0", loader=loader)
    return ref.model_copy(update={"revision": revision_now(ref)}) if file.exists() else ref


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


CHATS = DatasetReport(
    verdict="mapped",
    method="sft",
    subset=None,
    split="train",
    rows=40,
    mapping="messages_to_prompt_completion",
    filter="why_not_messages",
    trainer_columns=("prompt", "completion"),
    column_types={"prompt": "turns", "completion": "turns"},
    lengths=Lengths(p50=40, p95=45, p99=45, max=45),
    max_length=64,
    truncated_share=0,
    duplicates=0,
    overlap=None,
    holdout=Holdout(function="split_by_seed", rows=4, reason="test"),
    train_tokens=1500,
    trained_tokens=200,
    loss_on="completion",
)
LAPTOP = HardwareChoice(
    flavor="local",
    adapter="lora",
    precision="fp32",
    batch=4,
    accumulation=1,
    max_length=64,
    checkpointing=False,
    memory_gib=MemoryGib(weights=1, gradients=1, optimizer=1, activations=1, logits=1, overhead=1, total=6),
    hours=Range(low=0.01, expected=0.02, high=0.04),
    cost_usd=Range(low=0, expected=0, high=0),
    timeout_s=3600,
    tokens=1500,
    tokens_per_s=100,
    epochs=1.0,
)
