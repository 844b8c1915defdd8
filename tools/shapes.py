"""Read the shape of a model from its `config.json` and the headers of its safetensors: no weights, no torch.

Not covered: encoders, and mixtures of experts whose weights are not at hand and whose family is not in families.py;
those are counted by a worker that builds the model on torch's meta device.
"""

from __future__ import annotations

import json
import math
import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from .architecture import Architecture
from .errors import InputError
from .facts import ModelRef
from .families import FAMILIES, family_of
from .models import weight_files
from .settings import Settings
from .worker import run_worker

# Names of one thing in different families of models; the first that is there counts.
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "num_heads")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")

# Importing transformers takes 5 to 15 s on a busy machine, building 80 layers without weights another two (measured).
BUILDING_TIMEOUT_S = 120


def architecture_of(model: ModelRef, settings: Settings | None = None) -> Architecture:
    """Return the shape of a model that was found; of one on the Hub, only the config is fetched.

    Args:
        model: The model, wherever it lies.
        settings: With them, a family that is not known is counted by building it, in a process of its own.

    Raises:
        InputError: Its config cannot be fetched or has no shape in it.
        ToolError: It cannot be built.
    """
    if model.path is not None:
        return read_architecture(Path(model.path), settings)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        config = hf_hub_download(model.id, "config.json", revision=model.revision)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"the config of `{model.id}` cannot be fetched: {error}.", hint="check the network, or name a local folder"
        ) from error
    return read_architecture(Path(config).parent, settings)


def read_architecture(folder: Path, settings: Settings | None = None) -> Architecture:
    """Read the shape of the model in `folder`; its parameters are counted in the weights if they lie there.

    Raises:
        InputError: The config is missing, broken, or has no shape in it.
        ToolError: It cannot be built, where `settings` are given and nothing else is known.
    """
    config = _config(folder)
    try:
        shape = _shape(config)
    except KeyError as error:
        raise InputError(
            f"`{folder / 'config.json'}` has no {error.args[0]}.", hint="name the folder of a causal language model"
        ) from None
    return replace(shape, parameters=_parameters(shape, config, folder, settings))


def _shape(config: dict[str, Any]) -> Architecture:
    model_type = str(config.get("model_type", ""))
    family = family_of(model_type)
    hidden, heads, layers = _first(config, HIDDEN), _first(config, HEADS), _first(config, LAYERS)
    intermediate = _first(config, ("intermediate_size", "n_inner", "ffn_dim", "d_ff"), 4 * hidden)
    experts = _first(config, EXPERTS, 0)
    return Architecture(
        model_type=model_type,
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=_first(config, ("num_key_value_heads",), heads),
        head_dim=_first(config, ("head_dim",), hidden // heads),
        vocabulary=_first(config, ("vocab_size",)),
        context=_first(config, ("max_position_embeddings", "n_positions", "seq_length"), 2048),
        tied=bool(config.get("tie_word_embeddings", family.tied)),
        gated=family.gated,
        parameters=0,
        experts=experts,
        active_experts=_first(config, ("num_experts_per_tok",), 0) if experts else 0,
        expert_width=_first(config, ("moe_intermediate_size",), intermediate) if experts else 0,
        dense_layers=_dense_layers(config, layers) if experts else 0,
        window=_first(config, ("sliding_window",), 0) or None,
        sliding_layers=_sliding_layers(config, model_type, layers),
        softcap=bool(config.get("attn_logit_softcapping")),
    )


def _dense_layers(config: dict[str, Any], layers: int) -> int:
    """Return how many layers of a mixture have no experts (`Qwen3MoeDecoderLayer`)."""
    step, dense = config.get("decoder_sparse_step") or 1, config.get("mlp_only_layers") or ()
    return sum(1 for layer in range(layers) if layer in dense or (layer + 1) % step)


def _sliding_layers(config: dict[str, Any], model_type: str, layers: int) -> int:
    """Return how many layers look back on a window only; configs before transformers 5 leave it to the family."""
    if not isinstance(config.get("sliding_window"), int) or config.get("use_sliding_window") is False:
        return 0
    if isinstance(types := config.get("layer_types"), list):
        return types.count("sliding_attention")
    every = {"gemma2": 2, "gemma3_text": config.get("sliding_window_pattern", 6)}.get(model_type)
    return layers - layers // every if every else layers


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"`{folder / 'config.json'}` cannot be read: {error}.", hint="name a folder with a model in it"
        ) from error
    # Models that also see or hear keep the language part's shape one level down.
    return config.get("text_config", config)


def _first(config: dict[str, Any], names: tuple[str, ...], otherwise: int | None = None) -> int:
    value = next((config[name] for name in names if isinstance(config.get(name), int)), otherwise)
    if value is None:
        raise KeyError(names[0])
    return value


def _parameters(shape: Architecture, config: dict[str, Any], folder: Path, settings: Settings | None) -> int:
    files = [file for file in weight_files(folder) if file.suffix == ".safetensors" and file.is_file()]
    if files:
        return sum(_count(file, shape.tied) for file in files)
    if shape.model_type not in FAMILIES and settings is not None:
        return _built(folder, settings)
    if shape.experts and shape.model_type not in FAMILIES:
        raise InputError(
            f"`{folder}` is a mixture of experts of the family `{shape.model_type}` without its weights: "
            "how its experts are made is not known.",
            hint="name a folder that has the weights, or a model of another family",
        )
    return _counted(shape, config)


def _built(folder: Path, settings: Settings) -> int:
    with tempfile.TemporaryDirectory(prefix="ftagent-") as scratch:
        log = Path(scratch) / "count.log"
        request = {"folder": str(folder.resolve())}
        answer = run_worker(settings, "count.py", request, log=log, timeout_s=BUILDING_TIMEOUT_S)
    return int(answer["parameters"])


def _counted(shape: Architecture, config: dict[str, Any]) -> int:
    """Count what the family's class in transformers makes of its config."""
    family, hidden = shape.family, shape.hidden
    head_norms = {"": 0, "head": 2 * shape.head_dim, "width": shape.query + shape.key_value}[family.head_norms]
    norms = hidden * (2 if family.all_biased else 1)
    common = sum(matrix.parameters for matrix in shape.attention) + family.norms * norms + head_norms
    common += _attention_biases(shape, config)
    dense = sum(matrix.parameters for matrix in shape.feed_forward)
    if config.get("mlp_bias") or family.all_biased:
        dense += sum(matrix.outputs for matrix in shape.feed_forward)
    sparse = sum(matrix.parameters for matrix in shape.mixture) if shape.experts else 0
    blocks = shape.layers * common
    blocks += (
        (shape.layers - shape.dense_layers) * sparse + shape.dense_layers * dense if sparse else shape.layers * dense
    )
    positions = shape.context * hidden if family.all_biased else 0
    return shape.embedding + positions + blocks + norms


def _attention_biases(shape: Architecture, config: dict[str, Any]) -> int:
    inner = shape.query + 2 * shape.key_value
    if config.get("attention_bias") or shape.family.all_biased:
        return inner + shape.hidden
    return inner if shape.family.query_bias else 0


def _count(file: Path, tied: bool) -> int:
    """Count the parameters that a safetensors file lists in its header: 8 bytes of length, then JSON.

    Format: https://huggingface.co/docs/safetensors#format. A tied head that was stored all the same is left out.
    """
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    return sum(
        math.prod(tensor["shape"])
        for name, tensor in header.items()
        if name != "__metadata__" and not (tied and name == "lm_head.weight")
    )
