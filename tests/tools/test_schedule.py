"""Schedules on a Hub on this machine: made once, by a person, fired for real, and gone when they are deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from ftagent.agent.cli import main
from ftagent.agent.toolbox import Toolbox
from ftagent.tools.backends.hf_results import repository_for
from ftagent.tools.errors import ApprovalNeeded, BudgetExceeded, GateClosed, InputError, ToolError, UserError
from ftagent.tools.facts import DatasetRef, JobReport, Schedule, ScheduleQuote, Spec, Trigger
from ftagent.tools.jobs import submit_job
from ftagent.tools.report import render
from ftagent.tools.run import Run, find_run
from ftagent.tools.schedule import change_schedule, list_schedules, schedule_run
from huggingface_hub.utils import validate_repo_id

from ..hub import LoopbackHub
from ..hub.faults import Cut, Status
from .backends.conftest import Remote, hub, remote

__all__ = ["hub", "remote"]

TRAIN = """
    import os, pathlib
    from huggingface_hub import HfApi
    HUB_MODEL_ID = "tester/tuned"
    hub_id = HUB_MODEL_ID
    if "FTAGENT_SCHEDULED" in os.environ:
        hub_id = f"{hub_id}-{os.environ['JOB_ID']}"
    print("pushes to", hub_id)
    HfApi().create_repo(hub_id, private=True, exist_ok=True)
    HfApi().upload_file(repo_id=hub_id, path_or_fileobj=b"1", path_in_repo="result.json")
