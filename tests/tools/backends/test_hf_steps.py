"""A step after the training as a job of its own: started once, paid once, believed by hash, taken up after a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ftagent.agent.approval import approve, words
from ftagent.tools import later_script, later_watch
from ftagent.tools.attach import find_or_attach
from ftagent.tools.backends import JobState, backend_of
from ftagent.tools.errors import ApprovalNeeded, BudgetExceeded, ToolError, UserError
from ftagent.tools.facts import Job, JobIntent, ModelRef, Quote
from ftagent.tools.jobs import cancel_job, make_quote, submit_job
from ftagent.tools.later import do_tasks, later_quote
from ftagent.tools.later_cost import part_of
from ftagent.tools.monitor import monitor_job
from ftagent.tools.run import Run, open_run, refold
from ftagent.tools.settings import Settings
from ftagent.tools.tasks import Task
from huggingface_hub import HfApi

from ...hub import LoopbackHub
from ...hub.faults import Action, Cut, Status
from .conftest import Remote
from .test_hf_jobs import PUSHES

CONFIG = Path(__file__).parents[2] / "configs" / "SmolLM2-135M"
LOOKS = """
import json, os, sys
from pathlib import Path
request = json.loads(Path(sys.argv[1]).read_text())
print("@progress " + json.dumps({"text": "half of it", "done": 1, "total": 2}), flush=True)
Path(request["left"], "beside.txt").write_text("left beside the answer")
found = {"weights": Path(request["model"], "adapter_model.safetensors").stat().st_size}
found |= {name: Path(request[name]).read_text() for name in ("rows", "extra")}
Path(sys.argv[2]).write_text(json.dumps(found))
"""
FAILS = "raise SystemExit(7)\n"
SLEEPS = "import time\ntime.sleep(60)\n"

Programs = Callable[[str], None]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Sets what stands in `looks.py`, a program like those of templates/."""
    source = later_script.source_of
    monkeypatch.setattr(later_watch, "POLL_S", 0.05)

    def put(text: str) -> None:
        monkeypatch.setattr(later_script, "source_of", lambda name: text if name == "looks.py" else source(name))

    put(LOOKS)
    return put


@pytest.fixture
def trained(hub: LoopbackHub, remote: Remote) -> Run:
    """A run whose training has ended and pushed, with an approval that covers an evaluation."""
    return make_trained(remote)


def make_trained(remote: Remote, **options: object) -> Run:
    run = remote(PUSHES, **options)
    assert run.spec is not None
    base = ModelRef(id="HuggingFaceTB/SmolLM2-135M", source="cache", path=str(CONFIG), revision="0" * 40)
    run = run.record(run.spec.model_copy(update={"model_ref": base, "targets": ("evaluate",)}))
    run = run.record(approve(run, make_quote(run), True))
    run = run.record(submit_job(run))
    return run.record(monitor_job(run))


def tasks(run: Run, *names: str) -> dict[str, Task]:
    extra = run.folder / "eval" / "extra.jsonl"
    extra.parent.mkdir(exist_ok=True)
    extra.write_text('{"text": "grüße \'\'\' \\\\"}\n', encoding="utf-8")
    request = {
        "model": str(run.folder / "checkpoint"),
        "rows": str(run.folder / "heldout.jsonl"),
        "extra": str(extra),
        "left": "ftagent-left:",
    }
    return {name: Task(program="looks.py", request=request) for name in names or ("first",)}


def later_jobs(hub: LoopbackHub) -> list[str]:
    return [job.stage for job in hub.jobs.all.values() if job.labels["ftagent-step"] == "evaluate"]


# --- one job ----------------------------------------------------------------------------------------------------------


def test_the_programs_answer_in_a_job_and_its_results_come_home(
    hub: LoopbackHub, trained: Run, program: Programs
) -> None:
    done = do_tasks(trained, "evaluate", tasks(trained, "first", "second"))
    assert later_jobs(hub) == ["COMPLETED"]
    said = {"weights": 8192, "rows": "{}\n", "extra": '{"text": "grüße \'\'\' \\\\"}\n'}
    assert done.answers == {"first": said, "second": said}
    assert done.left is not None and (done.left / "beside.txt").read_text() == "left beside the answer"
    step = done.run.later["evaluate"]
    assert step.job is not None and step.report is not None and step.intent is not None
    assert (step.job.id, step.report.health, step.job.log) == (done.job_id, "done", "evaluate-1.log")
    assert step.intent.flavor == "cpu-basic"
    assert done.run.job == trained.job
    assert refold(done.run.journal).later == done.run.later


