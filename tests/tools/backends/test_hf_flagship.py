"""One sentence, and everything really happens: the Hub on this machine, TRL in its jobs, nothing scripted."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from ftagent import FineTuneAgent
from ftagent.agent.toolbox import Toolbox
from ftagent.tools.facts import ScheduleQuote
from ftagent.tools.metrics import read_metrics

from ...hub import LoopbackHub
from ...hub.faults import Cut, Status
from ...hub.jobs import Job

SENTENCE = (
    "fine-tune SmolLM2-135M-Instruct on acme/sums, 2 epochs, budget $5, compare it with the base model, do not export"
)


@pytest.fixture
def stocked(hub: LoopbackHub, tiny_model: Path, rows: Path) -> LoopbackHub:
    """The Hub with a model of two layers under a well-known name, and a private set of chats."""
    hub.add_repo("model", "HuggingFaceTB/SmolLM2-135M-Instruct", {file.name: file for file in tiny_model.iterdir()})
    hub.add_repo("dataset", "acme/sums", {"train.jsonl": rows}, private=True)
    return hub


def agent(workdir: Path) -> FineTuneAgent:
    return FineTuneAgent(workdir=workdir / "work", backend="hf-jobs", approve=True)


@pytest.mark.slow
def test_one_sentence_trains_in_a_job_and_evaluates_what_it_pushed(stocked: LoopbackHub, workdir: Path) -> None:
    stocked.faults.on("POST", "/api/jobs/tester", Status(500))
    stocked.faults.on("GET", "/api/jobs/*/logs", Cut(after_bytes=700, by="end"), times=2)
    result = agent(workdir).run(SENTENCE)
    run = result.run
    assert run.report is not None and run.job is not None and run.evaluation is not None
    assert (run.status, run.report.health) == ("completed", "done")
    (job,) = trainings(stocked)
    repo_id = f"tester/smollm2-135m-instruct-sums-sft-{run.id}"
    assert stocked.store.get("model", repo_id).private
    assert {"adapter_model.safetensors", "README.md", "result.json", "heldout.jsonl"} <= set(
        stocked.files("model", repo_id)
    )
    assert run.report.result == json.loads(stocked.read("model", repo_id, "result.json"))
    assert run.report.step == run.report.result["steps"]
    assert stocked.tokens.jobs not in result.report.read_text()  # type: ignore[union-attr]
    assert f"{stocked.endpoint}/jobs/tester/{job.id}" in result.report.read_text()  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_job_that_was_taken_away_goes_on_from_what_it_had_pushed(stocked: LoopbackHub, workdir: Path) -> None:
    thread = threading.Thread(target=take_away_after_a_save, args=(stocked,), daemon=True)
    thread.start()
    run = agent(workdir).run(SENTENCE).run
    assert run.report is not None and run.job is not None
    assert (run.status, run.report.health, run.job.attempt) == ("completed", "done", 2)
    assert [job.stage for job in trainings(stocked)] == ["ERROR", "COMPLETED"]
    result = run.report.result
    assert 0 < result["resumed_from"] < result["steps"]
    assert [repair.words for repair in run.repairs] == [f"the same job goes on from step {result['resumed_from']}"]
    steps = [point.step for point in read_metrics(run.folder / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    assert steps[-1] == result["steps"]
    assert (run.earlier_usd > 0, run.cost_usd > run.earlier_usd) == (True, True)


@pytest.mark.slow
def test_a_firing_trains_from_the_start_on_the_rows_that_have_come(
    stocked: LoopbackHub, workdir: Path, rows: Path
) -> None:
    run = agent(workdir).run(SENTENCE).run
    first = f"tester/smollm2-135m-instruct-sums-sft-{run.id}"
    said_by_the_first = stocked.read("model", first, "result.json")
    run.journal.acquire()
    schedule = Toolbox(run, decide=a_person_agrees).invoke("schedule_run", {"when": "whenever acme/sums is updated"})
    with stocked.used_here(stocked.tokens.write) as api:
        api.upload_file(
            repo_id="acme/sums", repo_type="dataset", path_in_repo="train.jsonl", path_or_fileobj=2 * rows.read_bytes()
        )
    (fired,) = stocked.webhooks.all[schedule.id].started
    job = stocked.jobs.wait(fired, timeout_s=600)
    assert job.stage == "COMPLETED", [line.text for line in job.lines][-20:]
    result = json.loads(stocked.read("model", f"{first}-{fired}", "result.json"))
    assert (result["resumed_from"], result["train_rows"] + result["heldout_rows"]) == (None, 80)
    assert stocked.store.get("model", f"{first}-{fired}").private
    assert stocked.read("model", first, "result.json") == said_by_the_first


def a_person_agrees(quote: ScheduleQuote) -> bool:
    return quote.month_usd is None


a_person_agrees.asks_a_person = True  # type: ignore[attr-defined]


def trainings(hub: LoopbackHub) -> list[Job]:
    """Return the jobs that trained; another one evaluates what they pushed."""
    return [job for job in hub.jobs.all.values() if job.labels.get("ftagent-step") == "train"]


def take_away_after_a_save(hub: LoopbackHub) -> None:
    """End the first job as soon as it has pushed a checkpoint."""
    while not (hub.jobs.all and hub.store.all("model")[1:]):
        time.sleep(0.02)
    repo = next(repo for repo in hub.store.all("model") if repo.namespace == "tester")
    while "last-checkpoint/trainer_state.json" not in hub.files("model", repo.id):
        time.sleep(0.02)
    next(iter(hub.jobs.all.values())).kill("ERROR", "Job was preempted")
