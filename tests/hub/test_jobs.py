from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, JobNotFoundError

from .conftest import Client
from .cron import parse
from .errors import HubError
from .server import LoopbackHub


@pytest.fixture
def api(hub: LoopbackHub) -> Iterator[HfApi]:
    with hub.used_here(hub.tokens.jobs) as client:
        yield client


def run(api: HfApi, code: str, **options: object) -> str:
    return api.run_job(image="any", command=["python", "-u", "-c", code], namespace="tester", **options).id  # type: ignore[arg-type]


def lines(hub: LoopbackHub, job_id: str) -> list[str]:
    return [line.text for line in hub.jobs.wait(job_id).lines]


def test_a_job_sees_what_it_was_given_and_nothing_else(
    hub: LoopbackHub, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_SERVER", "1")
    code = "import os; print(os.environ['A'], os.environ['S'], 'OF_THE_SERVER' in os.environ, os.environ['JOB_ID'])"
    job_id = run(api, code, env={"A": "1"}, secrets={"S": "hush"})
    assert lines(hub, job_id) == [f"1 hush False {job_id}"]
    told = hub.jobs.all[job_id].told()
    assert told["secrets"] == ["S"]
    assert "hush" not in str(told)


def test_a_jobs_home_ends_with_it(hub: LoopbackHub, api: HfApi) -> None:
    job_id = run(
        api,
        "import os; open('file', 'w'); print(os.getcwd() == os.environ['HOME']); print(os.getcwd())",
    )
    same, home = lines(hub, job_id)
    assert same == "True"
    assert not Path(home).exists()


def test_uv_runs_the_script_with_this_interpreter(hub: LoopbackHub, api: HfApi) -> None:
    script = "printf 'import sys, trl; print(sys.argv[1:])' > it.py && uv run --python 3.12 --with x==1 it.py a --b"
    job = api.run_job(image="any", command=["bash", "-c", script], namespace="tester")
    assert lines(hub, job.id)[-1] == "['a', '--b']"


def test_a_failure_says_its_exit_code(hub: LoopbackHub, api: HfApi) -> None:
    job_id = run(api, "raise SystemExit(7)")
    hub.jobs.wait(job_id)
    status = api.inspect_job(job_id=job_id, namespace="tester").status
    assert (status.stage, status.message) == ("ERROR", "Job failed with exit code: 7")


def test_a_job_and_what_it_started_end_at_its_timeout(hub: LoopbackHub, api: HfApi) -> None:
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid); time.sleep(60)"
    job_id = run(api, code, timeout="2s")
    (pid,) = lines(hub, job_id)
    told = api.inspect_job(job_id=job_id, namespace="tester")
    assert (told.status.stage, told.status.message) == ("ERROR", "Job timeout")
    assert told.durations is not None and told.durations.running_secs == 2
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


def test_cancelling_ends_a_job_and_again_changes_nothing(hub: LoopbackHub, api: HfApi) -> None:
    job_id = run(api, "import time; time.sleep(60)")
    for _ in range(2):
        api.cancel_job(job_id=job_id, namespace="tester")
        assert hub.jobs.wait(job_id).stage == "CANCELED"


def test_a_job_that_waits_can_be_cancelled(hub: LoopbackHub, api: HfApi) -> None:
    hub.jobs.scheduling_s = 0.3
    job_id = run(api, "print(1)")
    assert api.inspect_job(job_id=job_id, namespace="tester").status.stage == "SCHEDULING"
    api.cancel_job(job_id=job_id, namespace="tester")
    assert lines(hub, job_id) == []
    assert hub.jobs.all[job_id].stage == "CANCELED"


def test_the_log_is_followed_live_to_the_end(hub: LoopbackHub, api: HfApi) -> None:
    job_id = run(api, "import time\nfor n in range(4): print('line', n); time.sleep(0.2)")
    seen = [
        (line, hub.jobs.all[job_id].stage)
        for line in api.fetch_job_logs(job_id=job_id, namespace="tester", follow=True)
    ]
    assert [line for line, _ in seen] == [f"line {n}" for n in range(4)]
    assert seen[0][1] == "RUNNING"
    assert list(api.fetch_job_logs(job_id=job_id, namespace="tester", tail=1)) == ["line 3"]