def test_doing_it_again_starts_nothing(hub: LoopbackHub, trained: Run, program: Programs) -> None:
    first = do_tasks(trained, "evaluate", tasks(trained))
    again = do_tasks(open_run(first.run.folder), "evaluate", tasks(trained))
    assert (again.answers, later_jobs(hub)) == (first.answers, ["COMPLETED"])


def test_another_question_is_another_job(hub: LoopbackHub, trained: Run, program: Programs) -> None:
    first = do_tasks(trained, "evaluate", tasks(trained))
    second = do_tasks(first.run, "evaluate", tasks(trained, "other"))
    assert second.job_id != first.job_id
    assert set(second.answers) == {"other"}


@pytest.mark.parametrize("action", [Status(500), Cut()], ids=repr)
def test_whatever_happens_to_the_request_one_job_evaluates(
    hub: LoopbackHub, trained: Run, program: Programs, action: Action
) -> None:
    hub.faults.on("POST", "/api/jobs/tester", action, times=2)
    do_tasks(trained, "evaluate", tasks(trained))
    assert later_jobs(hub) == ["COMPLETED"]


KILLED = """
import os, signal, sys
from pathlib import Path
from ftagent.tools import later_script
from ftagent.tools.journal import Journal
from ftagent.tools.later import do_tasks
from ftagent.tools.run import open_run
from ftagent.tools.tasks import Task
source, (folder, kind, when, text, request) = later_script.source_of, sys.argv[1:]
later_script.source_of = lambda name: text if name == "looks.py" else source(name)
append = Journal.append
def dying(self, fact):
    is_it = type(fact).__name__ == kind
    if is_it and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    event = append(self, fact)
    if is_it:
        os.kill(os.getpid(), signal.SIGKILL)
    return event
Journal.append = dying
import json
do_tasks(open_run(Path(folder)), "evaluate", {"first": Task(program="looks.py", request=json.loads(request))})
"""


@pytest.mark.parametrize(("when", "kind"), [("after", "JobIntent"), ("before", "Job"), ("before", "JobReport")])
def test_a_kill_anywhere_leaves_one_job_for_the_step(
    hub: LoopbackHub, trained: Run, program: Programs, when: str, kind: str
) -> None:
    task = tasks(trained)["first"]
    trained.journal.release()
    command = [sys.executable, "-c", KILLED, str(trained.folder), kind, when, LOOKS, json.dumps(task.request)]
    environment = {**os.environ, **hub.environment(hub.tokens.jobs)}
    assert subprocess.run(command, env=environment, timeout=60).returncode == -9
    done = do_tasks(open_run(trained.folder), "evaluate", tasks(trained))
    assert later_jobs(hub) == ["COMPLETED"]
    assert done.answers["first"]["weights"] == 8192
    assert done.run.later["evaluate"].cost_usd == pytest.approx(0, abs=1e-4)


# --- results that are not believed ------------------------------------------------------------------------------------


