"""Measure a base model and its fine-tuned twin on the same rows: loss of each row, and a few answers.

Reads `base`, its `revision`, `checkpoint`, `is_adapter`, `sets` (by name: `rows`, a file, `loss_on` and `max_length`),
`questions` and `max_new_tokens`; with `tuned_only` the base is not measured. Answers with `items` (by the same names:
`row`, `tokens`, and `base_loss` and `tuned_loss` in nats per token), `base_answers`, `tuned_answers`, `device`, `dtype`
and `transformers`. Rows are tokenised, masked and cut as `SFTTrainer` does it, and both models see the same tokens. A
row of which the cut leaves nothing to predict is left out, as in training.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import transformers
from peft import PeftModel
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

IGNORED = -100

# At most so many positions in a batch, and so many logits: 2^27 float32 values are 512 MiB.
POSITIONS_AT_ONCE = 2048
LOGITS_AT_ONCE = 2**27


@dataclass(frozen=True)
class Row:
    """One row as the models see it."""

    number: int
    tokens: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        """How many of its tokens are predicted; the first has nothing before it."""
        return sum(label != IGNORED for label in self.labels[1:])


# --- rows, as SFTTrainer prepares them (trl/trainer/sft_trainer.py, `tokenize_fn` to `truncate`) --------------------


def read_rows(chosen: dict, tokenizer) -> list[Row]:
    """Return the rows of which something is predicted."""
    loss_on, max_length = chosen["loss_on"], chosen["max_length"]
    template = training_template(tokenizer, loss_on)
    lines = Path(chosen["rows"]).read_bytes().splitlines()
    prepared = [prepare(n, json.loads(line), tokenizer, loss_on, max_length, template) for n, line in enumerate(lines)]
    rows = [row for row in prepared if row.trained]
    print(f"{len(rows)} of {len(prepared)} rows have trained tokens, {sum(row.trained for row in rows)} in all")
    return rows


def prepare(number: int, row: dict, tokenizer, loss_on: str, max_length: int, template: str | None) -> Row:
    """Tokenise one row, mask what training masked, and cut it where training cut it."""
    chat = partial(tokenizer.apply_chat_template, return_dict=True)
    if "messages" in row:
        only_assistant = loss_on == "assistant"
        made = chat(row["messages"], chat_template=template, return_assistant_tokens_mask=only_assistant)
        tokens, mask = made["input_ids"], made.get("assistant_masks", [1] * len(made["input_ids"]))
    elif "text" in row:
        tokens = tokenizer(with_end(row["text"], tokenizer))["input_ids"]
        mask = [1] * len(tokens)
    else:
        prompt, tokens = prompt_and_whole(row, tokenizer, chat)
        answered = 0 if loss_on == "all" else shared_prefix(prompt, tokens)
        mask = [0] * answered + [1] * (len(tokens) - answered)
    labels = [token if kept else IGNORED for token, kept in zip(tokens, mask, strict=True)]
    return Row(number, tokens[:max_length], labels[:max_length])


def prompt_and_whole(row: dict, tokenizer, chat) -> tuple[list[int], list[int]]:
    """Return the tokens of the prompt alone, and of prompt and completion together."""
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, list):
        return chat(prompt, add_generation_prompt=True)["input_ids"], chat(prompt + completion)["input_ids"]
    whole = prompt + with_end(completion, tokenizer)
    return tokenizer(prompt)["input_ids"], tokenizer(whole)["input_ids"]


def with_end(text: str, tokenizer) -> str:
    """Add the end-of-sequence token, as training does to text without a chat template."""
    return text if text.endswith(tokenizer.eos_token) else text + tokenizer.eos_token


def shared_prefix(some: list[int], other: list[int]) -> int:
    """Return how many tokens two sequences begin with together: a completion starts where they part."""
    return next((i for i, (a, b) in enumerate(zip(some, other, strict=False)) if a != b), min(len(some), len(other)))


def training_template(tokenizer, loss_on: str) -> str | None:
    """Return the template that marks the assistant's tokens, where training used another than the tokenizer's own."""
    if loss_on != "assistant" or "{% generation" in tokenizer.chat_template:
        return None
    from trl.chat_template_utils import get_training_chat_template

    return get_training_chat_template(tokenizer)


# --- loss -----------------------------------------------------------------------------------------------------------


def batches(rows: list[Row], vocabulary: int) -> Iterator[list[Row]]:
    """Yield rows of like length together, as many as the budgets of positions and logits allow."""
    budget = min(POSITIONS_AT_ONCE, LOGITS_AT_ONCE // vocabulary)
    batch: list[Row] = []
    for row in sorted(rows, key=lambda r: len(r.tokens)):
        if batch and (len(batch) + 1) * len(row.tokens) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def batch_losses(model, batch: list[Row], pad: int) -> dict[int, float]:
    """Return each row's mean negative log likelihood; logits are computed only where some row has a trained token."""
    tokens = padded([row.tokens for row in batch], pad).to(model.device)
    attention = padded([[1] * len(row.tokens) for row in batch], 0).to(model.device)
    targets = padded([row.labels for row in batch], IGNORED)[:, 1:].to(model.device)
    positions = (targets != IGNORED).any(dim=0).nonzero().flatten()
    logits = model(input_ids=tokens, attention_mask=attention, logits_to_keep=positions).logits
    targets = targets[:, positions]
    trained = targets != IGNORED
    losses = torch.zeros(targets.shape, dtype=torch.float32, device=model.device)
    losses[trained] = cross_entropy(logits[trained].float(), targets[trained], reduction="none")
    means = losses.sum(dim=1) / trained.sum(dim=1)
    return {row.number: mean for row, mean in zip(batch, means.tolist(), strict=True)}


