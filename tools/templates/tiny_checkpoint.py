"""Make a tiny checkpoint of a base model's kind, and let a script that evaluates checkpoints rehearse on it.

Reads `model`, `revision`, `method`, `is_adapter`, `rows` (a file of held-out rows), `count` (of those that are used),
`script` and `folder` (an empty one). Answers with what the script left in `result.json`: how many checkpoints it would
evaluate (`new`), and what it measured of the tiny one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from twins import save_twin

NOISE = 0.02
"""Spread of what is added to the twin's weights, so that the checkpoint is not its base."""


def save_checkpoint(base: Path, checkpoint: Path, *, is_adapter: bool, method: str) -> None:
    """Save what a training of the twin would leave: an adapter, or the whole model, with other weights."""
    if method == "reward":
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    else:
        model = AutoModelForCausalLM.from_pretrained(base)
    if is_adapter:
        task = "SEQ_CLS" if method == "reward" else "CAUSAL_LM"
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type=task))
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += NOISE * torch.randn_like(weight)
    model.save_pretrained(checkpoint)
    AutoTokenizer.from_pretrained(base).save_pretrained(checkpoint)


def main(request: dict) -> dict:
    """Make it, rehearse, and return what was found."""
    folder = Path(request["folder"])
    print(save_twin(request["model"], request["revision"], folder / "base", seed=0), flush=True)
    save_checkpoint(folder / "base", folder / "checkpoint", is_adapter=request["is_adapter"], method=request["method"])
    lines = Path(request["rows"]).read_bytes().splitlines(keepends=True)[: request["count"]]
    (folder / "heldout.jsonl").write_bytes(b"".join(lines))
    environment = {**os.environ, "FTAGENT_REHEARSAL": str(folder)}
    ended = subprocess.run([sys.executable, request["script"]], env=environment, stderr=subprocess.STDOUT, check=False)
    if ended.returncode:
        sys.exit(ended.returncode if ended.returncode > 0 else f"the script was ended by signal {-ended.returncode}")
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
