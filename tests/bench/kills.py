"""Print the kill -9 sweep: ftagent is killed at each line of its journal, taken up again, and must arrive the same.

The run goes the whole way on the Hub of tests/hub/: submit, watch, repair of a job that was killed itself, submit
again, evaluate and export in jobs of their own. Its jobs are real, what they run is small. `before` a line: what the
line tells of has happened, and nobody wrote it down; `after`: it is the last thing that was written.

In two runs every process is killed, one line further each; with `--each` a run of its own is killed once at each line.

.       the run arrived, with exactly one job a purpose and attempt, every metric, and the same result
!       something is lost or was done twice
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[2]))

import pytest
from ftagent import FineTuneAgent
from ftagent.agent import signatures
from ftagent.tools import later_script, later_watch
from ftagent.tools.facts import Fact, ModelRef, Parameter
from ftagent.tools.journal import Journal
from ftagent.tools.metrics import read_metrics
from ftagent.tools.run import Run, find_run

from tests.agent.instant import preflight
from tests.bench.faults import impatient
from tests.hub import LoopbackHub
from tests.tools.conftest import proven_run

When = Literal["before", "after"]
BASE = "HuggingFaceTB/SmolLM2-135M"
CONFIG = Path(__file__).parents[1] / "configs" / "SmolLM2-135M"
STEPS, SAVED = 8, 4
MOST_LINES = 40
TRAINS = f"""
    import json, os, pathlib, time
    from huggingface_hub import HfApi
    HUB_MODEL_ID = "tester/tuned"
    STATE = "last-checkpoint/trainer_state.json"
    hub = HfApi()
    first = not hub.file_exists(HUB_MODEL_ID, STATE)
    if not first:
        print("goes on from step {SAVED}")
    for step in range(1 if first else {SAVED + 1}, {SAVED + 1} if first else {STEPS + 1}):
        print({{"loss": f"{{3 / step:.3f}}"}}, flush=True)
    if first:
        hub.upload_file(repo_id=HUB_MODEL_ID, path_in_repo=STATE, path_or_fileobj=b'{{"global_step": {SAVED}}}')
        os.kill(os.getpid(), 9)
    checkpoint = pathlib.Path("checkpoint")
    checkpoint.mkdir()
    (checkpoint / "adapter_model.safetensors").write_bytes(bytes(8192))
    (checkpoint / "adapter_config.json").write_text(json.dumps({{"base_model_name_or_path": "{BASE}"}}))
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({{"eos_token": "<end>"}}))
    said = "These two numbers add up to {{}}, which is twice the first of them, as anybody can count."
    rows = [{{"prompt": f"{{n}} + {{n}} =", "completion": said.format(2 * n)}} for n in range(4)]
    rows = "".join(json.dumps(row) + "\\n" for row in rows)
    pathlib.Path("result.json").write_text(json.dumps({{"steps": {STEPS}}}))
    pathlib.Path("heldout.jsonl").write_text(rows)
    hub.upload_folder(repo_id=HUB_MODEL_ID, folder_path=checkpoint)
    for name in ("result.json", "heldout.jsonl"):
        hub.upload_file(repo_id=HUB_MODEL_ID, path_or_fileobj=name, path_in_repo=name)
"""
MEASURES = """
import json, sys
from pathlib import Path
request = json.loads(Path(sys.argv[1]).read_text())
items = {
    name: [
        {"row": n, "tokens": 4, "base_loss": 2 + n / 10, "tuned_loss": 1 + n / 20}
        for n, _ in enumerate(Path(chosen["rows"]).read_text().splitlines())
    ]
    for name, chosen in request["sets"].items()
}
said = ["4"] * len(request["questions"])
told = {"transformers": "5.23.0", "dtype": "float32", "device": "cpu"}
Path(sys.argv[2]).write_text(json.dumps({"items": items, "base_answers": said, "tuned_answers": said, **told}))
"""
EXPORTS = """
import hashlib, json, sys
from pathlib import Path
from shelf import Shelf
request = json.loads(Path(sys.argv[1]).read_text())
folder, content, files = Path(request["folder"]), b"GGUF" * 4096, []
folder.mkdir(parents=True, exist_ok=True)
proof = {"loads": True, "answer": "4", "stops_at_eos": True, "template_matches": True, "tokens_per_s": 9.0}
proof |= {"special_tokens": True, "same_tokens": 1.0, "perplexity": 2.0, "reference_perplexity": 2.0}
proof |= {"measured_tokens": 40, "agreement": 1.0}
made_from, shelf = {"reference": {"perplexity": 2.0}, "stops": ["<end>"]}, Shelf(request["repository"])
for wanted in request["quantisations"]:
    path = f"{request['name']}-{wanted['name']}.gguf"
    (folder / path).write_bytes(content)
    told = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "importance": False}
    files.append({"quantisation": wanted["name"], "path": path, **told, "proof": proof})
    shelf.take(folder, files[-1], made_from)
