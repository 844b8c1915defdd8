"""Print the fault matrix: every fault on every call of a job's life, and how the run came through.

.       the run was done, as if nothing had happened
2       it stopped in a clear state, and was done after it was taken up again; the number of jobs that were started
!       something is lost, a job too many was started, or an error was none of ours: told below the table
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import pytest
from ftagent.tools import monitor
from ftagent.tools.backends import hf_client, hf_logs, hf_once, hf_results
from ftagent.tools.errors import FtagentError
from ftagent.tools.facts import Parameter, Resumed
from ftagent.tools.jobs import submit_job
from ftagent.tools.metrics import read_metrics
from ftagent.tools.monitor import monitor_job
from ftagent.tools.run import Run, refold

from tests.hub import LoopbackHub
from tests.hub.faults import Action, Before, Cut, Refuse, Slow, Status
from tests.tools.conftest import approve_again, proven_run

STEPS = 8
TRAINS = f"""
    import json, pathlib, time
    from huggingface_hub import HfApi
    HUB_MODEL_ID = "tester/tuned"
    for step in range(1, {STEPS + 1}):
        print({{"loss": f"{{3 / step:.3f}}"}}, flush=True)
        time.sleep(0.05)
    checkpoint = pathlib.Path("checkpoint")
    checkpoint.mkdir()
    (checkpoint / "adapter_model.safetensors").write_bytes(bytes(8192))
    pathlib.Path("result.json").write_text(json.dumps({{"steps": {STEPS}}}))
    HfApi().upload_folder(repo_id=HUB_MODEL_ID, folder_path=checkpoint)
    HfApi().upload_file(repo_id=HUB_MODEL_ID, path_or_fileobj="result.json", path_in_repo="result.json")
