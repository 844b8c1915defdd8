"""Whether what a training saved is what it trained: every trained weight is in the files, with the trained value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def look_at_weights(model: Any, folder: Path) -> int:
    """Hold each trained weight against the files, and return how many there are.

    Raises:
        ValueError: One is missing, or has another value; the message names it.
    """
    saved = {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}
    trained = trained_weights(model)
    for name, weight in trained.items():
        if name not in saved:
            raise ValueError(
                f"{name} was trained and is not in {folder.name}/: save with trainer.save_model, and have the adapter "
                "keep what it trains beside itself (modules_to_save)"
            )
        if not torch.equal(saved[name], weight.to("cpu", saved[name].dtype)):
            raise ValueError(
                f"{name} in {folder.name}/ is not what was trained: save after trainer.train, and save that model"
            )
    return len(trained)


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights that were trained, under the names that they are saved by; shared ones once."""
    if not hasattr(model, "peft_config"):
        return {name: w.detach() for name, w in model.named_parameters() if w.requires_grad}
    from peft import get_peft_model_state_dict

    kept = get_peft_model_state_dict(model)
    places = {weight.data_ptr() for weight in kept.values()}
    rest = {name: w.detach() for name, w in model.named_parameters() if w.requires_grad and w.data_ptr() not in places}
    return kept | rest
