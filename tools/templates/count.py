"""Count the parameters of a causal language model by building it on torch's meta device, where tensors have no bytes.

Reads `folder`, which has the model's `config.json`; answers with `parameters`, those that are shared counted once.
Code that comes with a model is not run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def count(folder: str) -> int:
    """Return how many parameters the class of this config has."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.tie_weights()
    return model.num_parameters()


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps({"parameters": count(request["folder"])}), encoding="utf-8")
