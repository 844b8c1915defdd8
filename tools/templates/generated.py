"""Measure what generating methods train: rewards of greedy completions, or the loss on a teacher's answers.

Reads what `heldout.py` reads, without its questions, and `method` (grpo, rloo or distillation),
`max_completion_length`, `script` (the `train.py` whose list `rewards` judges) and `teacher` (a model and its revision,
or null). Answers with `items`: for grpo and rloo `base_reward` and `tuned_reward`, summed over the rewards as in
training, with both answers; for distillation `tokens`, `base_loss` and `tuned_loss` (nats a token of the teacher's
greedy answer). Rows that every reward leaves out are left out. Besides, `device`, `dtype` and `transformers`.
"""

import asyncio
import inspect
import json
import runpy
import sys
from pathlib import Path

from heldout import (
    IGNORED,
    Row,
    all_losses,
    answers,
    load,
    load_tokenizer,
    measured_with,
    models,
    pick_device,
    progress,
)
from tiny_trainers import prompt_sequence

BATCH = 16


def complete(model, name: str, prompts: list, tokenizer, max_new_tokens: int) -> list[str]:
    """Return the greedy completion of each prompt; prompts of like length share a batch."""
    order = sorted(range(len(prompts)), key=lambda number: len(str(prompts[number])))
    found: dict[int, str] = {}
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        found |= zip(part, answers(model, tokenizer, [prompts[n] for n in part], max_new_tokens), strict=True)
        progress(f"{name} model: held-out prompts", len(found), len(prompts))
    return [found[number] for number in range(len(prompts))]


# --- rewards ----------------------------------------------------------------------------------------------------------


def rewards_of(script: str) -> list:
    """Return the reward functions of a training script, which trains only where it is the main module."""
    return runpy.run_path(script, run_name="evaluated")["rewards"]


def score(rewards: list, rows: list[dict], said: list[str], tokenizer) -> list[float | None]:
    """Return the sum of the rewards of each completion, as TRL hands it to them; None where every one is None."""
    is_chat = isinstance(rows[0]["prompt"], list)
    completions = [[{"role": "assistant", "content": text}] for text in said] if is_chat else said
    columns = {name: [row.get(name) for row in rows] for name in rows[0] if name not in ("prompt", "completion")}
    given = {
        "prompts": [row["prompt"] for row in rows],
        "completions": completions,
        "completion_ids": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in said],
        "trainer_state": None,
        "log_extra": lambda *_: None,
        "log_metric": lambda *_: None,
    }
    scores = [resolved(reward(**given, **columns)) for reward in rewards]
    return [sum_of(values) for values in zip(*scores, strict=True)]


def resolved(values):
    """Return what a reward gives, which may be a coroutine."""
    return asyncio.run(values) if inspect.iscoroutine(values) else values


def sum_of(values: tuple[float | None, ...]) -> float | None:
    """Return the sum of those rewards that say something."""
    known = [float(value) for value in values if value is not None]
    return sum(known) if known else None


def rewarded(request: dict, rows: list[dict], tokenizer) -> dict:
    """Return what both models' completions earn."""
    device, dtype = pick_device()
    rewards, prompts = rewards_of(request["script"]), [row["prompt"] for row in rows]
    said, earned = {}, {}
    for name, model in models(request, device, dtype):
        said[name] = complete(model, name, prompts, tokenizer, request["max_completion_length"])
        earned[name] = score(rewards, rows, said[name], tokenizer)
    items = [
        {"row": number}
        | {f"{name}_reward": earned[name][number] for name in earned}
        | {f"{name}_answer": said[name][number] for name in said}
        for number in range(len(rows))
        if None not in (earned["base"][number], earned["tuned"][number])
    ]
    return {"items": items, **measured_with(device, dtype)}


# --- a teacher --------------------------------------------------------------------------------------------------------


def taught(request: dict, rows: list[dict], tokenizer) -> dict:
    """Return the loss of both models on what the teacher answers."""
    device, dtype = pick_device()
    prompts, (name, revision) = [row["prompt"] for row in rows], request["teacher"]
    teacher = load(name, revision, device, dtype)
    said = complete(teacher, "teacher", prompts, tokenizer, request["max_completion_length"])
    del teacher  # two may not fit
    asked = [answered(n, prompt, text, tokenizer) for n, (prompt, text) in enumerate(zip(prompts, said, strict=True))]
    losses = {
        name: all_losses(m, asked, tokenizer.pad_token_id, f"{name} model: teacher's")
        for name, m in models(request, device, dtype)
    }
    items = [
        {
            "row": row.number,
            "tokens": row.trained,
            "base_loss": losses["base"][n],
            "tuned_loss": losses["tuned"][n],
            "teacher_answer": said[n],
        }
        for n, row in enumerate(asked)
    ]
    return {"items": items, **measured_with(device, dtype)}


def answered(number: int, prompt, text: str, tokenizer) -> Row:
    """Return a prompt with the teacher's answer and its end, of which the answer carries loss."""
    asked = prompt_sequence(tokenizer, prompt).ids
    said = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return Row(number, asked + said, [IGNORED] * len(asked) + said)


def main(request: dict) -> dict:
    """Read the prompts, and measure what the method trains."""
    rows = [json.loads(line) for line in Path(request["rows"]).read_bytes().splitlines()]
    tokenizer = load_tokenizer(request)
    return (taught if request["method"] == "distillation" else rewarded)(request, rows, tokenizer)


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