"""
ONE_JOB = "/api/jobs/tester/" + "?" * 24
CALLS = {
    "list jobs": ("GET", "/api/jobs/tester"),
    "create repository": ("POST", "/api/repos/create"),
    "check access": ("GET", "*/auth-check/write"),
    "start job": ("POST", "/api/jobs/tester"),
    "inspect job": ("GET", ONE_JOB),
    "log": ("GET", "/api/jobs/*/logs"),
    "model info": ("GET", "/api/models/tester/tuned"),
    "snapshot": ("GET", "/api/models/tester/tuned/revision/*"),
    "tree": ("GET", "/api/models/tester/tuned/tree/*"),
    "file head": ("HEAD", "/tester/tuned/resolve/*"),
    "file": ("GET", "/tester/tuned/resolve/*"),
    "in the job: preupload": ("POST", "*/preupload/main"),
    "in the job: LFS": ("PUT", "/lfs/*"),
    "in the job: commit": ("POST", "*/commit/main"),
}
FAULTS: dict[str, Action] = {
    **{str(code): Status(code) for code in (401, 402, 403, 404, 409, 500, 502)},
    "429": Status(429, retry_after_s=0.05),
    "refused": Refuse(),
    "lost": Cut(),
    "reset": Cut(after_bytes=40),
    "closed": Cut(after_bytes=40, by="close"),
    "slow": Slow(piece_bytes=200, pause_s=0.01),
}
UNREAL = {("create repository", "409")}
"""The real 409 has the URL of the repository in it, and `huggingface_hub` counts on that."""
TAKEN_UP = 4
"""Times that a run is taken up again at most."""


@dataclass
class Outcome:
    """How a run came through."""

    jobs: int = 0
    stops: list[str] = field(default_factory=list)
    """What it said whenever it stopped."""
    wrong: list[str] = field(default_factory=list)
    struck: int = 0
    """How often the fault has struck."""

    @property
    def cell(self) -> str:
        """What stands in the table."""
        return "!" if self.wrong else "-" if not self.struck else str(self.jobs) if self.stops else "."


def go_on(run: Run) -> Run:
    """Start the job, or go on following it, and record how it ended."""
    if run.job is None:
        job = submit_job(run)
        run = refold(run.journal).record(job)
    return run.record(monitor_job(run))


def carried_through(run: Run, hub: LoopbackHub) -> Outcome:
    """Take a run up again until it is done, as a person would, and look at what it left."""
    outcome = Outcome()
    for _ in range(1 + TAKEN_UP):
        try:
            run = go_on(run)
        except FtagentError as error:
            outcome.stops.append(str(error))
            run = refold(run.journal)
        except Exception as error:  # noqa: BLE001  whatever it is: the table says so
            outcome.wrong.append(f"{type(error).__name__}: {error}")
            return outcome
        if run.report is not None and run.report.health == "done":
            break
        if run.report is not None:
            outcome.stops.append(run.report.reason)
            run = approve_again(run.record(Resumed(script_sha256=None)))
    outcome.jobs = len(hub.jobs.all)
    outcome.wrong += complaints(run, outcome)
    return outcome


def complaints(run: Run, outcome: Outcome) -> Iterator[str]:
    """Yield what is lost, or too much."""
    if run.report is None or run.report.health != "done":
        yield f"not done: {outcome.stops[-1:]}"
        return
    if outcome.jobs != run.attempts:
        yield f"{outcome.jobs} jobs for {run.attempts} attempts"
    steps = [point.step for point in read_metrics(run.folder / "metrics.jsonl")]
    if steps != list(range(1, STEPS + 1)):
        yield f"metrics of the steps {steps}"
    if not (run.folder / "checkpoint" / "adapter_model.safetensors").exists():
        yield "no checkpoint"


def tried(call: str, action: Action | None, times: int) -> Outcome:
    """Return how a run comes through when this happens to this call."""
    with tempfile.TemporaryDirectory() as folder, LoopbackHub(Path(folder, "hub"), lfs_from_bytes=4096) as hub:
        method, path = CALLS[call]
        if action is not None:
            fault = hub.faults.on(method, path, action, times=times)
        else:
            lose = Before(act=lambda path: hub.jobs.vanish(path.rsplit("/", 1)[1]))
            fault = hub.faults.on(method, path, lose, nth=2)
        parameters = (Parameter(name="logging_steps", value=1, origin="rule"),)
        with hub.used_here(hub.tokens.jobs):
            run = proven_run(Path(folder), TRAINS, backend="hf-jobs", parameters=parameters)
            outcome = carried_through(run, hub)
    outcome.struck = fault.fired
    if action is None:
        outcome.jobs += 1  # the Hub has forgotten the one that it lost
        outcome.wrong = [wrong for wrong in outcome.wrong if "jobs for" not in wrong]
    return outcome


@contextmanager
def impatient() -> Iterator[None]:
    """Let whoever waits for the Hub do so a hundred times faster."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (hf_client, hf_once, hf_results):
            patch.setattr(module, "PAUSES_S", (0.01, 0.02, 0.04, 0.08))
        patch.setattr(hf_once, "LOOK_PAUSE_S", 0.02)
        patch.setattr(hf_logs, "RECONNECT_S", 0.05)
        patch.setattr(monitor, "POLL_S", 0.1)
        yield


def main() -> int:
    """Print the table; the exit status is 1 where anything is wrong."""
    began, outcomes = time.monotonic(), dict[tuple[str, str], Outcome]()
    with impatient():
        print(f"{'':<24}" + "".join(f"{name:>8}" for name in FAULTS))
        for call in CALLS:
            cells: list[str] = []
            for name, action in FAULTS.items():
                if (call, name) in UNREAL:
                    cells.append("")
                    continue
                outcomes[call, name] = tried(call, action, times=2)
                cells.append(outcomes[call, name].cell)
            print(f"{call:<24}" + "".join(f"{cell:>8}" for cell in cells), flush=True)
        outcomes["inspect job", "vanishes"] = tried("inspect job", None, times=1)
        print(f"a job that vanishes: {outcomes['inspect job', 'vanishes'].cell}")
    wrong = {where: outcome for where, outcome in outcomes.items() if outcome.wrong}
    for (call, name), outcome in wrong.items():
        print(f"{call}, {name}: {'; '.join(outcome.wrong)}")
    print(f"{len(outcomes)} runs, {len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
