"""The shape of a model, read from its `config.json` and the headers of its safetensors: no weights, no torch.

Not covered yet: mixtures of experts without weights at hand, and encoders.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import InputError
from .facts import ModelRef
from .models import weight_files

# Names of one thing in different families of models; the first that is there counts.
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "num_heads")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")

# Families whose feed-forward network has two matrices; all newer ones gate it, which takes three.
UNGATED = frozenset({"gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2"})


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What memory and time depend on."""

    model_type: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    tied: bool
    gated: bool
    parameters: int
    """All of them, shared ones counted once."""

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and of the output head where it is a matrix of its own."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def linear(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of the linear layers inside one layer of the model."""
        kv = self.kv_heads * self.head_dim
        attention = ((self.hidden, self.query), (self.hidden, kv), (self.hidden, kv), (self.query, self.hidden))
        up = ((self.hidden, self.intermediate),) * (2 if self.gated else 1)
        return (*attention, *up, (self.intermediate, self.hidden))

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of LoRA on all linear layers: `rank × (inputs + outputs)` each (Hu et al. 2021, section 4.1)."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.linear)


def architecture_of(model: ModelRef) -> Architecture:
    """Return the shape of a model that was found; of one on the Hub, only the config is fetched.

    Raises:
        InputError: Its config cannot be fetched or has no shape in it.
    """
    if model.path is not None:
        return read_architecture(Path(model.path))
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        config = hf_hub_download(model.id, "config.json", revision=model.revision)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"the config of `{model.id}` cannot be fetched: {error}.", hint="check the network, or name a local folder"
        ) from error
    return read_architecture(Path(config).parent)


def read_architecture(folder: Path) -> Architecture:
    """Read the shape of the model in `folder`; its parameters are counted in the weights if they lie there.

    Raises:
        InputError: The config is missing, broken, or has no shape in it.
    """
    config = _config(folder)
    model_type = str(config.get("model_type", ""))
    try:
        hidden, heads = _first(config, HIDDEN), _first(config, HEADS)
        shape = Architecture(
            model_type=model_type,
            layers=_first(config, LAYERS),
            hidden=hidden,
            intermediate=_first(config, ("intermediate_size", "n_inner", "ffn_dim", "d_ff"), 4 * hidden),
            heads=heads,
            kv_heads=_first(config, ("num_key_value_heads",), heads),
            head_dim=_first(config, ("head_dim",), hidden // heads),
            vocabulary=_first(config, ("vocab_size",)),
            context=_first(config, ("max_position_embeddings", "n_positions", "seq_length"), 2048),
            # transformers' own default: a config says so when the head is a matrix of its own.
            tied=bool(config.get("tie_word_embeddings", True)),
            gated=model_type not in UNGATED,
            parameters=0,
        )
    except KeyError as error:
        raise InputError(
            f"`{folder / 'config.json'}` has no {error.args[0]}.", hint="name the folder of a causal language model"
        ) from None
    return _with_parameters(shape, config, folder)


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


def _with_parameters(shape: Architecture, config: dict[str, Any], folder: Path) -> Architecture:
    files = [file for file in weight_files(folder) if file.suffix == ".safetensors" and file.is_file()]
    if files:
        parameters = sum(_count(file, shape.tied) for file in files)
    elif any(config.get(name) for name in EXPERTS):
        raise InputError(
            f"`{folder}` is a mixture of experts without its weights, which cannot be sized yet.",
            hint="name a folder that has the weights, or a dense model",
        )
    else:
        norms = 2 * shape.hidden
        layer = sum(inputs * outputs for inputs, outputs in shape.linear) + norms
        parameters = shape.embedding + shape.layers * layer + shape.hidden
    return replace(shape, parameters=parameters)


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
