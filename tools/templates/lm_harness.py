"""Run tasks of lm-eval against an OpenAI-compatible server.

Reads `url`, `tokenizer` (a folder), `is_chat`, `tasks`, `folder` (with tasks of one's own, or null), `slots` and
`max_length`. Answers with `samples` (`task`, `filter`, `doc`, `doc_hash`, `scores` by metric and whether more is
better), `versions` by task and `lm_eval`, its own version. Chats go to `/v1/chat/completions`; tasks that need
likelihoods cannot be asked there, so that models with a template are asked for these as plain text.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import lm_eval
from lm_eval.tasks import TaskManager


def main(request: dict) -> dict:
    """Ask, and keep the numbers of each sample."""
    tasks = TaskManager(include_path=request["folder"])
    if unknown := [name for name in request["tasks"] if name not in tasks.all_tasks]:
        raise SystemExit(f"lm-eval knows no task {', '.join(unknown)}: `lm-eval ls tasks` lists those that it does")
    needs_likelihoods = any(kind != "generate_until" for kind in kinds(tasks, request["tasks"]))
    is_chat = request["is_chat"] and not needs_likelihoods
    arguments = {
        "model": "local",
        "base_url": request["url"] + ("/v1/chat/completions" if is_chat else "/v1/completions"),
        "num_concurrent": request["slots"],
        "max_length": request["max_length"],
        "tokenizer_backend": "huggingface" if not is_chat else "none",
        "tokenizer": request["tokenizer"],
        "tokenized_requests": False,
    }
    found = lm_eval.simple_evaluate(
        model="local-chat-completions" if is_chat else "local-completions",
        model_args=arguments,
        tasks=request["tasks"],
        task_manager=tasks,
        apply_chat_template=is_chat,
        log_samples=True,
        bootstrap_iters=0,
    )
    return {
        "samples": [kept(task, sample, found) for task, listed in found["samples"].items() for sample in listed],
        "versions": {task: str(number) for task, number in found["versions"].items()},
        "lm_eval": version("lm_eval"),
    }


def kinds(tasks: TaskManager, names: list[str]) -> list[str]:
    """Return the kind of request of each task, groups included."""
    found: list[str] = []
    stack = list(tasks.load(names)["tasks"].values()) if hasattr(tasks, "load") else []
    while stack:
        task = stack.pop()
        stack.extend(task.values()) if isinstance(task, dict) else found.append(task.OUTPUT_TYPE)
    return found


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
