from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from ftagent.tools.backends import JobState, backend_of
from ftagent.tools.backends.hf_jobs import HfJobsBackend
from ftagent.tools.backends.hf_logs import read_lines
from ftagent.tools.backends.hf_request import start_command
from ftagent.tools.backends.hf_states import state_of
from ftagent.tools.errors import ToolError, UserError
from ftagent.tools.facts import TERMINAL_STAGES, DatasetRef, Job, Parameter, Stage
from ftagent.tools.jobs import cancel_job, submit_job
from ftagent.tools.metrics import read_metrics
from ftagent.tools.monitor import monitor_job
from ftagent.tools.run import REPORTS, Run, find_run, open_run, refold
from huggingface_hub import HfApi, JobInfo

from ...hub import LoopbackHub
from ...hub.faults import Action, Before, Cut, Refuse, Slow, Status
from .conftest import Remote, intent_of

PUSHES = """
    import json, pathlib
    from huggingface_hub import HfApi
    HUB_MODEL_ID = "tester/tuned"
    for step in range(1, 6):
        print({"loss": f"{3 / step:.3f}", "learning_rate": "0.0002"}, flush=True)
    checkpoint = pathlib.Path("checkpoint")
    checkpoint.mkdir()
    (checkpoint / "adapter_model.safetensors").write_bytes(bytes(8192))
    (checkpoint / "adapter_config.json").write_text("{}")
    pathlib.Path("result.json").write_text(json.dumps({"steps": 5}))
    pathlib.Path("heldout.jsonl").write_text("{}\\n")
    HfApi().upload_folder(repo_id=HUB_MODEL_ID, folder_path=checkpoint)
    for name in ("result.json", "heldout.jsonl"):
        HfApi().upload_file(repo_id=HUB_MODEL_ID, path_or_fileobj=name, path_in_repo=name)
    print("done", flush=True)
"""
SLEEPS = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"
EVERY_STEP = (Parameter(name="logging_steps", value=1, origin="rule"),)


def start(run: Run, attempt: int = 1) -> Job:
    return HfJobsBackend().submit(run, intent_of(run, attempt))


def wait(run: Run, job: Job) -> JobState:
    backend, until = HfJobsBackend(), time.monotonic() + 30
    while (state := backend.status(run, job)).stage not in TERMINAL_STAGES:
        assert time.monotonic() < until
        time.sleep(0.05)
    return state


def followed(run: Run) -> Run:
    """Submit and follow to the end, as the toolbox does."""
    job = submit_job(run)
    run = refold(run.journal).record(job)
    return run.record(monitor_job(run))


# --- one job from its start to its end --------------------------------------------------------------------------------


