"""Run tasks of lm-eval on one model: against an OpenAI-compatible server, or in this process where that cannot do it.

Reads `url` (null: there is no server yet), `model` (its folder), `is_chat`, `tasks`, `folder` (with tasks of one's own,
or null), `slots` and `max_length`. Answers with `samples` (`task`, `filter`, `doc`, `doc_hash`, `scores` by metric and
whether more is better), `versions` by task, `lm_eval`, its own version, `through`, what was asked, and `seconds`,
without imports. Tasks that generate are put to the server; without one they are left for later, and `through` is null.
Tasks that compare likelihoods need those of the prompt, which llama.cpp does not give: there the model is loaded by
transformers.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import lm_eval
import torch
from lm_eval.tasks import TaskManager
from openai_client import MODEL


def model_for(request: dict, tasks: TaskManager) -> tuple[str, dict]:
    """Return the name of lm-eval's client, and its arguments."""
    kinds = {task.OUTPUT_TYPE for task in tasks.load(request["tasks"])["tasks"].values()}
    if kinds != {"generate_until"}:
        return "hf", {"pretrained": request["model"], "max_length": request["max_length"], "dtype": "float32"}
    shared = {"model": MODEL, "num_concurrent": request["slots"], "max_length": request["max_length"]}
    if request["is_chat"]:
        return "local-chat-completions", shared | {"base_url": f"{request['url']}/v1/chat/completions"}
    text = {"base_url": f"{request['url']}/v1/completions", "tokenizer": request["model"], "tokenized_requests": False}
    return "local-completions", shared | text


def main(request: dict) -> dict:
    """Ask, and keep the numbers of each sample."""
    tasks = TaskManager(include_path=request["folder"])
    if unknown := [name for name in request["tasks"] if name not in tasks.all_tasks]:
        raise SystemExit(f"lm-eval knows no task {', '.join(unknown)}: `lm-eval ls tasks` lists those that it does")
    model, arguments = model_for(request, tasks)
    if model != "hf" and request["url"] is None:
        return {"through": None}
    started = time.monotonic()
    found = lm_eval.simple_evaluate(
        model=model,
        model_args=arguments,
        device="cuda" if torch.cuda.is_available() else "cpu",
        tasks=request["tasks"],
        task_manager=tasks,
        apply_chat_template=request["is_chat"],
        log_samples=True,
        bootstrap_iters=0,
    )
    return {
        "samples": [kept(task, sample, found) for task, listed in found["samples"].items() for sample in listed],
        "versions": {task: str(number) for task, number in found["versions"].items()},
        "lm_eval": version("lm_eval"),
        "through": model,
        "seconds": time.monotonic() - started,
    }


def kept(task: str, sample: dict, found: dict) -> dict:
    """Return what a comparison needs of a sample."""
    better = found["higher_is_better"][task]
    names = [name for name in sample["metrics"] if isinstance(sample.get(name), int | float)]
    return {
        "task": task,
        "filter": sample["filter"],
        "doc": sample["doc_id"],
        "doc_hash": sample["doc_hash"],
        "scores": {name: float(sample[name]) for name in names},
        "higher_is_better": {name: better.get(name) is not False for name in names},
    }


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