"""


class Person:
    """Somebody in front of a terminal, who answers the same each time."""

    asks_a_person = True

    def __init__(self, answer: bool = True) -> None:
        self.answer = answer
        self.asked: list[ScheduleQuote] = []

    def __call__(self, quote: ScheduleQuote) -> bool:
        self.asked.append(quote)
        return self.answer


@pytest.fixture
def ready(hub: LoopbackHub, remote: Remote) -> Callable[..., Run]:
    """Makes proven runs on a dataset of the Hub."""
    commit = hub.add_repo("dataset", "acme/sums", {"train.jsonl": '{"text": "a"}\n'}, private=True)

    def make(train: str = TRAIN, *, left_out: tuple[int, ...] = (), dataset: str = "acme/sums", **options: Any) -> Run:
        run = remote(train, **{"usd_per_hour": 3600.0, "timeout_s": 30, **options})
        assert run.spec is not None and run.dataset is not None
        reference = DatasetRef(
            id="acme/sums", source="hub", revision="0" * 40, loader={"path": "acme/sums", "revision": "0" * 40}
        )
        spec: Spec = run.spec.model_copy(update={"dataset": dataset, "dataset_ref": reference})
        return run.record(spec).record(run.dataset.model_copy(update={"left_out": left_out}))

    del commit
    return make


def repeat(run: Run, when: str = "every night at 2", decide: Any = None) -> Schedule:
    """Schedule as the toolbox does, with a person who agrees unless told otherwise."""
    toolbox = Toolbox(run, decide=Person() if decide is None else decide)
    return toolbox.invoke("schedule_run", {"when": when})


def due(hub: LoopbackHub, schedule: Schedule) -> datetime:
    return hub.schedules.all[schedule.id].next_at


# --- by the clock -----------------------------------------------------------------------------------------------------


def test_a_schedule_is_the_plain_jobs_request_at_its_time(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    run = ready()
    schedule = repeat(run, "every Monday at 9:30")
    (made,) = hub.schedules.all.values()
    assert (made.id, made.schedule, made.suspended, made.concurrency) == (schedule.id, "30 9 * * 1", False, False)
    submit_job(run)
    (job,) = hub.jobs.all.values()
    differs = {key for key in made.spec if made.spec[key] != job.spec[key]}
    assert differs == {"environment", "labels"}
    assert made.spec["environment"] == job.spec["environment"] | {"FTAGENT_SCHEDULED": schedule.label}


def test_each_firing_trains_anew_into_a_repository_of_its_own(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    schedule = repeat(ready())
    pushed = []
    for _ in range(2):
        (job,) = hub.schedules.pass_time(due(hub, schedule))
        assert hub.jobs.wait(job.id).stage == "COMPLETED"
        pushed.append(f"{schedule.pushes_to}-{job.id}")
    assert sorted(repo.id for repo in hub.store.all("model")) == sorted(pushed)
    assert all(repo.private for repo in hub.store.all("model"))


def test_a_suspended_schedule_does_not_fire_and_a_resumed_one_does(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    run = ready()
    schedule = repeat(run)
    run.journal.release()
    change_schedule(run.settings, schedule.id, "suspend")
    assert [s.state for s in find_run(run.settings.workdir, run.id).schedules] == ["suspended"]
    assert list_schedules(run.settings)[0].state == "suspended"
    assert hub.schedules.pass_time(due(hub, schedule)) == []
    change_schedule(run.settings, schedule.id, "resume")
    assert len(hub.schedules.pass_time(due(hub, schedule))) == 1


def test_a_schedule_can_be_ended_while_another_process_works_on_its_run(
    hub: LoopbackHub, ready: Callable[..., Run]
) -> None:
    run = ready()
    schedule = repeat(run)  # this process holds the run's journal
    change_schedule(run.settings, schedule.id, "delete")
    assert hub.schedules.all == {}


def test_a_deleted_schedule_is_gone_and_a_new_one_needs_a_new_approval(
    hub: LoopbackHub, ready: Callable[..., Run]
) -> None:
    run = ready()
    schedule = repeat(run)
    run.journal.release()
    change_schedule(run.settings, schedule.id, "delete")
    assert (hub.schedules.all, list_schedules(run.settings)) == ({}, [])
    after = find_run(run.settings.workdir, run.id)
    assert [s.state for s in after.schedules] == ["deleted"]
    with pytest.raises(GateClosed, match="no person approved"):
        schedule_run(after, when="every night at 2")
    with pytest.raises(UserError, match="there is no schedule"):
        change_schedule(run.settings, schedule.id, "delete")


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decide", [True, lambda _: True, Person(answer=False)])
def test_nobody_but_a_person_makes_a_schedule(hub: LoopbackHub, ready: Callable[..., Run], decide: Any) -> None:
    with pytest.raises(ApprovalNeeded) as refusal:
        repeat(ready(), decide=decide)
    assert refusal.value.exit_code == 3
    assert hub.schedules.all == {}


def test_the_command_ends_with_3_where_no_person_is(
    hub: LoopbackHub, ready: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = ready()
    run.journal.release()
    where = ["--run", run.id, "--workdir", str(run.settings.workdir)]
    for flags in ([], ["--yes"]):
        assert main(["tool", "schedule_run", "--when", "every night at 2", *where, *flags]) == 3
    said = capsys.readouterr().err
    assert "cron `0 2 * * *` in UTC" in said and "$30.00 each time, $913.12 a month" in said
    assert hub.schedules.all == {}


def test_a_person_sees_the_price_of_one_firing_and_of_a_month(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    person = Person()
    repeat(ready(), "every Monday at 9:30", person)
    (quote,) = person.asked
    assert (quote.trigger.cron, quote.once_usd) == ("30 9 * * 1", pytest.approx(30.0))
    assert quote.month_usd == pytest.approx(30 * (quote.firings_a_month or 0)) == pytest.approx(130.0)


def test_an_approval_is_of_one_schedule(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    toolbox = Toolbox(ready(), decide=Person())
    toolbox.invoke("schedule_run", {"when": "every night at 2"})
    with pytest.raises(GateClosed, match="another schedule"):
        schedule_run(toolbox.run, when="hourly")
    assert len(hub.schedules.all) == 1


def test_a_month_beyond_the_cap_is_refused_before_anybody_is_asked(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    person = Person()
    with pytest.raises(BudgetExceeded, match=r"a month of it could cost \$913"):
        repeat(ready(max_cost_usd=500.0), decide=person)
    assert (person.asked, hub.schedules.all) == ([], {})


@pytest.mark.parametrize(
    ("options", "when", "reason"),
    [
        ({"left_out": (3, 5)}, "hourly", "2 single rows are left out"),
        ({"dataset": "acme/sums@v1"}, "hourly", "rows are fixed"),
        ({"train": 'HUB_MODEL_ID = "tester/tuned"'}, "hourly", "cannot tell one firing from another"),
        ({}, "daily", "at what time"),
        ({}, "soon", "does not say when"),
        ({}, "whenever tester/tuned is updated", "would fire itself"),
    ],
)
def test_what_cannot_be_repeated_is_refused(
    hub: LoopbackHub, ready: Callable[..., Run], options: dict[str, Any], when: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        repeat(ready(**options), when)
    assert hub.schedules.all == {} and hub.webhooks.all == {}


def test_a_script_that_changed_since_its_preflight_is_not_repeated(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    run = ready()
    (run.folder / "train.py").write_text("print('other')")
    with pytest.raises(GateClosed, match="not the script that preflight proved"):
        repeat(run)
    assert hub.schedules.all == {}


def test_a_schedule_that_was_asked_for_is_the_last_step(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    run = ready()
    assert run.spec is not None
    asked = {"targets": ("schedule",), "trigger": Trigger(kind="cron", cron="0 2 * * *", words="every night at 2")}
    run = run.record(run.spec.model_copy(update=asked))
    toolbox = Toolbox(run.record(submit_job(run)), decide=True)
    assert toolbox.run.job is not None
    toolbox.run = toolbox.run.record(
        JobReport(job_id=toolbox.run.job.id, stage="completed", health="done", reason="", seconds=1)
    )
    assert toolbox.expected() == "schedule_run"
    with pytest.raises(ApprovalNeeded):
        toolbox.call("schedule_run", {})
    toolbox.decide = Person()
    assert '"cron":"0 2 * * *"' in toolbox.call("schedule_run", {}).replace(": ", ":")
    assert toolbox.expected() is None


# --- once, whatever breaks --------------------------------------------------------------------------------------------


def test_an_answer_that_is_lost_leads_to_no_second_schedule(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    hub.faults.on("POST", "/api/scheduled-jobs/tester", Cut())
    schedule = repeat(ready())
    assert list(hub.schedules.all) == [schedule.id]


@pytest.mark.parametrize(
    ("when", "said_otherwise"),
    [("every night at 2", "nightly"), ("whenever it is updated", "on every commit to acme/sums")],
)
def test_a_crash_before_the_journals_line_leads_to_no_second_schedule(
    hub: LoopbackHub, ready: Callable[..., Run], when: str, said_otherwise: str
) -> None:
    toolbox = Toolbox(ready(), decide=Person())
    first = toolbox.invoke("schedule_run", {"when": when})
    before = toolbox.run.model_copy(update={"schedules": ()})
    assert schedule_run(before, when=said_otherwise).id == first.id
    assert [*hub.schedules.all, *hub.webhooks.all] == [first.id]
    assert list(hub.jobs.all) == [first.source_job] * (first.source_job is not None)


def test_where_nobody_knows_nothing_more_is_made(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    hub.faults.on("GET", "/api/scheduled-jobs/tester", Status(503), nth=2, times=50)
    hub.faults.on("POST", "/api/scheduled-jobs/tester", Cut())
    with pytest.raises(ToolError, match="may have been started"):
        repeat(ready())
    assert len(hub.schedules.all) == 1


def test_a_refusal_is_told_and_nothing_else_tried(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    hub.faults.on("POST", "/api/scheduled-jobs/tester", Status(402))
    with pytest.raises(UserError, match="payment"):
        repeat(ready())
    assert len(hub.asked("POST", "/api/scheduled-jobs/tester")) == 1


# --- by commits -------------------------------------------------------------------------------------------------------


def commit(hub: LoopbackHub, repo_id: str) -> None:
    with hub.used_here(hub.tokens.write) as api:
        api.upload_file(repo_id=repo_id, path_in_repo="more.jsonl", path_or_fileobj=b"{}\n", repo_type="dataset")


def test_a_webhook_fires_on_a_commit_to_its_dataset_only(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    hub.add_repo("dataset", "acme/other", {"a.jsonl": "{}\n"})
    schedule = repeat(ready(), "whenever it is updated")
    (webhook,) = hub.webhooks.all.values()
    assert (webhook.id, webhook.watched) == (schedule.id, [{"type": "dataset", "name": "acme/sums"}])
    source = hub.jobs.wait(schedule.source_job or "")
    assert (source.stage, source.lines[0].text) == ("COMPLETED", "each commit starts a copy of this job")
    commit(hub, "acme/other")
    assert webhook.started == []
    commit(hub, "acme/sums")
    (fired,) = webhook.started
    assert hub.jobs.wait(fired).stage == "COMPLETED"
    assert [repo.id for repo in hub.store.all("model")] == [f"tester/tuned-{fired}"]
    assert webhook.started == [fired]  # what it pushed did not fire it again


def test_a_webhook_is_suspended_resumed_and_deleted(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    run = ready()
    schedule = repeat(run, "whenever acme/sums is updated")
    (webhook,) = hub.webhooks.all.values()
    change_schedule(run.settings, schedule.id, "suspend")
    commit(hub, "acme/sums")
    assert (webhook.started, list_schedules(run.settings)[0].state) == ([], "suspended")
    change_schedule(run.settings, schedule.id, "resume")
    assert not webhook.disabled
    change_schedule(run.settings, schedule.id, "delete")
    assert hub.webhooks.all == {}


def test_an_answer_that_is_lost_leads_to_no_second_webhook(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    hub.faults.on("POST", "/api/settings/webhooks", Cut())
    hub.faults.on("POST", "/api/jobs/tester", Cut())
    schedule = repeat(ready(), "whenever acme/sums is updated")
    assert list(hub.webhooks.all) == [schedule.id]
    assert list(hub.jobs.all) == [schedule.source_job]


def test_a_dataset_that_is_not_there_is_not_watched(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    with pytest.raises(ToolError, match="acme/nowhere"):
        repeat(ready(), "whenever acme/nowhere is updated")
    assert (hub.webhooks.all, hub.jobs.all) == ({}, {})


# --- looking ----------------------------------------------------------------------------------------------------------


def test_the_report_and_the_command_tell_of_it_and_no_file_holds_the_token(
    hub: LoopbackHub, ready: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    toolbox = Toolbox(ready(), decide=Person())
    schedule = toolbox.invoke("schedule_run", {"when": "on weekdays at 18:00"})
    toolbox.invoke("schedule_run", {"when": "whenever acme/sums is updated"})
    text = render([toolbox.run])
    assert f"`{schedule.id}` on `cpu-basic` | cron `0 18 \\* \\* 1-5` in UTC (on weekdays at 18:00) | active" in text
    assert main(["schedules", "--json", "--workdir", str(toolbox.run.settings.workdir)]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["kind"], one["when"], one["run"]) for one in listed] == [
        ("cron", "0 18 * * 1-5", toolbox.run.id),
        ("webhook", "acme/sums", toolbox.run.id),
    ]
    toolbox.run.journal.release()
    assert main(["schedules", "suspend", schedule.id, "--workdir", str(toolbox.run.settings.workdir)]) == 0
    assert f"{schedule.id}  suspended  0 18 * * 1-5  cpu-basic" in capsys.readouterr().out
    assert main(["schedules", "delete", "--workdir", str(toolbox.run.settings.workdir)]) == 2
    files = [file for file in toolbox.run.settings.workdir.rglob("*") if file.is_file() and "hub" not in file.parts]
    assert not [file for file in files if hub.tokens.jobs.encode() in file.read_bytes()]
    assert toolbox.run.folder / "journal.jsonl" in files


def test_a_firings_repository_has_a_name_that_the_hub_takes(hub: LoopbackHub, ready: Callable[..., Run]) -> None:
    run = ready()
    assert run.spec is not None
    run = run.record(run.spec.model_copy(update={"model": "x" * 90}))
    name = f"{repository_for(run)}-{'0' * 24}"
    validate_repo_id(name)
    assert run.id in name
