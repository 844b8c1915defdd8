"""Measure what preference methods train: how likely both models find judged answers, or how a reward model scores.

Reads what `heldout.py` reads, without its questions, and `method` (dpo, kto or reward). Rows are prepared by TRL's own
trainer of the method. Answers with `items`: for dpo `base_chosen`, `base_rejected`, `tuned_chosen` and
`tuned_rejected`, for kto `label`, `base` and `tuned`, all of them log-probabilities of whole answers in nats; for
reward `chosen` and `rejected`, the scores of the tuned model, since a base has no reward head. Besides, `device`,
`dtype` and `transformers`.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset, disable_progress_bars
from heldout import (
    IGNORED,
    Row,
    add_adapter,
    all_losses,
    batches,
    load_tokenizer,
    measured_with,
    models,
    padded,
    pick_device,
    progress,
)
from tiny_trainers import SEQUENCES, Sequence, Tiny
from transformers import AutoModelForSequenceClassification

NUMBER = "__row__"
"""A column that TRL does not know and therefore leaves in its place."""


def prepare(request: dict, tokenizer, scratch: Path) -> Dataset:
    """Return the held-out rows as TRL's trainer of the method prepares them; it leaves out what it cannot use."""
    lines = [json.loads(line) for line in Path(request["rows"]).read_bytes().splitlines()]
    rows = Dataset.from_list([line | {NUMBER: number} for number, line in enumerate(lines)])
    vocabulary = max(len(tokenizer), tokenizer.vocab_size)
    tiny = Tiny(request["method"], tokenizer, vocabulary, "all", scratch)
    return tiny.build(rows, max_length=request["max_length"]).train_dataset


def as_rows(prepared: Dataset, method: str, max_length: int) -> list[Row]:
    """Return one row for each answer, cut where training cut it; the answers to one prompt follow each other."""
    sequences = [sequence for row in prepared for sequence in SEQUENCES[method](row)]
    return [cut(number, sequence, max_length) for number, sequence in enumerate(sequences)]


def cut(number: int, sequence: Sequence, max_length: int) -> Row:
    """Return a sequence as the models see it."""
    labels = [token if learned else IGNORED for token, learned in zip(*sequence, strict=True)]
    return Row(number, sequence.ids[:max_length], labels[:max_length])


def log_probabilities(model, name: str, rows: list[Row], pad: int) -> list[float]:
    """Return the log-probability of each whole answer, in nats."""
    scored = [row for row in rows if row.trained]  # of the others the cut leaves nothing: they weigh 0 for every model
    losses = dict(
        zip((row.number for row in scored), all_losses(model, scored, pad, f"{name} model: held-out"), strict=True)
    )
    return [-losses.get(row.number, 0.0) * row.trained for row in rows]


def likelihoods(request: dict, prepared: Dataset, tokenizer) -> dict:
    """Return how likely both models find the answers of each row."""
    device, dtype = pick_device()
    rows = as_rows(prepared, request["method"], request["max_length"])
    found = {
        name: log_probabilities(model, name, rows, tokenizer.pad_token_id)
        for name, model in models(request, device, dtype)
    }
    if request["method"] == "kto":
        items = [
            {"row": row[NUMBER], "label": bool(row["label"])} | {name: values[n] for name, values in found.items()}
            for n, row in enumerate(prepared)
        ]
    else:
        items = [
            {"row": number}
            | {f"{name}_chosen": values[2 * n] for name, values in found.items()}
            | {f"{name}_rejected": values[2 * n + 1] for name, values in found.items()}
            for n, number in enumerate(prepared[NUMBER])
        ]
    return {"items": items, **measured_with(device, dtype)}


# --- reward models ----------------------------------------------------------------------------------------------------


def load_reward_model(request: dict, device: str, dtype: torch.dtype):
    """Load the tuned reward model: a whole one, or the base under its adapter, which brings the trained head."""
    whole = None if request["is_adapter"] else request["checkpoint"]
    model = AutoModelForSequenceClassification.from_pretrained(
        whole or request["base"], revision=None if whole else request["revision"], num_labels=1, dtype=dtype
    ).to(device)
    return model.eval() if whole else add_adapter(model, request["checkpoint"], dtype)


@torch.inference_mode()
def batch_scores(model, batch: list[Row], pad: int) -> dict[int, float]:
    """Return the score of each answer."""
    tokens = padded([row.tokens for row in batch], pad).to(model.device)
    attention = padded([[1] * len(row.tokens) for row in batch], 0).to(model.device)
    scores = model(input_ids=tokens, attention_mask=attention).logits.squeeze(-1)
    return {row.number: score for row, score in zip(batch, scores.float().tolist(), strict=True)}


def rankings(request: dict, prepared: Dataset, tokenizer) -> dict:
    """Return the scores of both answers of each pair."""
    device, dtype = pick_device()
    rows = as_rows(prepared, "reward", request["max_length"])
    model = load_reward_model(request, device, dtype)
    model.config.pad_token_id = tokenizer.pad_token_id  # by which it finds the last token of each row
    scores: dict[int, float] = {}
    for batch in batches(rows, 1):
        scores |= batch_scores(model, batch, tokenizer.pad_token_id)
        progress("reward model: held-out answers", len(scores), len(rows))
    items = [
        {"row": number, "chosen": scores[2 * n], "rejected": scores[2 * n + 1]}
        for n, number in enumerate(prepared[NUMBER])
    ]
    return {"items": items, **measured_with(device, dtype)}


def main(request: dict) -> dict:
    """Prepare the rows, and measure what the method trains."""
    disable_progress_bars()
    tokenizer = load_tokenizer(request)
    tokenizer.padding_side = "right"
    with tempfile.TemporaryDirectory() as scratch:
        prepared = prepare(request, tokenizer, Path(scratch))
    return (rankings if request["method"] == "reward" else likelihoods)(request, prepared, tokenizer)


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
