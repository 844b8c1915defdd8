"""A model of the same class as another, with two narrow layers and random weights: what a script is rehearsed on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedConfig

HEAD, WHOLE_HEAD = 64, 2**20
"""Channels of a head at most: a vocabulary of 262,144 at Gemma's own 256 took 6.1 GiB in a rehearsal (measured)."""


def save_twin(model: str, revision: str | None, folder: Path, *, seed: int) -> str:
    """Save a twin of `model` with the real vocabulary and tokenizer, and say in words what it is."""
    config = AutoConfig.from_pretrained(model, revision=revision)
    torch.manual_seed(seed)
    twin = _runs(shrunk(config, HEAD)) or _runs(shrunk(config, WHOLE_HEAD))
    if twin is None:  # some width has to agree with something else: keep them all
        twin = AutoModelForCausalLM.from_config(shrunk(config, None), dtype=torch.float32)
    with suppress(OSError):  # a model may come without; it often names the end of a turn beside the end of text
        twin.generation_config = GenerationConfig.from_pretrained(model, revision=revision)
    twin.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model, revision=revision).save_pretrained(folder)
    text = twin.config.get_text_config()
    return f"{type(twin).__name__}, 2 layers, width {text.hidden_size}, vocabulary {text.vocab_size}"


def _runs(config: PreTrainedConfig) -> Any | None:
    """Return a model of this config, or None where its widths do not go together."""
    try:
        twin = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        twin(input_ids=torch.zeros((1, 4), dtype=torch.long))
    except Exception:  # noqa: BLE001 (models fail in ways of their own; the next, wider one tells whether it was that)
        return None
    return twin


def shrunk(config: PreTrainedConfig, most: int | None) -> PreTrainedConfig:
    """Return the config with two layers, the first and the last, and few heads of at most `most` channels if given."""
    text = config.get_text_config()
    whole = config.to_dict()
    fields = whole if text is config else next(whole[name] for name in whole if getattr(config, name, None) is text)

    def put(name: str, value: Any) -> None:
        name = text.attribute_map.get(name, name)
        if fields.get(name) is not None:
            fields[name] = value

    for name, value in fields.items():
        if isinstance(value, list) and len(value) == text.num_hidden_layers:
            fields[name] = [value[0], value[-1]]
    put("num_hidden_layers", 2)
    if most:
        head = min(most, getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
        put("head_dim", head)
        is_grouped = getattr(text, "num_key_value_heads", None) not in (None, text.num_attention_heads)
        put("num_attention_heads", 2)
        put("num_key_value_heads", 1 if is_grouped else 2)
        put("hidden_size", 2 * head)
        for name in ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"):
            put(name, 4 * head)
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        put(name, 4)
    put("num_experts_per_tok", 2)
    return type(config).from_dict(whole)
