"""Merge an adapter into its base model, as a folder that llama.cpp's converter and every server can read.

Reads `base`, its `revision`, `checkpoint` and `destination`; writes weights, config, generation config, tokenizer and
chat template. Answers with `parameters` and `largest_weight`. The sum is made in float32, since half precision would
round the adapter away, and is kept as float16: its 11 bits are more than any quantisation keeps, on half the disk.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def load_tokenizer(request: dict):
    """Load the tokenizer that training saved, or the base's where the checkpoint has none."""
    if any(Path(request["checkpoint"]).glob("tokenizer*")):
        return AutoTokenizer.from_pretrained(request["checkpoint"])
    return AutoTokenizer.from_pretrained(request["base"], revision=request["revision"])


def main(request: dict) -> dict:
    """Load, merge, save."""
    base = AutoModelForCausalLM.from_pretrained(request["base"], revision=request["revision"], dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, request["checkpoint"]).merge_and_unload()
    largest = max(float(weights.abs().max()) for weights in merged.parameters())
    if not largest <= torch.finfo(torch.float16).max:
        raise SystemExit(f"the largest merged weight is {largest:.3g}, which float16 cannot hold")
    merged.half().save_pretrained(request["destination"])
    load_tokenizer(request).save_pretrained(request["destination"])
    return {"parameters": merged.num_parameters(), "largest_weight": largest}


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