def test_metrics_come_while_it_runs(api: HfApi) -> None:
    job_id = run(api, "import time; time.sleep(60)")
    while api.inspect_job(job_id=job_id, namespace="tester").status.stage != "RUNNING":
        time.sleep(0.02)
    first = next(iter(api.fetch_job_metrics(job_id=job_id, namespace="tester")))
    assert first["memory_used_bytes"] > 0


def test_jobs_are_found_by_label_and_stage_over_pages(hub: LoopbackHub, api: HfApi) -> None:
    ids = [run(api, "", labels={"run": "a" if n % 2 else "b", "n": str(n)}) for n in range(45)]
    for job_id in ids:
        hub.jobs.wait(job_id)
    found = [job.id for job in api.list_jobs(namespace="tester", labels={"run": "b"})]
    assert found == ids[::-2]
    assert [job.id for job in api.list_jobs(namespace="tester", labels={"run": "a", "n": "3"})] == [ids[3]]
    assert list(api.list_jobs(namespace="tester", status="RUNNING")) == []


def test_without_credits_nothing_starts_and_running_uses_them_up(hub: LoopbackHub) -> None:
    poor = hub.people.add("poor", credits_usd=1e-9)
    with hub.used_here(hub.people.issue(poor, "write")) as api:
        job = api.run_job(image="any", command=["sleep", "0.2"], namespace="poor")
        hub.jobs.wait(job.id)
        assert poor.credits_usd is not None and poor.credits_usd < 0
        with pytest.raises(HfHubHTTPError) as raised:
            api.run_job(image="any", command=["true"], namespace="poor")
    assert raised.value.response.status_code == 402
    assert len(hub.jobs.all) == 1


def test_a_lost_job_is_not_found(hub: LoopbackHub, api: HfApi) -> None:
    job_id = run(api, "import time; time.sleep(60)")
    hub.jobs.vanish(job_id)
    with pytest.raises(JobNotFoundError):
        api.inspect_job(job_id=job_id, namespace="tester")


def test_a_flavor_that_does_not_exist_is_refused(api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError, match="Invalid flavor: h100"):
        run(api, "", flavor="h100")


def test_hardware_has_its_prices(api: HfApi) -> None:
    prices = {item.name: item.unit_cost_usd * 60 for item in api.list_jobs_hardware()}
    assert prices["l4x1"] == pytest.approx(0.80)


# --- schedules and webhooks -------------------------------------------------------------------------------------------


def scheduled(api: HfApi, schedule: str = "0 2 * * *", code: str = "print('night')") -> str:
    made = api.create_scheduled_job(
        image="any", command=["python", "-c", code], schedule=schedule, secrets={"S": "hush"}, namespace="tester"
    )
    return made.id


def test_a_schedule_fires_when_its_time_comes_once(hub: LoopbackHub, api: HfApi) -> None:
    schedule_id = scheduled(api)
    due = api.inspect_scheduled_job(scheduled_job_id=schedule_id, namespace="tester").status.next_job_run_at
    assert due is not None and (due.hour, due.minute) == (2, 0)
    assert hub.schedules.pass_time(due - timedelta(minutes=1)) == []
    (job,) = hub.schedules.pass_time(due)
    assert lines(hub, job.id) == ["night"]
    assert hub.schedules.pass_time(due) == []
    last = api.inspect_scheduled_job(scheduled_job_id=schedule_id, namespace="tester").status.last_job
    assert last is not None and last.id == job.id


