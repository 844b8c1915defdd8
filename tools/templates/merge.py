"""Merge an adapter into its base model, as a folder that llama.cpp's converter and every server can read.

Reads `base`, its `revision`, `checkpoint` and `destination`; writes weights, config, generation config, tokenizer and
chat template. Answers with `parameters`, `largest_weight` and `dtype`. The sum is made in float32, since half precision
would round the adapter away, and is kept as float16: its 11 bits are more than any quantisation keeps, on half the
disk. Weights that are too large for it are kept as bfloat16. The config states the type that the base computes in,
since activations of a bfloat16 model may overflow where its weights do not.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def load_tokenizer(request: dict):
    """Load the tokenizer that training saved, or the base's where the checkpoint has none."""
    if any(Path(request["checkpoint"]).glob("tokenizer*")):
        return AutoTokenizer.from_pretrained(request["checkpoint"])
    return AutoTokenizer.from_pretrained(request["base"], revision=request["revision"])


def state_computing_type(request: dict, stored: torch.dtype) -> None:
    """Let the saved config say what servers shall compute in: the base's own type, where it has a half one."""
    base = AutoConfig.from_pretrained(request["base"], revision=request["revision"])
    halves = (torch.float16, torch.bfloat16)
    computes = base.dtype if base.dtype in halves else stored
    file = Path(request["destination"], "config.json")
    config = json.loads(file.read_text(encoding="utf-8"))
    config["dtype"] = str(computes).removeprefix("torch.")
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main(request: dict) -> dict:
    """Load, merge, save."""
    base = AutoModelForCausalLM.from_pretrained(request["base"], revision=request["revision"], dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, request["checkpoint"]).merge_and_unload()
    largest = max(float(weights.abs().max()) for weights in merged.parameters())
    if largest != largest or largest == float("inf"):
        raise SystemExit("the merged model has weights that are no numbers: its training diverged")
    dtype = torch.float16 if largest <= torch.finfo(torch.float16).max else torch.bfloat16
    merged.to(dtype).save_pretrained(request["destination"])
    state_computing_type(request, dtype)
    load_tokenizer(request).save_pretrained(request["destination"])
    kept = str(dtype).removeprefix("torch.")
    return {"parameters": merged.num_parameters(), "largest_weight": largest, "dtype": kept}


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
