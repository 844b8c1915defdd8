"""Measure one pushed checkpoint on held-out rows, in another program beside this one, and say what became of it.

Reads `program` (heldout.py or judged.py), `method`, `measure` (what else that program reads), `base` (a folder),
`base_id` (what a checkpoint may call it), `checkpoint`, `rows`, `tuned_only` and `timeout_s`. Answers with `own`, and
`base` unless `tuned_only`: each with `items`, a list of results by `row`, their `means`, and `device`, `dtype` and
`transformers`. Else with `broken`, why the checkpoint is none, or `passing`, what went wrong that says nothing of it.
"""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

SAME = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers")
"""What the configs of a base and of a model that was trained from it share."""
PASSING = re.compile(r"memory|No space left|Connection|Timeout|HTTP", re.IGNORECASE)
"""In the last line of a program that failed: another machine, or another day, may do it."""
WHY_CHARS = 300


def not_of(base: str, base_id: str, checkpoint: Path) -> str | None:
    """Return why a checkpoint is none of the base model, None where it is one."""
    adapter, whole = checkpoint / "adapter_config.json", checkpoint / "config.json"
    try:
        if adapter.exists():
            named = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
            return None if named in (base_id, base) else f"its adapter belongs to {named}, and not to {base_id}"
        if not whole.exists():
            return "it has neither adapter_config.json nor config.json"
        own, wanted = (json.loads(file.read_text(encoding="utf-8")) for file in (whole, Path(base, "config.json")))
    except ValueError as error:
        return f"its config is no JSON: {error}"
    other = [name for name in SAME if own.get(name) != wanted.get(name)]
    return f"it is another model than {base_id}: other {', '.join(other)}" if other else None


def asked_of(request: dict) -> dict:
    """Return what the measuring program is asked."""
    asked = {
        "base": request["base"],
        "revision": None,
        "checkpoint": request["checkpoint"],
        "is_adapter": Path(request["checkpoint"], "adapter_config.json").exists(),
        "tuned_only": request["tuned_only"],
    }
    rows = {"rows": request["rows"], **request["measure"]}
    if request["program"] == "heldout.py":
        return asked | {"sets": {"held-out": rows}, "questions": [], "max_new_tokens": 1}
    return asked | rows | {"method": request["method"]}


def run(request: dict, scratch: Path) -> dict:
    """Let the program measure, and return its answer, or what became of it."""
    asked, said = scratch.with_suffix(".asked"), scratch.with_suffix(".said")
    asked.write_text(json.dumps(asked_of(request)), encoding="utf-8")
    command = [sys.executable, str(Path(__file__).with_name(request["program"])), str(asked), str(said)]
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=request["timeout_s"], check=False)
    except subprocess.TimeoutExpired:
        return {"passing": f"it took more than {request['timeout_s']:.0f} s"}
    sys.stderr.write(done.stderr)
    if done.returncode < 0:
        return {"passing": f"its process was ended by signal {-done.returncode}"}
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        why = (lines or [f"exit code {done.returncode}"])[-1][:WHY_CHARS]
        return {"passing" if PASSING.search(why) else "broken": why}
    return json.loads(said.read_text(encoding="utf-8"))


def part(answer: dict, items: list[dict], without: str) -> dict:
    """Return one model's part of an answer: its items without the other's columns, and the mean of each column."""
    own = [{name: value for name, value in item.items() if not name.startswith(without)} for item in items]
    names = [name for name in own[0] if name != "row"]
    means = {name: sum(item[name] for item in own) / len(own) for name in names}
    return {"items": own, "means": means} | {name: answer[name] for name in ("device", "dtype", "transformers")}


def main(request: dict, scratch: Path) -> dict:
    """Look at the checkpoint, measure it, and look at the numbers."""
    if why := not_of(request["base"], request["base_id"], Path(request["checkpoint"])):
        return {"broken": why}
    answer = run(request, scratch)
    if "items" not in answer:
        return answer
    items = answer["items"]["held-out"] if isinstance(answer["items"], dict) else answer["items"]
    if not items:
        return {"broken": "no row has anything to predict"}
    if not all(math.isfinite(value) for item in items for value in item.values()):
        return {"broken": "a result is no number"}
    has_base = any(name.startswith("base") for name in items[0])
    return {"own": part(answer, items, "base")} | ({"base": part(answer, items, "tuned")} if has_base else {})


if __name__ == "__main__":
    answered = Path(sys.argv[2])
    found = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), answered)
    answered.write_text(json.dumps(found), encoding="utf-8")
