"""Measure a whole model in transformers: what its GGUF files are held against.

Reads `model` (a folder), `rows` (each `{"messages"}` or `{"text"}`), `questions` (chats, or plain text), `max_length`
and `answer_tokens`. Answers with

- `rows`: `text` as the chat template renders it, its `tokens`, whether the tokenizer `adds` special ones by itself,
  the tokens that are `measured`, and their loss in `nats`
- `answers`: the `tokens` of a question with the model's own greedy answer, which begins at `start`
- `perplexity` over all tokens of `rows` but the first of each, and their `count`
- `special`: numbers of tokens that are no text, `stops`: the texts of those that end an answer
- `template`, `largest_weight`, `dtype` and `transformers`
"""

import json
import math
import os
import sys
from pathlib import Path

import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer


def computing_type(folder: Path) -> torch.dtype | str:
    """Return float32 where the weights then take at most half of the memory, else the type in which they lie there."""
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return torch.float32 if 2 * stored <= memory / 2 else "auto"


def prepare(row: dict, tokenizer, max_length: int) -> dict:
    """Render a row and cut it at `max_length` tokens; text without a template gets what the tokenizer adds."""
    chat = "messages" in row
    text = tokenizer.apply_chat_template(row["messages"], tokenize=False) if chat else row["text"]
    tokens = tokenizer(text, add_special_tokens=not chat)["input_ids"]
    return {"text": text, "adds": not chat, "tokens": tokens, "measured": tokens[:max_length]}


@torch.inference_mode()
def loss(model, tokens: list[int]) -> float:
    """Return the sum of negative log likelihoods of all tokens but the first."""
    logits = model(input_ids=torch.tensor([tokens], device=model.device)).logits[0, :-1].float()
    return float(cross_entropy(logits, torch.tensor(tokens[1:], device=model.device), reduction="sum"))


@torch.inference_mode()
def answer(model, tokenizer, question, answer_tokens: int) -> dict:
    """Return the tokens of a question and of the model's greedy answer to it."""
    chat = isinstance(question, list)
    text = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True) if chat else question
    asked = tokenizer(text, add_special_tokens=not chat, return_tensors="pt").to(model.device)
    whole = model.generate(**asked, do_sample=False, max_new_tokens=answer_tokens, pad_token_id=tokenizer.eos_token_id)
    return {"tokens": whole[0].tolist(), "start": asked["input_ids"].shape[1]}


def special_tokens(tokenizer) -> list[int]:
    """Return the numbers of tokens that are no text, the tokenizer's own and those that were added."""
    added = (number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    return sorted({*tokenizer.all_special_ids, *added})


def stops(model, tokenizer) -> list[str]:
    """Return the texts of the tokens at which an answer ends."""
    configured = model.generation_config.eos_token_id
    numbers = configured if isinstance(configured, list) else [configured]
    ends = dict.fromkeys([tokenizer.eos_token_id, *numbers])
    return [tokenizer.convert_ids_to_tokens(number) for number in ends if number is not None]


def main(request: dict) -> dict:
    """Load the model once, and take every measure."""
    folder = Path(request["model"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=computing_type(folder)).eval()
    if torch.cuda.is_available():
        model = model.to("cuda")
    rows = [prepare(row, tokenizer, request["max_length"]) for row in request["rows"]]
    count = sum(len(row["measured"]) - 1 for row in rows)
    for row in rows:
        row["nats"] = loss(model, row["measured"]) if len(row["measured"]) > 1 else 0.0
    nats = sum(row["nats"] for row in rows)
    return {
        "rows": rows,
        "answers": [answer(model, tokenizer, question, request["answer_tokens"]) for question in request["questions"]],
        "perplexity": math.exp(nats / count),
        "count": count,
        "special": special_tokens(tokenizer),
        "stops": stops(model, tokenizer),
        "template": tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None,
        "largest_weight": max(float(weights.abs().max()) for weights in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "transformers": transformers.__version__,
    }


if __name__ == "__main__":
    found = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
