"""Stands in for the interpreter of a world: training and what follows it are played, all else really runs.

    understudy.py WORLD.json REAL_PYTHON SCRIPT ARGUMENTS…

A worker is a script that reads one JSON object and writes another (`tools/worker.py`), and a job is a script that
leaves files behind: so whoever answers in their form can take their place. Here that is preflight, the training
script, and the workers of evaluation and export. TRL's proof of the data really runs, once in a sweep for the same
rows, model and method: then its answer is remembered. The standard library alone: it starts in milliseconds.
"""

from __future__ import annotations

import ast
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Request = dict[str, Any]
World = dict[str, Any]
ROWS = 8
EFFECTS = {"better": -0.5, "worse": 0.5, "same": 0.0}
"""Added to the loss of each held-out row, in nats."""
EMPTY = (2).to_bytes(8, "little") + b"{}"
"""A file of weights in which there are none (github.com/huggingface/safetensors, "Format")."""
CONFIGS = ("config.json", "tokenizer.json", "tokenizer_config.json")


# --- workers ----------------------------------------------------------------------------------------------------------


def preflight(request: Request, world: World) -> Any:
    """Find what the world says."""
    del request
    name, _, found = world["preflight"].partition(": ")
    return {"checks": [{"name": name or "runs", "ok": not found, "detail": found or "played"}]}


def heldout(request: Request, world: World) -> Any:
    """Measure losses that moved as the world says; the same rows always have the same ones."""
    answers = ["Played."] * len(request["questions"])
    items = {name: _items(Path(rows["rows"]), world["effect"], name) for name, rows in request["sets"].items()}
    measured = {"device": "cpu", "dtype": "float32", "transformers": "played"}
    return {"items": items, "base_answers": answers, "tuned_answers": answers, **measured}


def _items(file: Path, effect: str, name: str) -> list[dict[str, Any]]:
    moved = EFFECTS[effect] if name == "held-out" else 0.0
    items = []
    for number, _ in enumerate(file.read_bytes().splitlines()):
        base = 2.0 + 0.1 * (number % 7)
        scatter = 0.01 * (-1) ** number * (1 + number % 3)
        items.append({"row": number, "tokens": 10, "base_loss": base, "tuned_loss": base + moved + scatter})
    return items


