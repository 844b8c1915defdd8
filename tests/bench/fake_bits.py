"""Hold a model of fake tensors in 4 bits, as transformers and bitsandbytes do it with real ones.

bitsandbytes is no dependency of ftagent: `pip install "bitsandbytes>=0.50"` before QLoRA is measured. Its operators
know what shapes they return, and its CPU build takes the same bytes as the one for GPUs. Only `Params4bit`, a subclass
of tensors which fake ones cannot be, is replaced by a parameter that has the same attributes.
"""

# pyright: reportMissingImports=false, reportPrivateImportUsage=false

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily
from transformers import BitsAndBytesConfig

# What templates/sft.py asks for.
NF4: dict[str, Any] = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}


def quantise(model: Any) -> None:
    """Put each linear layer but the output head into NF4 with double quantisation, as `from_pretrained` does."""
    import bitsandbytes
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16, **NF4)
    before = dict(model.named_modules())
    with unset_fake_temporarily():
        replace_with_bnb_linear(model, get_keys_to_not_convert(model), quantization_config=config)
        _quantised(torch.zeros(64, 64))  # makes tables of numbers that are kept
    for name, layer in model.named_modules():
        if not isinstance(layer, bitsandbytes.nn.Linear4bit):
            continue
        packed, state = _quantised(before[name].weight.data)
        weight: Any = torch.nn.Parameter(packed, requires_grad=False)
        weight.quant_state, weight.quant_type, weight.compress_statistics = state, "nf4", True
        layer.weight, layer.quant_state, layer.bias = weight, state, before[name].bias
        layer.compute_type_is_set = True  # else it looks at values
    model.is_loaded_in_4bit = True
    model.quantization_method = config.quantization_method()


def _quantised(weight: torch.Tensor) -> tuple[torch.Tensor, Any]:
    from bitsandbytes.functional import quantize_4bit

    return quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
