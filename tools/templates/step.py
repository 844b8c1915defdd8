# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate==1.15.0",
#     "datasets==5.2.0",
#     "huggingface-hub==1.33.0",
#     "peft==0.21.2",
#     "torch==2.13.0",
#     "transformers==5.23.0",
#     "trl==1.16.0",
# ]
# ///
"""A step after a training, as a job of its own: programs that stand in this file, on the model that was pushed.

    uv run evaluate.py

It downloads the model at its revision, hands each program its request as a JSON file, and pushes every answer, with
what else the program left in the folder for it, as soon as it is there; files of lines once a minute while they grow.
`manifest.json` comes last, with the hash of each file. Started again, it goes on from what was pushed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import HfApi, snapshot_download

# --- what this step is: ftagent writes these values -------------------------------------------------------------------

REPOSITORY = "tester/tuned"
REVISION = "main"
STEP = "ftagent/evaluate-000000000000"
WORK = [{"program": "heldout.py", "answer": "heldout.json", "request": {}}]
INPUTS = {"eval/general_rows.jsonl": "0" * 64}

# <functions>
PROGRAMS = {"heldout.py": ""}
# </functions>

MODEL, GIVEN, LEFT, WORK_ROOM = "ftagent-model:", "ftagent-input:", "ftagent-left:", "ftagent-work:"
"""What a path in a request begins with: the downloaded model, an input of the run's record on the Hub, what is to be
pushed, and what is not."""
RECORD = "ftagent/run"
PUSH_EVERY_S = 60.0
"""A job that is taken away loses no more than the answers of so many seconds."""


def placed(value: Any, places: dict[str, Path]) -> Any:
    """Return a request with the paths of this machine in it."""
    match value:
        case dict():
            return {name: placed(item, places) for name, item in value.items()}
        case list():
            return [placed(item, places) for item in value]
        case str():
            begins = next((mark for mark in places if value.startswith(mark)), None)
            return str(places[begins] / value.removeprefix(begins)) if begins else value
        case _:
            return value


def write_all(folder: Path, texts: dict[str, str]) -> None:
    """Write texts as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def fetch_inputs(folder: Path) -> Path:
    """Download the inputs, each with the hash that was promised, and return where they lie."""
    wanted = [f"{RECORD}/{name}" for name in INPUTS]
    if wanted:
        snapshot_download(REPOSITORY, allow_patterns=wanted, local_dir=folder)
    for name, promised in INPUTS.items():
        if hashlib.sha256((folder / RECORD / name).read_bytes()).hexdigest() != promised:
            sys.exit(f"{RECORD}/{name} in {REPOSITORY} is not what this job was written for")
    return folder / RECORD


def run_program(hub: HfApi, work: dict[str, Any], programs: Path, places: dict[str, Path]) -> None:
    """Let one program answer its request, and push its lines while it does; what it prints is this job's log."""
    answer, draft = places[LEFT] / work["answer"], programs / f"{work['answer']}.draft"
    if answer.exists():
        print(f"{work['answer']} was pushed by an earlier job", flush=True)
        return
    request = programs / f"{work['answer']}.request"
    request.write_text(json.dumps(placed(work["request"], places)), encoding="utf-8")
    process = subprocess.Popen([sys.executable, programs / work["program"], request, draft])
    while (code := waited(process)) is None:
        push_lines(hub, places[LEFT])
    if code:
        push_lines(hub, places[LEFT])
        sys.exit(code if code > 0 else 128 - code)
    draft.replace(answer)


def waited(process: subprocess.Popen) -> int | None:
    """Return how a process ended, None where it runs on after a while."""
    try:
        return process.wait(PUSH_EVERY_S)
    except subprocess.TimeoutExpired:
        return None


def push_lines(hub: HfApi, folder: Path) -> None:
    """Push the files of lines as they are; a Hub that cannot be reached is no reason to stop, since they stay here.

    A file that grows while it is sent would not have the hash that was announced: copies are sent.
    """
    if not (files := list(folder.rglob("*.jsonl"))):
        return
    with tempfile.TemporaryDirectory() as still:
        for file in files:
            copy = Path(still, file.relative_to(folder))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        try:
            push(hub, Path(still), "lines so far")
        except (httpx.HTTPError, OSError) as error:
            print(f"the lines so far were not pushed: {error}", flush=True)


def push(hub: HfApi, folder: Path, text: str) -> None:
    """Push what is there and was not pushed yet; what is hidden is a program's own."""
    hidden = [".*", "*/.*"]
    hub.upload_folder(
        repo_id=REPOSITORY, folder_path=folder, path_in_repo=STEP, commit_message=text, ignore_patterns=hidden
    )


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return what there is, with the hash of each file, and who made it."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {
        "job": os.environ.get("JOB_ID"),
        "step": STEP,
        "revision": REVISION,
        "files": {
            file.relative_to(folder).as_posix(): {
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "bytes": file.stat().st_size,
            }
            for file in files
            if file.name != "manifest.json" and not any(p.startswith(".") for p in file.relative_to(folder).parts)
        },
    }


def main(home: Path) -> None:
    """Download, run, push."""
    hub = HfApi()
    not_wanted = ["last-checkpoint/*", "ftagent/*"]
    model = Path(snapshot_download(REPOSITORY, revision=REVISION, ignore_patterns=not_wanted))
    earlier = Path(snapshot_download(REPOSITORY, allow_patterns=[f"{STEP}/*"], local_dir=home / "earlier"))
    left = earlier / STEP
    left.mkdir(parents=True, exist_ok=True)
    write_all(home / "programs", PROGRAMS)
    places = {MODEL: model, GIVEN: fetch_inputs(home / "inputs"), LEFT: left, WORK_ROOM: home / "work"}
    for work in WORK:
        run_program(hub, work, home / "programs", places)
        push(hub, left, work["answer"])
    text = json.dumps(manifest_of(left), indent=2, sort_keys=True)
    (left / "manifest.json").write_text(text, encoding="utf-8")
    push(hub, left, "manifest.json")
    print(f"pushed {STEP}, manifest sha256 {hashlib.sha256(text.encode()).hexdigest()}", flush=True)


if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