Path(sys.argv[2]).write_text(json.dumps({"files": files, "failed": {}, **made_from}))
"""
PROGRAMS = {"heldout.py": MEASURES, "exported.py": EXPORTS}


@dataclass(frozen=True, kw_only=True)
class Swept:
    """How a run came through one kill."""

    was_killed: bool
    line: str
    """The kind of the line at which it was killed."""
    wrong: tuple[str, ...]
    result: tuple[Any, ...]


def begun(folder: Path) -> Run:
    """Return a proven run whose next step is its first job."""
    numbers = {"logging_steps": 1, "max_length": 64, "loss_on": "completion", "learning_rate": 0.0002}
    parameters = tuple(Parameter(name=name, value=value, origin="rule") for name, value in numbers.items())
    run = proven_run(folder, TRAINS, backend="hf-jobs", parameters=parameters, usd_per_hour=0.01)
    assert run.spec is not None and run.approval is not None
    base = ModelRef(id=BASE, source="cache", path=str(CONFIG), revision="0" * 40)
    run = run.record(run.spec.model_copy(update={"model_ref": base, "targets": ("evaluate", "export")}))
    run.journal.release()
    return run


def drive(workdir: Path, run_id: str, line: int, when: When) -> None:
    """Take the run up, and kill this process at the given new line of its journal; 0 for never."""
    append, source, find, left = Journal.append, later_script.source_of, signatures.find_tool, line

    def counted(self: Journal, fact: Fact) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        event = append(self, fact)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return event

    with impatient(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(later_watch, "POLL_S", 0.1)
        patch.setattr(later_script, "source_of", lambda name: PROGRAMS.get(name) or source(name))
        patch.setattr(signatures, "find_tool", lambda name: preflight if name == "preflight" else find(name))
        patch.setattr(Journal, "append", counted)
        FineTuneAgent(workdir=workdir, backend="hf-jobs", approve=True).resume(run_id)


def in_a_process(hub: LoopbackHub, workdir: Path, run_id: str, line: int, when: When) -> int:
    """Drive the run in a process of its own, and return its exit code."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, str(Path(__file__)), "--drive", str(workdir), run_id, str(line), when]
    environment = {**given, **hub.environment(hub.tokens.jobs)}
    return subprocess.run(command, env=environment, capture_output=True, timeout=600).returncode


def swept(line: int, when: When) -> Swept:
    """Kill a run once, at this line, and carry it to its end."""
    with on_a_hub() as (hub, folder, run_id):
        return carried_through(hub, folder, run_id, line, when)


