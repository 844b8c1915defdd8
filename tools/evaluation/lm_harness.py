"""lm-eval (EleutherAI's harness) as a library: any task that it knows, on base and tuned model, paired by its samples.

Its own client asks the same llama.cpp server, or loads the model itself where likelihoods are compared. What a task
loads (datasets on the Hub, mostly) is lm-eval's affair.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ToolError
from ..facts import Comparison
from ..run import Run
from ..statistics import compare
from ..trained import Checkpoint
from ..worker import run_worker
from .models import QUANTISATION, SLOTS, Served, both, server
from .part import Part, with_file, write_items

TIMEOUT_S = 12 * 3600
CONTEXT = 4096


def run_lm_eval(run: Run, checkpoint: Checkpoint, tasks: Sequence[str], *, folder: Path | None = None) -> Part:
    """Put tasks of lm-eval to base and tuned model, and compare each metric sample by sample.

    Args:
        run: The run.
        checkpoint: Its tuned model.
        tasks: Names of lm-eval's tasks.
        folder: A folder with tasks of one's own, as lm-eval's `include_path`.

    Raises:
        ToolError: lm-eval is not installed, does not know a task, or cannot load its data.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ToolError(f"{', '.join(tasks)} need lm-eval.", hint="pip install 'ftagent[eval]'")
    found = {served.name: _measure(served, tasks, folder) for served in both(run, checkpoint)}
    return lm_eval_part(run, found, f"both models in {QUANTISATION} on llama.cpp ({server()})")


def lm_eval_part(run: Run, found: Mapping[str, Mapping[str, Any]], served: str) -> Part:
    """Compare what lm-eval found, by model, metric by metric and sample by sample.

    Args:
        run: The run.
        found: What `templates/lm_harness.py` answered for `base` and `tuned`.
        served: What served both models, for a report.
    """
    items = _paired(found["base"]["samples"], found["tuned"]["samples"])
    file = write_items(run, "lm-eval", items)
    versions = ", ".join(f"{task} {version}" for task, version in found["base"]["versions"].items())
    how = "both models by transformers in float32" if found["base"]["through"] == "hf" else served
    return Part(
        comparisons=with_file(_compare(items), file),
        harness=f"lm-eval {found['base']['lm_eval']} ({versions}), {how}",
        file=file,
    )


def _measure(served: Served, tasks: Sequence[str], folder: Path | None) -> dict[str, Any]:
    run = served.run
    with served.serve(context=CONTEXT) as url:
        request = {
            "url": url,
            "model": str(served.folder),
            "is_chat": served.chat_template is not None,
            "tasks": list(tasks),
            "folder": str(folder) if folder else None,
            "slots": SLOTS,
            "max_length": CONTEXT,
        }
        run.journal.tell("progress", step="evaluate", text=f"{served.name} model: lm-eval {', '.join(tasks)}")
        return run_worker(run.settings, "lm_harness.py", request, log=run.log("evaluate"), timeout_s=TIMEOUT_S)


def _paired(base: Sequence[Mapping[str, Any]], tuned: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one line for each sample and metric; samples are told apart by task, filter, document and its hash."""
    of_tuned = {_key(sample): sample for sample in tuned}
    return [
        dict(zip(("task", "filter", "doc", "doc_hash"), _key(sample), strict=True))
        | {"metric": metric, "higher_is_better": sample["higher_is_better"][metric]}
        | {"base": value, "tuned": of_tuned[_key(sample)]["scores"][metric]}
        for sample in base
        for metric, value in sample["scores"].items()
    ]


def _key(sample: Mapping[str, Any]) -> tuple[Any, ...]:
    return sample["task"], sample["filter"], sample["doc"], sample["doc_hash"]


def _compare(items: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    groups: dict[tuple[str, str, str, bool], list[Mapping[str, Any]]] = {}
    for item in items:
        groups.setdefault((item["task"], item["metric"], item["filter"], item["higher_is_better"]), []).append(item)
    return [
        compare(
            f"{task} {metric}" + (f" ({name})" if name != "none" else ""),
            [float(item["base"]) for item in group],
            [float(item["tuned"]) for item in group],
            higher_is_better=is_higher,
        )
        for (task, metric, name, is_higher), group in groups.items()
    ]