def test_a_job_is_followed_to_its_end_and_its_results_come_home(hub: LoopbackHub, remote: Remote) -> None:
    run = followed(remote(PUSHES, usd_per_hour=0.01))
    assert run.job is not None and run.report is not None
    assert (run.report.stage, run.report.health, run.report.result) == ("completed", "done", {"steps": 5})
    assert (run.report.first_loss, run.report.last_loss, run.report.step) == (3.0, 0.6, 5)
    assert sorted(p.name for p in (run.folder / "checkpoint").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert (run.folder / "heldout.jsonl").read_text() == "{}\n"
    assert HfJobsBackend().log_tail(run, run.job, 1) == ["done"]
    assert run.job.url == f"{hub.endpoint}/jobs/{run.job.id}"
    assert hub.store.get("model", "tester/tuned").private


def test_the_costs_are_the_servers_seconds_at_the_quoted_price(hub: LoopbackHub, remote: Remote) -> None:
    run = followed(remote("import time; time.sleep(1.2)", usd_per_hour=3600.0))
    (job,) = hub.jobs.all.values()
    assert run.report is not None
    assert run.report.seconds == job.told()["durations"]["runningSecs"] >= 1
    assert run.report.cost_usd == run.report.seconds


def test_results_are_downloaded_once(hub: LoopbackHub, remote: Remote) -> None:
    run = followed(remote(PUSHES))
    downloads = len(hub.asked("GET", "/tester/tuned/resolve/"))
    assert monitor_job(run).health == "done"
    assert len(hub.asked("GET", "/tester/tuned/resolve/")) == downloads > 0


def test_another_machine_with_the_folder_alone_attaches_by_the_job_s_id(
    hub: LoopbackHub, remote: Remote, tmp_path: Path
) -> None:
    run = remote(PUSHES)
    job = submit_job(run)
    run = refold(run.journal).record(job)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(run.settings.workdir / REPORTS, elsewhere / REPORTS)
    attached = find_run(elsewhere, job.id.split("/")[1])
    assert attached.folder.is_relative_to(elsewhere)
    report = monitor_job(attached)
    assert (report.health, report.job_id, report.step) == ("done", job.id, 5)
    assert (attached.folder / "checkpoint" / "adapter_model.safetensors").exists()
    assert [p.step for p in read_metrics(attached.folder / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    assert len(hub.jobs.all) == 1


def test_the_next_job_goes_on_from_the_step_that_was_pushed(hub: LoopbackHub, remote: Remote) -> None:
    run, backend, api = remote(PUSHES), HfJobsBackend(), HfApi()
    assert backend.saved_step(run) == 0  # no repository yet
    api.create_repo("tester/tuned", private=True)
    assert backend.saved_step(run) == 0
    for step in (7, 14):
        state = json.dumps({"global_step": step}).encode()
        api.upload_file(
            repo_id="tester/tuned", path_or_fileobj=state, path_in_repo="last-checkpoint/trainer_state.json"
        )
        assert backend.saved_step(run) == step
    hub.faults.on("GET", "/tester/tuned/resolve/*", Status(502))
    assert backend.saved_step(run) == 14  # a Hub that stumbles is no Hub without a checkpoint


def test_a_script_that_pushed_nothing_has_not_trained(hub: LoopbackHub, remote: Remote) -> None:
    run = followed(remote('HUB_MODEL_ID = "tester/tuned"\nprint("done")'))
    assert run.report is not None
    assert (run.report.stage, run.report.reason) == (
        "failed",
        "the script ended without an error, but wrote no result.json",
    )


@pytest.mark.parametrize(
    ("script", "stage", "exit_code", "reason"),
    [
        ("raise SystemExit(7)", "failed", 7, "it failed: Job failed with exit code: 7"),
        ("import os; os.kill(os.getpid(), 9)", "failed", -9, "it failed: Job failed with exit code: 137"),
        ("import time; time.sleep(60)", "timed_out", None, "it ran longer than its limit: Job timeout"),
    ],
)
def test_an_end_is_told_with_its_reason(
    hub: LoopbackHub, remote: Remote, script: str, stage: Stage, exit_code: int | None, reason: str
) -> None:
    run = remote(script)
    job = HfJobsBackend().submit(run, intent_of(run, timeout_s=3))
    state = wait(run, job)
    assert (state.stage, state.exit_code, state.reason) == (stage, exit_code, reason)


def test_a_failure_shows_the_exception_of_the_log(hub: LoopbackHub, remote: Remote) -> None:
    run = followed(remote("raise KeyError('text')"))
    assert run.report is not None
    assert (run.report.health, run.report.reason) == ("failed", "KeyError: 'text'")


def test_a_loss_that_is_no_number_ends_the_job(hub: LoopbackHub, remote: Remote) -> None:
    run = followed(remote("import time\nprint({'loss': 'nan'}, flush=True)\ntime.sleep(60)", parameters=EVERY_STEP))
    assert run.report is not None
    assert (run.report.stage, run.report.health) == ("failed", "diverged")
    assert [job.stage for job in hub.jobs.all.values()] == ["CANCELED"]


def test_cancelling_ends_it_and_again_changes_nothing(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    run = run.record(intent_of(run)).record(start(run))
    assert cancel_job(run).stage == "cancelled"
    assert run.job is not None
    assert HfJobsBackend().cancel(run, run.job).stage == "cancelled"
    assert len(hub.asked("POST", f"/api/jobs/{run.job.id}/cancel")) == 1


@pytest.mark.parametrize(("stage", "started", "ours"), [("UPDATING", False, "queued"), ("PAUSED", True, "running")])
def test_a_stage_that_nobody_knows_yet_is_no_end(stage: str, started: bool, ours: Stage) -> None:
    started_at = "2026-01-01T00:00:00.000Z" if started else None
    info = JobInfo(
        id="1", owner={"id": "1", "name": "a", "type": "user"}, status={"stage": stage}, startedAt=started_at
    )
    assert state_of(info).stage == ours


def test_what_ended_before_it_was_cancelled_stays_as_it_ended(hub: LoopbackHub, remote: Remote) -> None:
    run = remote("raise SystemExit(7)")
    job = start(run)
    wait(run, job)
    assert HfJobsBackend().cancel(run, job).exit_code == 7


# --- exactly one ------------------------------------------------------------------------------------------------------


def test_submitting_again_finds_the_job(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    assert start(run) == start(run)
    assert len(hub.jobs.all) == 1


def test_another_process_finds_and_ends_the_job(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    run = run.record(intent_of(run)).record(start(run))
    run.journal.release()
    again = open_run(run.folder)
    assert again.job is not None and again.intent is not None
    assert HfJobsBackend().find(again, again.intent) == again.job
    assert HfJobsBackend().cancel(again, again.job).stage == "cancelled"


def test_the_next_attempt_is_another_job(hub: LoopbackHub, remote: Remote) -> None:
    run = remote("raise SystemExit(1)")
    wait(run, start(run))
    assert start(run, attempt=2).id != start(run).id
    assert len(hub.jobs.all) == 2


@pytest.mark.parametrize(
    "action", [Status(500), Status(502), Status(429, retry_after_s=0.01), Cut(), Refuse()], ids=repr
)
@pytest.mark.parametrize("times", [1, 3])
def test_whatever_happens_to_the_request_one_job_runs(
    hub: LoopbackHub, remote: Remote, action: Action, times: int
) -> None:
    hub.faults.on("POST", "/api/jobs/tester", action, times=times)
    run = remote("print('once')")
    assert wait(run, start(run)).stage == "completed"
    assert len(hub.jobs.all) == 1


def test_while_nobody_can_tell_whether_it_was_started_nothing_is(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    hub.faults.on("POST", "/api/jobs/tester", Cut())
    hub.faults.on("GET", "/api/jobs/tester", Status(500), nth=2, times=99)
    with pytest.raises(ToolError, match="may have been started"):
        start(run)
    hub.faults.clear()
    job = start(run)
    assert [f"tester/{job_id}" for job_id in hub.jobs.all] == [job.id]


def test_a_process_that_dies_with_the_request_under_way_leaves_one_job(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    hub.faults.on("POST", "/api/jobs/tester", Slow(piece_bytes=1, pause_s=1))
    code = f"""
from pathlib import Path
from ftagent.tools.jobs import submit_job
from ftagent.tools.run import open_run
submit_job(open_run(Path({str(run.folder)!r})))
"""
    run.journal.release()
    killed_when(lambda: hub.jobs.all, code, hub)
    again = open_run(run.folder)
    assert again.job is None
    job = submit_job(again)
    assert [f"tester/{job_id}" for job_id in hub.jobs.all] == [job.id]


def killed_when(condition: Callable[[], object], code: str, hub: LoopbackHub) -> None:
    """Run code as a process of its own, and kill it as soon as the condition holds."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = subprocess.Popen([sys.executable, "-c", code], env={**given, **hub.environment(hub.tokens.jobs)})
    while not condition():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()


def test_whoever_takes_over_after_a_kill_loses_and_repeats_no_line(hub: LoopbackHub, remote: Remote) -> None:
    script = """
        import time
        for step in range(1, 61):
            print({"loss": f"{3 / step:.3f}"}, flush=True)
            time.sleep(0.1)
    """
    run = remote(script, parameters=EVERY_STEP)
    run = refold(run.journal).record(submit_job(run))
    run.journal.release()
    code = f"""
from pathlib import Path
from ftagent.tools.metrics import read_metrics
from ftagent.tools.monitor import monitor_job
from ftagent.tools.run import open_run
monitor_job(open_run(Path({str(run.folder)!r})))
"""
    log = run.folder / "train-1.log"
    killed_when(lambda: log.exists() and len(read_lines(log)) > 5, code, hub)
    assert 5 < len(read_lines(log)) < 60
    report = monitor_job(open_run(run.folder))
    assert report.step == 60
    assert [line.text for line in read_lines(log)] == [f"{{'loss': '{3 / step:.3f}'}}" for step in range(1, 61)]
    assert [point.step for point in read_metrics(run.folder / "metrics.jsonl")] == list(range(1, 61))


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "says", "hint"),
    [
        (401, "does not accept the token", "hf auth login"),
        (402, "wants payment", "settings/billing"),
        (403, "the token may not start a job in `tester`", "job.write"),
    ],
)
def test_a_refusal_is_explained_and_nothing_else_is_tried(
    hub: LoopbackHub, remote: Remote, status: int, says: str, hint: str
) -> None:
    hub.faults.on("POST", "/api/jobs/tester", Status(status, "so it is"), times=99)
    with pytest.raises(UserError, match=says) as raised:
        start(remote(SLEEPS))
    assert "so it is." in raised.value.message
    assert hint in raised.value.hint
    assert "\n" not in str(raised.value)
    assert len(hub.asked("POST", "/api/jobs/tester")) == 1


def test_a_token_that_may_not_write_is_refused_before_anything_is_paid(hub: LoopbackHub, remote: Remote) -> None:
    hub.add_repo("model", "other/tuned", {})
    with pytest.raises(UserError, match="may not"):
        start(remote(PUSHES.replace("tester/", "other/")))
    with hub.used_here(hub.tokens.no_jobs), pytest.raises(UserError, match="may not list the jobs of `tester`"):
        start(remote(PUSHES))
    assert hub.asked("POST", "/api/jobs/") == []


def test_without_a_token_nothing_is_asked(hub: LoopbackHub, remote: Remote) -> None:
    before = len(hub.requests)
    # A patch of its own: the test's is undone after the Hub is gone, and would bring its token back.
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="no Hub token"):
        patch.delenv("HF_TOKEN")
        start(remote(SLEEPS))
    assert len(hub.requests) == before


def test_a_flavor_that_the_hub_does_not_have_is_the_planners_to_mend(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    assert run.hardware is not None
    run = run.record(run.hardware.model_copy(update={"flavor": "h100"}))
    with pytest.raises(ToolError, match="Invalid flavor: h100"):
        start(run)


def test_data_on_this_machine_is_refused_before_anything_is_asked(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    data = DatasetRef(id="rows.jsonl", source="file", revision="sha256:0", loader={})
    assert run.spec is not None
    run = run.record(run.spec.model_copy(update={"dataset_ref": data}))
    with pytest.raises(UserError, match=r"the dataset `rows.jsonl` lies on this machine"):
        start(run)


# --- what travels -----------------------------------------------------------------------------------------------------


def test_the_token_is_a_secret_and_nothing_that_is_written_has_it(
    hub: LoopbackHub, remote: Remote, capfd: pytest.CaptureFixture[str]
) -> None:
    run = followed(remote("import os; print('careless', os.environ['HF_TOKEN'])\n" + textwrap.dedent(PUSHES)))
    token = hub.tokens.jobs
    assert run.job is not None
    assert HfJobsBackend().log_tail(run, run.job, 9)[0] == "careless [Hugging Face token]"
    (job,) = hub.jobs.all.values()
    assert job.spec["secrets"] == {"HF_TOKEN": token}
    assert token not in str({k: v for k, v in job.spec.items() if k != "secrets"})
    assert [path for path in run.folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()] == []
    assert token not in "".join(capfd.readouterr())


def test_the_script_that_runs_is_byte_by_byte_the_one_that_was_proven(hub: LoopbackHub, remote: Remote) -> None:
    run = remote("import hashlib; print(hashlib.sha256(open(__file__, 'rb').read()).hexdigest())  # 'grüße' \"$HOME\"")
    job = start(run)
    wait(run, job)
    assert run.script is not None
    assert [line.text for line in hub.jobs.all[job.id.split("/")[1]].lines] == [run.script.sha256]


@pytest.mark.parametrize("sharded", [True, False])
def test_several_gpus_get_a_process_each_and_the_packages_that_the_header_names(remote: Remote, sharded: bool) -> None:
    hardware = remote("").hardware
    assert hardware is not None
    hardware = hardware.model_copy(update={"gpus": 4, "sharded": sharded})
    words = shlex.split(start_command(hardware, ("trl==1.16.0", "torch==2.13.0")))
    assert words[:4] == ["uv", "run", "--no-project", "--python"]
    assert words[5:9] == ["--with", "trl==1.16.0", "--with", "torch==2.13.0"]
    launch = words[words.index("accelerate.commands.launch") + 1 :]
    given = launch_command_parser().parse_args(launch)
    assert (given.training_script, given.num_processes, given.use_fsdp) == ("train.py", 4, sharded)


def test_a_script_that_cannot_travel_is_refused(hub: LoopbackHub, remote: Remote) -> None:
    random.seed(0)
    with pytest.raises(ToolError, match="bytes when packed"):
        start(remote(f"LEFT_OUT = {[random.randrange(10**9) for _ in range(40_000)]}"))


# --- a broken network -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Status(500), Status(503), Refuse(), Cut(), Cut(after_bytes=20)], ids=repr)
def test_a_job_is_not_given_up_while_the_hub_cannot_be_reached(
    hub: LoopbackHub, remote: Remote, action: Action
) -> None:
    run, backend = remote(SLEEPS), backend_of("hf-jobs")
    job = start(run)
    while (before := backend.status(run, job)).stage != "running":
        time.sleep(0.02)
    hub.faults.on("GET", f"/api/jobs/{job.id}", action, times=3)
    for _ in range(3):
        state = backend.status(run, job)
        assert (state.stage, state.started_at) == ("running", before.started_at)
        assert "the Hub does not answer" in state.reason
    assert backend.status(run, job).reason == ""


@pytest.mark.parametrize("by", ["end", "close", "reset"])
def test_no_line_is_lost_or_repeated_when_the_log_stream_breaks(hub: LoopbackHub, remote: Remote, by: str) -> None:
    for nth, after in enumerate((150, 400, 200, 650, 300), start=1):
        hub.faults.on("GET", "/api/jobs/*/logs", Cut(after_bytes=after, by=by), nth=nth)  # type: ignore[arg-type]
    script = """
        import time
        for step in range(1, 31):
            print({"loss": f"{3 / step:.3f}"}, flush=True)
            time.sleep(0.05)
    """
    run = followed(remote(script, parameters=EVERY_STEP))
    assert run.job is not None
    log = [f"{{'loss': '{3 / step:.3f}'}}" for step in range(1, 31)]
    assert HfJobsBackend().log_tail(run, run.job, 99) == log
    assert run.report is not None and run.report.step == 30


@pytest.mark.parametrize(
    "action", [Cut(after_bytes=1000), Cut(after_bytes=1000, by="close"), Status(500), Status(503), Refuse()], ids=repr
)
def test_results_come_home_over_a_broken_connection(hub: LoopbackHub, remote: Remote, action: Action) -> None:
    hub.faults.on("GET", "/tester/tuned/resolve/*", action, times=2)
    run = followed(remote(PUSHES))
    assert run.report is not None and run.report.health == "done"
    assert (run.folder / "checkpoint" / "adapter_model.safetensors").read_bytes() == bytes(8192)


def test_a_job_that_vanished_is_a_failure_with_what_it_had_taken(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    job = submit_job(run)
    run = refold(run.journal).record(job)
    lose = Before(act=lambda _: hub.jobs.vanish(job.id.split("/")[1]))
    hub.faults.on("GET", f"/api/jobs/{job.id}", lose, nth=3)
    report = monitor_job(run)
    assert (report.stage, report.health) == ("failed", "failed")
    assert "the Hub does not know this job any more" in report.reason


def test_a_page_that_is_missing_for_once_does_not_make_a_job_lost(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    job = start(run)
    hub.faults.on("GET", f"/api/jobs/{job.id}", Status(404))
    assert HfJobsBackend().status(run, job).stage in ("queued", "running")


def test_a_token_that_was_revoked_is_the_persons_to_mend_and_the_job_goes_on(hub: LoopbackHub, remote: Remote) -> None:
    run = remote(SLEEPS)
    job = start(run)
    hub.people.revoke(hub.tokens.jobs)
    with pytest.raises(UserError, match="does not accept the token"):
        HfJobsBackend().status(run, job)
    with hub.used_here(hub.tokens.write):
        assert HfJobsBackend().status(run, job).stage in ("queued", "running")