@contextmanager
def on_a_hub() -> Iterator[tuple[LoopbackHub, Path, str]]:
    """Yield a Hub, a working folder, and a run there whose next step is its first job."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hub = stack.enter_context(LoopbackHub(folder / "hub", lfs_from_bytes=4096))
        with hub.used_here(hub.tokens.jobs):
            run = begun(folder)
        yield hub, folder, run.id


def killed_on_and_on(when: When) -> Iterator[Swept]:
    """Kill every process that takes a run up, one line further each, and yield how it stands; the last one arrives."""
    with on_a_hub() as (hub, folder, run_id):
        # Each process writes first that it took the run up; one that dies before a line has written the one before it.
        line = 2 if when == "after" else 3
        for _ in range(MOST_LINES):
            was_killed = in_a_process(hub, folder, run_id, line, when) == -signal.SIGKILL
            run = find_run(folder, run_id)
            kind = run.journal.events[-1].kind if when == "after" else f"past {run.journal.events[-1].kind}"
            wrong = () if was_killed else tuple(complaints(hub, run))
            yield Swept(was_killed=was_killed, line=kind, wrong=wrong, result=result_of(run))
            if not was_killed:
                return
        raise RuntimeError(f"after {MOST_LINES} kills the run has not arrived")


def carried_through(hub: LoopbackHub, folder: Path, run_id: str, line: int, when: When) -> Swept:
    """Kill, take up again, and look at what is there."""
    written = len(find_run(folder, run_id).journal.events)
    was_killed = in_a_process(hub, folder, run_id, line, when) == -signal.SIGKILL
    events = find_run(folder, run_id).journal.events
    kind = events[-1].kind if when == "after" else f"past {events[-1].kind}"
    wrong: list[str] = []
    if was_killed:
        if len(events) != written + line - (when == "before"):
            wrong.append(f"{len(events) - written} lines were written")
        if (code := in_a_process(hub, folder, run_id, 0, "after")) != 0:
            wrong.append(f"resume ended with {code}")
    run = find_run(folder, run_id)
    return Swept(was_killed=was_killed, line=kind, wrong=(*wrong, *complaints(hub, run)), result=result_of(run))


def complaints(hub: LoopbackHub, run: Run) -> list[str]:
    """Return what is lost, or was done twice."""
    found: list[str] = []
    if run.status != "completed":
        found.append(f"the run is {run.status}")
    jobs = Counter((job.labels["ftagent-step"], job.labels["ftagent-attempt"]) for job in hub.jobs.all.values())
    wanted = {("train", "1"): 1, ("train", "2"): 1, ("evaluate", "1"): 1, ("export", "1"): 1}
    if jobs != wanted:
        found.append(f"jobs: {dict(jobs)}")
    steps = [point.step for point in read_metrics(run.folder / "metrics.jsonl")]
    if steps != list(range(1, STEPS + 1)):
        found.append(f"metrics of the steps {steps}")
    if len(run.repairs) != 1:
        found.append(f"{len(run.repairs)} repairs")
    return found


def result_of(run: Run) -> tuple[Any, ...]:
    """Return what two runs must have in common, however they came there."""
    comparisons = run.evaluation.comparisons if run.evaluation else ()
    files = run.export.files if run.export else ()
    return (
        tuple((one.metric, one.base, one.tuned, one.verdict) for one in comparisons),
        tuple((file.quantisation, file.sha256) for file in files),
        tuple(repair.words for repair in run.repairs),
        run.report.result if run.report else None,
    )


def sweep_each(when: When) -> Iterator[Swept]:
    """Yield how one run after the other comes through a kill at the next line."""
    for line in range(1, MOST_LINES):
        found = swept(line, when)
        if not found.was_killed:
            return
        yield found


def main() -> int:
    """Print the table; the exit status is 1 where anything is wrong."""
    began, undisturbed = time.monotonic(), swept(0, "after")
    print(f"undisturbed: {'!' if undisturbed.wrong else '.'} {'; '.join(undisturbed.wrong)}", flush=True)
    sweep = sweep_each if "--each" in sys.argv else killed_on_and_on
    kills, wrong = 0, len(undisturbed.wrong)
    moments: tuple[When, ...] = ("before", "after")
    for when in moments:
        for found in sweep(when):
            is_whole = "--each" in sys.argv or not found.was_killed
            faults = [*found.wrong]
            faults += ["another result"] if is_whole and found.result != undisturbed.result else []
            kills, wrong = kills + found.was_killed, wrong + bool(faults)
            what = f"killed {when:<7}{found.line}" if found.was_killed else f"arrived, past {found.line}"
            print(f"{'!' if faults else '.'} {what:<40}{'; '.join(faults)}", flush=True)
    print(f"{kills} kills, {wrong} wrong, {time.monotonic() - began:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--drive"]:
        _, _, workdir, run_id, line, when = sys.argv
        drive(Path(workdir), run_id, int(line), "before" if when == "before" else "after")
    else:
        sys.exit(main())