def padded(sequences: list[list[int]], filler: int) -> torch.Tensor:
    """Return sequences as one matrix, filled up at the right."""
    return pad_sequence([torch.tensor(sequence) for sequence in sequences], batch_first=True, padding_value=filler)


def all_losses(model, rows: list[Row], pad: int, name: str) -> list[float]:
    """Return the loss of every row, and tell how far it is."""
    losses: dict[int, float] = {}
    for batch in batches(rows, model.config.get_text_config().vocab_size):
        losses |= batch_losses(model, batch, pad)
        progress(f"{name} rows", len(losses), len(rows))
    return [losses[row.number] for row in rows]


# --- answers --------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def answers(model, tokenizer, questions: list, max_new_tokens: int) -> list[str]:
    """Return greedy answers to questions that are all chats or all plain text; none to none."""
    if not questions:
        return []
    if isinstance(questions[0], list):
        made = tokenizer.apply_chat_template(
            questions, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
    else:
        made = tokenizer(questions, padding=True, return_tensors="pt")
    made = made.to(model.device)
    told = model.generate(**made, do_sample=False, max_new_tokens=max_new_tokens, pad_token_id=tokenizer.pad_token_id)
    new = told[:, made["input_ids"].shape[1] :]
    return [answer.strip() for answer in tokenizer.batch_decode(new, skip_special_tokens=True)]


# --- models ---------------------------------------------------------------------------------------------------------


def pick_device() -> tuple[str, torch.dtype]:
    """Return where to run, and in which type: float32 on a CPU, and on GPUs older than Ampere float16 for bfloat16."""
    if not torch.cuda.is_available():
        return "cpu", torch.float32
    # A T4 says that it supports bfloat16 and emulates it slowly, so the compute capability decides.
    return "cuda", torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16


def load(name: str, revision: str | None, device: str, dtype: torch.dtype):
    """Load a whole model for reading."""
    return AutoModelForCausalLM.from_pretrained(name, revision=revision, dtype=dtype).to(device).eval()


def load_tokenizer(request: dict):
    """Load the tokenizer that training saved, or the base's where the checkpoint has none; padding goes left."""
    has_own = any(Path(request["checkpoint"]).glob("tokenizer*"))
    name, revision = (request["checkpoint"], None) if has_own else (request["base"], request["revision"])
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def add_adapter(base, checkpoint: str, dtype: torch.dtype):
    """Put the adapter on the loaded base."""
    tuned = PeftModel.from_pretrained(base, checkpoint).eval()
    # Merged, 2048 tokens take 1.9 s instead of 3.3 s (SmolLM2-135M, r=16, two cores), and no logit moves by more than
    # 1e-4. In half precision the merge itself would round the adapter away.
    return tuned.merge_and_unload() if dtype == torch.float32 else tuned


def progress(text: str, done: int, total: int) -> None:
    """Tell whoever waits how far it is."""
    print("@progress " + json.dumps({"text": text, "done": done, "total": total}))


def measure(model, name: str, sets: dict[str, list[Row]], tokenizer, request: dict) -> tuple[dict, list[str]]:
    """Return the loss of each row of each set, and the answers to the questions."""
    losses = {
        kind: all_losses(model, rows, tokenizer.pad_token_id, f"{name} model: {kind}") for kind, rows in sets.items()
    }
    said = answers(model, tokenizer, request["questions"], request["max_new_tokens"])
    progress(f"{name} model: sample answers", len(said), len(said))
    return losses, said


def models(request: dict, device: str, dtype: torch.dtype, load=load) -> Iterator[tuple]:
    """Yield the base and its name, and then the tuned model, which takes its place: two may not fit."""
    tuned_only, is_adapter = request.get("tuned_only", False), request["is_adapter"]
    model = None if tuned_only and not is_adapter else load(request["base"], request["revision"], device, dtype)
    if not tuned_only:
        yield "base", model
    if is_adapter:
        model = add_adapter(model, request["checkpoint"], dtype)
    else:
        del model
        model = load(request["checkpoint"], None, device, dtype)
    yield "tuned", model


def measured_with(device: str, dtype: torch.dtype) -> dict:
    """Return what a reader of the figures must know of the machine."""
    return {"device": device, "dtype": str(dtype).removeprefix("torch."), "transformers": transformers.__version__}


def main(request: dict) -> dict:
    """Measure the base, put the tuned model in its place, measure again."""
    device, dtype = pick_device()
    tokenizer = load_tokenizer(request)
    sets = {name: read_rows(chosen, tokenizer) for name, chosen in request["sets"].items()}
    found = {name: measure(model, name, sets, tokenizer, request) for name, model in models(request, device, dtype)}
    return {
        "items": {
            kind: [
                {"row": row.number, "tokens": row.trained}
                | {f"{name}_loss": losses[kind][place] for name, (losses, _) in found.items()}
                for place, row in enumerate(rows)
            ]
            for kind, rows in sets.items()
        },
        **{f"{name}_answers": said for name, (_, said) in found.items()},
        **measured_with(device, dtype),
    }


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