def merge(request: Request, world: World) -> Any:
    """Copy the base without its weights: all models of a world are one."""
    folder = Path(request["destination"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in CONFIGS:
        shutil.copy(Path(world["scratch"], "model", name), folder / name)
    return {"parameters": 1, "largest_weight": 1.0}


def convert(request: Request, world: World) -> Any:
    """Write a file with the chat template, which is all that is asked of it."""
    del world
    config = json.loads(Path(request["model"], "tokenizer_config.json").read_text(encoding="utf-8"))
    Path(request["out"]).write_text(config["chat_template"], encoding="utf-8")
    return {}


def exported(request: Request, world: World) -> Any:
    """Make every file that is asked for, each proven at once."""
    del world
    template = json.loads(Path(request["model"], "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    folder = Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    print(f"@progress {json.dumps({'stops': ['</s>']})}", flush=True)
    files = []
    for step in request["quantisations"]:
        gguf = folder / f"{request['name']}-{step['name']}.gguf"
        gguf.write_text(template, encoding="utf-8")
        files.append(
            {
                "quantisation": step["name"],
                "path": gguf.name,
                "size_bytes": gguf.stat().st_size,
                "sha256": hashlib.sha256(gguf.read_bytes()).hexdigest(),
                "importance": request["importance"],
                "proof": {"loads": True, "answer": "Played.", "stops_at_eos": True, "template_matches": True},
            }
        )
        print(f"@progress {json.dumps({'file': files[-1]})}", flush=True)
    reference = {"perplexity": 2.0, "count": 1, "largest_weight": 1.0, "dtype": "float16", "transformers": "played"}
    return {"files": files, "failed": {}, "reference": reference, "stops": ["</s>"]}


def serve(request: Request, answer: Path) -> None:
    """Answer every question in two words until standard input closes."""
    template = Path(request["gguf"]).read_text(encoding="utf-8")
    choice = {"message": {"content": "Played. Done."}, "finish_reason": "stop"}
    said = {
        "choices": [choice],
        "usage": {"completion_tokens": 3},
        "content": "Played.",
        "stop_type": "eos",
        "timings": {},
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({"chat_template": template, "status": "ok"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._reply(said)

        def _reply(self, body: Any) -> None:
            payload = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    part = answer.with_suffix(".part")
    part.write_text(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), encoding="utf-8")
    part.rename(answer)
    sys.stdin.read()


WORKERS: dict[str, Callable[[Request, World], Any]] = {
    "preflight.py": preflight,
    "heldout.py": heldout,
    "merge.py": merge,
    "convert.py": convert,
    "exported.py": exported,
}


# --- TRL's proof ------------------------------------------------------------------------------------------------------


def prove(request: Request, answer: Path, world: World, command: list[str]) -> int:
    """Answer as the real worker has for the same rows, model and method; let it run where nobody has asked yet."""
    known = Path(world["scratch"], "proofs", f"{_fingerprint(request)}.json")
    if not known.exists():
        done = subprocess.run(command, input=json.dumps(request), text=True, check=False)
        if done.returncode:
            return done.returncode
        known.parent.mkdir(exist_ok=True)
        part = known.with_suffix(f".{os.getpid()}")
        shutil.copy(answer, part)
        part.rename(known)
    shutil.copy(known, answer)
    return 0


def _fingerprint(request: Request) -> str:
    """Return a hash over all that a proof depends on, wherever it lies."""
    folders = [request[name] for name in ("train", "heldout", "model")]
    settled = {name: value for name, value in request.items() if value not in folders}
    digest = hashlib.sha256(json.dumps(settled, sort_keys=True).encode())
    for folder in folders:
        if folder is None or not Path(folder).is_dir():
            digest.update(repr(folder).encode())
            continue
        for file in sorted(Path(folder).glob("*")):
            if file.suffix == ".arrow" or file.name in CONFIGS:
                digest.update(file.read_bytes())
    return digest.hexdigest()


# --- jobs -------------------------------------------------------------------------------------------------------------


def train(script: Path, world: World, python: str) -> int:
    """Play the next job of the world, and return its exit code."""
    played = Path(world["folder"], "jobs-played")
    number = len(played.read_bytes()) if played.exists() else 0
    with played.open("ab") as file:
        file.write(b".")
    acts = world["jobs"]
    act = acts[number] if number < len(acts) else "trains"
    if act == "trains":
        return _trains(script, world, python)
    if act == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "writes nothing":
        return 0
    log = json.loads(Path(world["folder"], "corpus.json").read_text(encoding="utf-8"))[act.removeprefix("corpus ")]
    print("\n".join(log["lines"]), flush=True)
    return log["exit_code"] if log["exit_code"] is not None else 1


PUSH = """
import sys
from huggingface_hub import HfApi
repo_id = sys.argv[1]
HfApi().upload_folder(repo_id=repo_id, folder_path="checkpoint")
for name in ("result.json", "heldout.jsonl"):
    HfApi().upload_file(repo_id=repo_id, path_or_fileobj=name, path_in_repo=name)
"""


def _constant(name: str, script: Path) -> str | None:
    """Return a text among the constants of a training script."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    return None


def _trains(script: Path, world: World, python: str) -> int:
    """Leave behind what `tools/templates/base.py` leaves."""
    model = _constant("MODEL", script)
    assert model is not None
    losses = [3.0 - 0.2 * step for step in range(1, 11)]
    for loss in losses:
        print({"loss": f"{loss:.3f}", "grad_norm": "1.0", "learning_rate": "0.0002"}, flush=True)
    turns = [[{"role": r, "content": f"{r} {n}"} for r in ("user", "assistant")] for n in range(ROWS)]
    rows = "".join(json.dumps({"prompt": [turn[0]], "completion": [turn[1]]}) + "\n" for turn in turns)
    Path("heldout.jsonl").write_text(rows, encoding="utf-8")
    folder = Path("checkpoint")
    folder.mkdir(exist_ok=True)
    for name in CONFIGS:
        shutil.copy(Path(world["scratch"], "model", name), folder / name)
    if _constant("ADAPTER", script) == "full":
        (folder / "model.safetensors").write_bytes(EMPTY)
    else:
        (folder / "config.json").unlink(missing_ok=True)
        adapter = {"base_model_name_or_path": model, "revision": None}
        (folder / "adapter_config.json").write_text(json.dumps(adapter), encoding="utf-8")
        (folder / "adapter_model.safetensors").write_bytes(EMPTY)
    result = {
        "steps": len(losses),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "train_loss": losses[-1],
        "heldout_rows": ROWS,
        "heldout_sha256": "sha256:" + hashlib.sha256(rows.encode()).hexdigest(),
    }
    Path("result.json").write_text(json.dumps(result), encoding="utf-8")
    if repo_id := _constant("HUB_MODEL_ID", script):
        subprocess.run([python, "-c", PUSH, repo_id], check=True)
    return 0


def main(arguments: list[str]) -> int:
    """Play the script, or become the real interpreter of it."""
    world_file, python, *command = arguments
    script = Path(command[0]) if command else Path()
    world = json.loads(Path(world_file).read_text(encoding="utf-8"))
    if command and Path(command[-1]).name == "train.py":  # by itself, or behind `uv run`
        return train(Path(command[-1]), world, python)
    if script.name not in (*WORKERS, "serve.py", "prove.py"):
        os.execv(python, [python, *command])
    request, answer = json.loads(Path(command[1]).read_text(encoding="utf-8")), Path(command[2])
    if script.name == "prove.py":
        return prove(request, answer, world, [python, *command])
    if script.name == "serve.py":
        serve(request, answer)
    else:
        answer.write_text(json.dumps(WORKERS[script.name](request, world)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
