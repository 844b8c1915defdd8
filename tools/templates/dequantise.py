"""Turn a GGUF file into a folder that transformers, TRL and PEFT can train: safetensors, tokenizer, generation config.

Reads `{"gguf": FILE, "destination": FOLDER}`, fills the folder, loads it again and compares. Answers with what was
found: `parameters`, `logit_difference`, `eos`, `pad`. The weights stay in float32: a 4-bit value times its float16
scale plus its float16 minimum fits exactly there and in no smaller type, so the only loss is the one in the GGUF.
"""

import json
import sys
from functools import lru_cache
from pathlib import Path

import gguf
import torch
import transformers.modeling_gguf_pytorch_utils as gguf_loading
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]
LARGEST_LOGIT_DIFFERENCE = 1e-3

# transformers asks for `gguf>=0.10` by distribution name. The copy that llama.cpp's packaged converter carries has no
# metadata of its own, so transformers reads the converter's version, 0.1.1, and refuses what is recent enough.
gguf_loading.is_gguf_available = lambda *_: True

# Config, weights and tokenizer each parse the whole file again, mostly its 49,152 tokens and their merges.
gguf.GGUFReader = lru_cache(maxsize=1)(gguf.GGUFReader)


def load(file: Path) -> tuple[torch.nn.Module, AutoTokenizer]:
    """Load model and tokenizer as transformers reads them out of the GGUF."""
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.model_max_length = model.config.max_position_embeddings
    return model.eval(), tokenizer


def as_plain(model: torch.nn.Module) -> torch.nn.Module:
    """Rebuild the model without its quantiser, since the loaded object counts as quantised and refuses to save."""
    config = model.config
    del config.quantization_config
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain.eval()


@torch.no_grad()
def logits(model: torch.nn.Module, tokenizer: AutoTokenizer) -> torch.Tensor:
    """Return the logits of the whole prompt."""
    tokens = tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    return model(**tokens).logits


def main(request: dict[str, str]) -> dict[str, object]:
    """Dequantise, save, load again, compare."""
    destination = Path(request["destination"])
    quantised, tokenizer = load(Path(request["gguf"]))
    expected = logits(quantised, tokenizer)
    as_plain(quantised).save_pretrained(destination)
    tokenizer.save_pretrained(destination)

    model = AutoModelForCausalLM.from_pretrained(destination)
    tokenizer = AutoTokenizer.from_pretrained(destination)
    difference = float((logits(model, tokenizer) - expected).abs().max())
    print(f"{destination}: the logits differ by at most {difference:.2g} from those of the GGUF")
    if difference > LARGEST_LOGIT_DIFFERENCE:
        raise SystemExit(f"the saved model answers otherwise than the GGUF: its logits differ by {difference:.2g}")
    if not tokenizer.chat_template or tokenizer.eos_token is None or tokenizer.pad_token is None:
        raise SystemExit("the saved tokenizer lacks a chat template, an end-of-sequence token or a padding token")
    return {
        "parameters": model.num_parameters(),
        "logit_difference": difference,
        "eos": tokenizer.eos_token,
        "pad": tokenizer.pad_token,
    }


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