def test_a_file_that_was_changed_after_the_job_is_refused(
    hub: LoopbackHub, trained: Run, program: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_of("hf-jobs")
    status = backend.status

    def tampering(run: Run, job: Job) -> JobState:
        state = status(run, job)
        if state.stage == "completed":
            (name,) = (name for name in hub.files("model", "tester/tuned") if name.endswith("first.json"))
            HfApi().upload_file(repo_id="tester/tuned", path_in_repo=name, path_or_fileobj=b'{"weights": 1}')
        return state

    monkeypatch.setattr(backend, "status", tampering)
    program(f"import time\ntime.sleep(1)\n{LOOKS}")  # the Hub counts whole seconds
    with pytest.raises(ToolError, match=r"first.json` is not what the job pushed"):
        do_tasks(trained, "evaluate", tasks(trained))
    assert not (trained.folder / "evaluate-job").exists()
    assert refold(trained.journal).later["evaluate"].cost_usd > 0


def test_a_program_that_fails_ends_the_job_and_says_where_to_look(
    hub: LoopbackHub, trained: Run, program: Programs
) -> None:
    program(FAILS)
    with pytest.raises(ToolError, match=r"the evaluation job tester/\w+ ended as failed: .*exit code: 7") as raised:
        do_tasks(trained, "evaluate", tasks(trained))
    assert "evaluate-1.log" in raised.value.hint
    assert later_jobs(hub) == ["ERROR"]
    again = refold(trained.journal)
    assert again.later["evaluate"].report is not None
    program(LOOKS)
    assert do_tasks(again, "evaluate", tasks(trained)).answers["first"]["weights"] == 8192


def test_after_a_job_that_was_killed_another_goes_on_from_what_was_pushed(
    hub: LoopbackHub, trained: Run, program: Programs
) -> None:
    once = trained.folder / "once"
    program(f"""
import os, sys, time
from pathlib import Path
if "second" in sys.argv[2] and not Path({str(once)!r}).exists():
    Path({str(once)!r}).touch()
    os.kill(os.getppid(), 9)
    time.sleep(9)
{LOOKS}""")
    done = do_tasks(trained, "evaluate", tasks(trained, "first", "second"))
    assert later_jobs(hub) == ["ERROR", "COMPLETED"]
    assert set(done.answers) == {"first", "second"}
    log = (trained.folder / "evaluate-2.log").read_text()
    assert "first.json was pushed by an earlier job" in log


def test_a_job_can_be_ended_by_the_person(hub: LoopbackHub, trained: Run, program: Programs) -> None:
    program(SLEEPS)
    trained.journal.release()
    command = [sys.executable, "-c", KILLED, str(trained.folder), "Job", "after", SLEEPS, json.dumps({})]
    subprocess.run(command, env={**os.environ, **hub.environment(hub.tokens.jobs)}, timeout=60)
    report = cancel_job(open_run(trained.folder))
    assert (report.purpose, report.stage) == ("evaluate", "cancelled")
    assert later_jobs(hub) == ["CANCELED"]


# --- money ------------------------------------------------------------------------------------------------------------


def test_the_training_s_quote_has_the_later_jobs_in_it(trained: Run) -> None:
    quote = make_quote(trained)
    (part,) = quote.parts
    alone = make_quote(
        trained.model_copy(update={"spec": trained.spec and trained.spec.model_copy(update={"targets": ()})})
    )
    assert quote.reserve_usd == pytest.approx(alone.reserve_usd + part.reserve_usd)
    assert quote.cost_usd.expected == pytest.approx(alone.cost_usd.expected + part.cost_usd.expected)
    assert "evaluation" in words(quote)
    assert later_quote(trained, "evaluate") is None


def test_what_the_approval_does_not_cover_is_asked_for(hub: LoopbackHub, trained: Run, program: Programs) -> None:
    assert trained.approval is not None
    bare = trained.approval.quote.model_copy(update={"parts": ()})
    run = trained.record(trained.approval.model_copy(update={"quote": bare}))
    with pytest.raises(ApprovalNeeded, match="the evaluation runs as a job on `cpu-basic`"):
        do_tasks(run, "evaluate", tasks(run))
    assert later_jobs(hub) == []
    quote = later_quote(run, "evaluate")
    assert isinstance(quote, Quote) and quote.purpose == "evaluate"
    run = run.record(approve(run, quote, lambda asked: asked.reserve_usd < 1))
    assert do_tasks(run, "evaluate", tasks(run)).run.approval == run.approval


def test_a_cap_that_is_reached_starts_nothing(hub: LoopbackHub, remote: Remote, program: Programs) -> None:
    run = make_trained(remote)
    run = run.record(run.settings.model_copy(update={"max_cost_usd": part_of(run, "evaluate").reserve_usd / 2}))
    with pytest.raises(BudgetExceeded):
        do_tasks(run, "evaluate", tasks(run))
    assert later_jobs(hub) == []


def test_after_too_little_memory_a_larger_flavor_is_quoted_and_after_too_little_time_more(
    hub: LoopbackHub, trained: Run, program: Programs
) -> None:
    program("raise MemoryError()\n")
    with pytest.raises(ToolError, match="memory was full"):
        do_tasks(trained, "evaluate", tasks(trained))
    run = refold(trained.journal)
    assert part_of(trained, "evaluate").flavor == "cpu-basic"
    assert part_of(run, "evaluate").flavor == "cpu-upgrade"
    assert later_quote(run, "evaluate") is not None
    report = run.later["evaluate"].report
    assert report is not None
    late = run.record(report.model_copy(update={"stage": "timed_out", "failure": None}))
    assert part_of(late, "evaluate").timeout_s == 2 * part_of(trained, "evaluate").timeout_s


def test_no_file_has_the_token(hub: LoopbackHub, trained: Run, program: Programs) -> None:
    done = do_tasks(trained, "evaluate", tasks(trained))
    token = hub.tokens.jobs.encode()
    assert [p for p in done.run.folder.rglob("*") if p.is_file() and token in p.read_bytes()] == []
    for name in hub.files("model", "tester/tuned"):
        assert token not in hub.read("model", "tester/tuned", name)


# --- another machine --------------------------------------------------------------------------------------------------


def test_a_job_s_id_alone_takes_the_run_up_on_another_machine(hub: LoopbackHub, remote: Remote, tmp_path: Path) -> None:
    run = remote(PUSHES)
    job = submit_job(run)
    elsewhere = tmp_path / "elsewhere"
    attached = find_or_attach(Settings(workdir=elsewhere), job.id.split("/")[1])
    assert attached.folder.is_relative_to(elsewhere)
    assert (attached.id, attached.job) == (run.id, job)
    report = monitor_job(attached)
    assert (report.health, report.step) == ("done", 5)
    assert (attached.folder / "checkpoint" / "adapter_model.safetensors").exists()
    assert attached.script is not None
    assert (attached.folder / attached.script.path).read_bytes() == (run.folder / "train.py").read_bytes()
    assert len(hub.jobs.all) == 1
    again = find_or_attach(Settings(workdir=elsewhere), job.id)
    assert again.folder == attached.folder


def test_the_id_of_a_later_job_brings_model_and_results_home(
    hub: LoopbackHub, trained: Run, program: Programs, tmp_path: Path
) -> None:
    done = do_tasks(trained, "evaluate", tasks(trained))
    assert done.job_id is not None
    elsewhere = find_or_attach(Settings(workdir=tmp_path / "elsewhere"), done.job_id)
    assert (elsewhere.folder / "checkpoint" / "adapter_model.safetensors").exists()
    again = do_tasks(elsewhere, "evaluate", tasks(elsewhere))
    assert (again.answers, later_jobs(hub)) == (done.answers, ["COMPLETED"])


def test_the_id_of_a_job_that_is_none_of_ours_is_refused(hub: LoopbackHub, tmp_path: Path) -> None:
    foreign = HfApi().run_job(image="any", command=["true"], namespace="tester")
    with pytest.raises(UserError, match="was not started by ftagent"):
        find_or_attach(Settings(workdir=tmp_path), foreign.id)
    with pytest.raises(UserError, match="no run match"):
        find_or_attach(Settings(workdir=tmp_path), "20260101")
    with pytest.raises(ToolError, match="refuses to read the job"):
        find_or_attach(Settings(workdir=tmp_path), "0" * 24)
    assert list(tmp_path.glob("training_reports/*")) == []


# --- lines that grow --------------------------------------------------------------------------------------------------


def test_lines_are_pushed_while_a_program_writes_them_and_taken_up_by_the_next_job(
    hub: LoopbackHub, trained: Run, program: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, once = later_script.source_of, tmp_path / "once"
    hasty = source("step.py").replace("PUSH_EVERY_S = 60.0", "PUSH_EVERY_S = 0.2")
    program(f"""
import json, os, sys, time
from pathlib import Path
request = json.loads(Path(sys.argv[1]).read_text())
file = Path(request["left"], "asked", "lines.jsonl")
file.parent.mkdir(exist_ok=True)
begun = file.read_text() if file.exists() else ""
file.write_text(begun + "[1]\\n")
if not Path({str(once)!r}).exists():
    Path({str(once)!r}).touch()
    while not Path({str(once)!r}).with_name("pushed").exists():
        time.sleep(0.05)
    os.kill(os.getppid(), 9)
    time.sleep(9)
Path(sys.argv[2]).write_text(json.dumps(begun))
""")
    looks = later_script.source_of
    monkeypatch.setattr(later_script, "source_of", lambda name: hasty if name == "step.py" else looks(name))
    look = backend_of("hf-jobs").status

    def looking(run: Run, job: Job) -> JobState:
        if any(name.endswith("lines.jsonl") for name in hub.files("model", "tester/tuned")):
            (tmp_path / "pushed").touch()
        return look(run, job)

    monkeypatch.setattr(backend_of("hf-jobs"), "status", looking)
    done = do_tasks(trained, "evaluate", tasks(trained))
    assert later_jobs(hub) == ["ERROR", "COMPLETED"]
    assert done.answers["first"] == "[1]\n"
    assert done.left is not None and (done.left / "asked" / "lines.jsonl").read_text() == "[1]\n[1]\n"


def test_an_input_that_was_changed_after_the_script_was_written_is_not_used(
    hub: LoopbackHub, trained: Run, program: Programs
) -> None:
    task = tasks(trained)["first"]
    sha256 = later_script.write_later_script(trained, "evaluate", {"first": task}, ())
    (trained.folder / "eval" / "extra.jsonl").write_text("{}\n", encoding="utf-8")
    intent = JobIntent(
        backend="hf-jobs", purpose="evaluate", label=trained.id, attempt=1, script_sha256=sha256, timeout_s=60
    )
    job = backend_of("hf-jobs").submit(trained, intent)
    hub.jobs.wait(job.id.split("/")[1])
    lines = [line.text for line in hub.jobs.all[job.id.split("/")[1]].lines]
    assert "ftagent/run/eval/extra.jsonl in tester/tuned is not what this job was written for" in lines[-1]
