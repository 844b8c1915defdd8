from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.errors import InputError
from ftagent.tools.facts import ModelRef
from ftagent.tools.settings import Settings
from ftagent.tools.shapes import architecture_of, read_architecture

from ..bench.memory import CONFIGS

# Shapes as their publishers' config.json has them.
QWEN3 = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
}
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}


def write(folder: Path, config: dict[str, Any], **tensors: list[int]) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if tensors:
        header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in tensors.items()}
        content = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content)
    return folder


def test_a_real_model_is_counted_from_the_header_of_its_weights(smollm2: Path) -> None:
    shape = read_architecture(smollm2)
    assert (shape.layers, shape.hidden, shape.intermediate, shape.vocabulary) == (30, 576, 1536, 49152)
    assert (shape.heads, shape.kv_heads, shape.head_dim, shape.tied) == (9, 3, 64, True)
    assert shape.parameters == 134_515_008


def test_config_alone_gives_the_same_count(smollm2: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((smollm2 / "config.json").read_bytes())
    assert read_architecture(tmp_path) == read_architecture(smollm2)


@pytest.mark.parametrize(("config", "parameters"), [(QWEN3, 596_049_920), (GPT2, 124_439_808)])
def test_published_sizes_are_met(tmp_path: Path, config: dict[str, Any], parameters: int) -> None:
    assert read_architecture(write(tmp_path, config)).parameters == pytest.approx(parameters, rel=0.01)


def test_lora_on_all_linear_layers_has_as_many_parameters_as_peft_makes(smollm2: Path, tmp_path: Path) -> None:
    assert read_architecture(smollm2).adapter_parameters(16) == 4_884_480
    assert read_architecture(write(tmp_path, QWEN3)).adapter_parameters(16) == 10_092_544


def test_a_tied_head_that_was_saved_all_the_same_is_not_counted_twice(tmp_path: Path) -> None:
    tensors = {"model.embed_tokens.weight": [10, 4], "lm_head.weight": [10, 4], "norm": [4]}
    assert read_architecture(write(tmp_path, QWEN3, **tensors)).parameters == 44
    untied = QWEN3 | {"tie_word_embeddings": False}
    assert read_architecture(write(tmp_path, untied, **tensors)).parameters == 84


def test_shards_are_added_up(tmp_path: Path) -> None:
    write(tmp_path, QWEN3, a=[2, 3])
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    write(tmp_path, QWEN3, b=[5])
    (tmp_path / "model.safetensors").rename(tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert read_architecture(tmp_path).parameters == 11


def test_the_language_part_of_a_larger_model_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"model_type": "gemma3", "vision_config": {"hidden_size": 5}, "text_config": QWEN3})
    assert read_architecture(tmp_path).hidden == 1024


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read"),
        ('{"model_type": "clip"}', "has no hidden_size"),
        ('{"num_experts": 8}', "has no hidden_size"),
    ],
)
def test_a_config_without_a_shape_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_architecture(tmp_path)


def test_a_mixture_of_experts_of_an_unknown_family_is_refused_rather_than_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mixture of experts of the family `arctic`"):
        read_architecture(write(tmp_path, QWEN3 | {"model_type": "arctic", "num_experts": 64}))


def test_a_family_that_is_not_known_is_counted_by_building_it(tmp_path: Path) -> None:
    # published as Qwen1.5-MoE-A2.7B: 14.3 billion, with experts that share one
    shared = {
        "model_type": "qwen2_moe",
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "vocab_size": 151936,
        "num_experts": 60,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "tie_word_embeddings": False,
    }
    assert read_architecture(write(tmp_path, shared), Settings()).parameters == 14_315_784_192


def built(folder: Path, layers: int | None) -> int:
    """Count with the class itself, on the meta device."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    if layers is not None:
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    return model.num_parameters()


def shortened(folder: Path, layers: int, into: Path) -> Path:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return write(into, config | {"num_hidden_layers": layers})


@pytest.mark.parametrize("model", sorted(folder.name for folder in CONFIGS.iterdir()))
def test_the_arithmetic_counts_what_the_class_has(model: str, tmp_path: Path) -> None:
    assert read_architecture(shortened(CONFIGS / model, 3, tmp_path)).parameters == built(CONFIGS / model, 3)


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(folder.name for folder in CONFIGS.iterdir()))
def test_the_arithmetic_counts_what_the_class_has_in_all_its_layers(model: str) -> None:
    assert read_architecture(CONFIGS / model).parameters == built(CONFIGS / model, None)


@pytest.mark.parametrize("model", ["Llama-3.2-1B", "Phi-4", "Mixtral-8x7B-v0.1", "Qwen3-30B-A3B"])
def test_adapters_have_as_many_parameters_as_peft_gives_them(model: str, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(CONFIGS / model, num_hidden_layers=1)
    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(config)
        lora = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
        trained = get_peft_model(whole, lora).get_nb_trainable_parameters()[0]
    assert read_architecture(shortened(CONFIGS / model, 1, tmp_path)).adapter_parameters(16) == trained


def test_a_token_meets_a_tenth_of_a_large_mixture() -> None:
    mixture = read_architecture(CONFIGS / "Qwen3-30B-A3B")
    assert mixture.active_parameters == pytest.approx(3.35e9, rel=0.01)  # published as 3.3 billion
    dense = read_architecture(CONFIGS / "Qwen3-8B")
    assert dense.active_parameters == dense.parameters


def test_a_hub_model_out_of_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the config of `owner/model` cannot be fetched"):
        architecture_of(ModelRef(id="owner/model", source="hub", path=None, revision="0" * 40))