def test_a_suspended_schedule_waits_until_it_is_resumed(hub: LoopbackHub, api: HfApi) -> None:
    schedule_id, later = scheduled(api), datetime.now(UTC) + timedelta(days=2)
    api.suspend_scheduled_job(scheduled_job_id=schedule_id, namespace="tester")
    assert hub.schedules.pass_time(later) == []
    api.resume_scheduled_job(scheduled_job_id=schedule_id, namespace="tester")
    assert len(hub.schedules.pass_time(later)) == 1
    api.delete_scheduled_job(scheduled_job_id=schedule_id, namespace="tester")
    assert list(api.list_scheduled_jobs(namespace="tester")) == []


def test_two_of_a_schedule_do_not_run_at_a_time(hub: LoopbackHub, api: HfApi) -> None:
    schedule_id = scheduled(api, code="import time; time.sleep(60)")
    job = api.trigger_scheduled_job(scheduled_job_id=schedule_id, namespace="tester")
    with pytest.raises(HfHubHTTPError) as raised:
        api.trigger_scheduled_job(scheduled_job_id=schedule_id, namespace="tester")
    assert raised.value.response.status_code == 409
    assert list(hub.jobs.all) == [job.id]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 2 * * *", "2026-11-26T02:00"),
        ("@hourly", "2026-11-25T16:00"),
        ("*/20 * * * *", "2026-11-25T15:40"),
        ("30 9 * * 1", "2026-11-30T09:30"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0 0 1 * 5", "2026-11-27T00:00"),
        ("0 12 * * 7", "2026-11-29T12:00"),
    ],
)
def test_cron_fires_next(schedule: str, expected: str) -> None:
    moment = datetime(2026, 11, 25, 15, 30, 20, tzinfo=UTC)
    assert parse(schedule).after(moment).isoformat().startswith(expected)


@pytest.mark.parametrize("schedule", ["", "every night", "60 * * * *", "* * * *", "0 0 31 2 *"])
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(HubError, match="Invalid schedule"):
        parse(schedule).after(datetime.now(UTC))


def test_a_commit_starts_the_webhooks_job(hub: LoopbackHub, api: HfApi) -> None:
    hub.add_repo("dataset", "acme/rows", {"a": "1"})
    hub.add_repo("dataset", "acme/others", {"a": "1"})
    source = run(api, "import os; print(os.environ.get('WEBHOOK_REPO_ID'))")
    assert lines(hub, source) == ["None"]
    made = api.create_webhook(job_id=source, watched=[{"type": "dataset", "name": "acme/rows"}], domains=["repo"])
    for repo_id in ("acme/others", "acme/rows"):
        api.upload_file(repo_id=repo_id, repo_type="dataset", path_in_repo="b", path_or_fileobj=b"2")
    (started,) = hub.webhooks.all[made.id].started
    assert lines(hub, started) == ["acme/rows"]
    api.disable_webhook(made.id)
    api.upload_file(repo_id="acme/rows", repo_type="dataset", path_in_repo="c", path_or_fileobj=b"3")
    assert len(hub.webhooks.all[made.id].started) == 1


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_hf_cli_runs_follows_and_lists_jobs(hub: LoopbackHub, client: Client) -> None:
    assert "tester" in client(["auth", "whoami"])
    assert "a100-large" in client(["jobs", "hardware"])
    said = client(["jobs", "run", "--label", "run=x", "python:3.12", "python", "-c", "print(6*7)"])
    assert "42" in said
    (job_id,) = hub.jobs.all
    assert job_id in client(["jobs", "ps", "-a", "--format", "json"])
    assert "42" in client(["jobs", "logs", job_id])
    assert "Job failed with exit code: 3" in client(
        ["jobs", "run", "i", "python", "-c", "raise SystemExit(3)"], ok=False
    )


def test_the_hf_cli_uploads_and_downloads(
    hub: LoopbackHub, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.txt").write_text("hello")
    client(["upload", "tester/model", str(folder), ".", "--private"])
    assert hub.read("model", "tester/model", "a.txt") == b"hello"
    where = client(["download", "tester/model", "a.txt"])
    assert "a.txt" in where
