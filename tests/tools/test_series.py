"""Checkpoints that are evaluated by the clock: each once, a broken one is told of, and a person has approved it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.cli import main
from ftagent.agent.console import RunConsole
from ftagent.agent.session import Session
from ftagent.agent.toolbox import Toolbox
from ftagent.tools import later_script, series
from ftagent.tools.backends.hf_schedules import DOES_LABEL
from ftagent.tools.errors import ApprovalNeeded, BudgetExceeded, GateClosed, InputError, ToolError
from ftagent.tools.facts import CheckpointSeries, ModelRef, Parameter, Schedule, SeriesPoint
from ftagent.tools.jobs import submit_job
from ftagent.tools.monitor import monitor_job
from ftagent.tools.report import render
from ftagent.tools.run import Run, find_run
from ftagent.tools.schedule import change_schedule, list_schedules, look_at_series, schedule_run
from ftagent.tools.series_results import read_series
from rich.console import Console

from ..hub import LoopbackHub
from ..hub.jobs import Job
from .backends.conftest import Remote, hub, remote
from .taught import Taught, addition, taught
from .test_schedule import Person

__all__ = ["hub", "remote", "taught"]

BASE, REPO, WHEN = "HuggingFaceTB/SmolLM2-135M", "tester/tuned", "evaluate every new checkpoint every night at 2"
CONFIG = Path(__file__).parents[1] / "configs" / "SmolLM2-135M"
ROWS = "".join(json.dumps(addition(number)) + "\n" for number in range(40, 48))
ADAPTER = json.dumps({"base_model_name_or_path": BASE})
TRAINS = """
    import hashlib, json, pathlib
    from huggingface_hub import HfApi
    HUB_MODEL_ID = "tester/tuned"
    hub, rows = HfApi(), {rows!r}
    for name in ("", "last-checkpoint"):
        hub.upload_folder(
            repo_id=HUB_MODEL_ID, folder_path={folder!r}, path_in_repo=name or None,
            commit_message="Training in progress, step 20" + (", checkpoint" if name else ""),
        )
    hub.upload_file(repo_id=HUB_MODEL_ID, path_or_fileobj=rows.encode(), path_in_repo="heldout.jsonl")
    pathlib.Path("result.json").write_text(json.dumps({{"heldout_sha256": hashlib.sha256(rows.encode()).hexdigest()}}))
    hub.upload_file(repo_id=HUB_MODEL_ID, path_or_fileobj="result.json", path_in_repo="result.json")
"""
# Larger weights have less loss; what is no such file cannot be loaded.
MEASURES = """
import json, sys
from pathlib import Path
request = json.loads(Path(sys.argv[1]).read_text())
(chosen,) = request["sets"].values()
content = Path(request["checkpoint"], "adapter_model.safetensors").read_bytes()
if content.startswith(b"broken"):
    sys.exit("SafetensorError: Error while deserializing header")
if content.startswith(b"memory"):
    sys.exit("torch.OutOfMemoryError: CUDA out of memory.")
items = [
    {"row": n, "tokens": 4, "tuned_loss": 1 / len(content) + n / 100}
    | ({} if request["tuned_only"] else {"base_loss": 3 + n / 90})
    for n, _ in enumerate(Path(chosen["rows"]).read_text().splitlines())
]
told = {"device": "cpu", "dtype": "float32", "transformers": "5.23.0"}
Path(sys.argv[2]).write_text(json.dumps({"items": {"held-out": items}, **told}))
"""
NUMBERS = {"logging_steps": 1, "max_length": 64, "loss_on": "completion"}
PARAMETERS = tuple(Parameter(name=name, value=value, origin="rule") for name, value in NUMBERS.items())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints be measured without torch, in the rehearsal and in jobs."""
    source = later_script.source_of
    changed = lambda name: MEASURES if name == "heldout.py" else source(name)  # noqa: E731
    monkeypatch.setattr(later_script, "source_of", changed)
    monkeypatch.setattr(series, "run_worker", rehearse_quickly)


def rehearse_quickly(_settings: Any, template: str, request: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Run the real script on a checkpoint that is none."""
    assert template == "tiny_checkpoint.py"
    folder = Path(request["folder"])
    (folder / "base").mkdir()
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "adapter_config.json").write_text(ADAPTER)
    (folder / "checkpoint" / "adapter_model.safetensors").write_bytes(b"1")
    (folder / "heldout.jsonl").write_bytes(Path(request["rows"]).read_bytes())
    environment = {**series_environment(), "FTAGENT_REHEARSAL": str(folder)}
    subprocess.run([sys.executable, request["script"]], env=environment, check=True, capture_output=True)
    return json.loads((folder / "result.json").read_text())


def series_environment() -> dict[str, str]:
    """Return what a process of its own needs to take the Hub that this one uses for the real one."""
    import os

    from huggingface_hub import constants, get_token

    return {**os.environ, "HF_ENDPOINT": constants.ENDPOINT, "HF_TOKEN": get_token() or "", "HF_HUB_DISABLE_XET": "1"}


Ready = Callable[..., Run]


@pytest.fixture
def ready(hub: LoopbackHub, remote: Remote, tmp_path: Path) -> Ready:
    """Makes runs whose training has pushed its first checkpoint, and ended."""
    hub.add_repo("model", BASE, {"config.json": CONFIG / "config.json"})
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "adapter_model.safetensors").write_bytes(b"w")
    (saved / "adapter_config.json").write_text(ADAPTER)
    (saved / "trainer_state.json").write_text('{"global_step": 20}')

    def make(**options: Any) -> Run:
        run = remote(TRAINS.format(rows=ROWS, folder=str(saved)), parameters=PARAMETERS, timeout_s=600, **options)
        assert run.spec is not None
        base = ModelRef(
            id=BASE, source="cache", path=str(CONFIG), revision=hub.store.get("model", BASE).branches["main"]
        )
        run = run.record(run.spec.model_copy(update={"model_ref": base}))
        run = run.record(submit_job(run))
        return run.record(monitor_job(run))

    return make


def repeat(run: Run, when: str = WHEN, decide: Any = None) -> tuple[Run, Schedule]:
    toolbox = Toolbox(run, decide=Person() if decide is None else decide)
    schedule = toolbox.invoke("schedule_run", {"when": when})
    return toolbox.run, schedule


def fire(hub: LoopbackHub, schedule: Schedule) -> Job:
    (job,) = hub.schedules.pass_time(hub.schedules.all[schedule.id].next_at)
    return hub.jobs.wait(job.id, timeout_s=300)


def push(
    hub: LoopbackHub, weights: bytes, title: str, *, repo: str = REPO, folder: str = "", config: str = ADAPTER
) -> str:
    names = {"adapter_model.safetensors": weights, "adapter_config.json": config.encode()}
    return hub.add_files("model", repo, {f"{folder}{name}": content for name, content in names.items()}, title=title)


def evaluated(job: Job) -> list[str]:
    """Return what a firing says that it evaluated, each by its label."""
    lines = (line.text for line in job.lines)
    return [line.removeprefix("evaluated ").split(" (")[0] for line in lines if line.startswith("evaluated ")]


def found(hub: LoopbackHub) -> list[SeriesPoint]:
    with hub.used_here(hub.tokens.jobs):
        return list(read_series(REPO).points)


# --- each checkpoint once ---------------------------------------------------------------------------------------------


def test_a_second_firing_evaluates_the_new_checkpoint_alone(hub: LoopbackHub, ready: Ready, quick: None) -> None:
    run, schedule = repeat(ready())
    first = fire(hub, schedule)
    assert (first.stage, evaluated(first)) == ("COMPLETED", ["Training in progress, step 20"])
    push(hub, b"weights", "Training in progress, step 40")
    second = fire(hub, schedule)
    assert (second.stage, evaluated(second)) == ("COMPLETED", ["Training in progress, step 40"])
    third = fire(hub, schedule)
    assert (third.stage, evaluated(third)) == ("COMPLETED", [])
    points = found(hub)
    assert [(p.step, p.comparison and p.comparison.metric, p.job) for p in points] == [
        (20, "held-out loss", first.id),
        (40, "held-out loss", second.id),
    ]
    assert [p.comparison and p.comparison.verdict for p in points] == ["better", "better"]
    losses = [p.comparison.tuned for p in points if p.comparison]
    assert losses[1] < losses[0] < 2 and {p.comparison.base for p in points if p.comparison} == {3 + 3.5 / 90}
    bases = [name for name in hub.files("model", REPO) if "/base-" in name]
    assert len(bases) == 1, "the base was measured once"
    token = hub.tokens.jobs.encode()
    assert [p for p in run.folder.rglob("*") if p.is_file() and token in p.read_bytes()] == []
    assert not [name for name in hub.files("model", REPO) if token in hub.read("model", REPO, name)]


def test_a_broken_checkpoint_is_told_of_and_does_not_stop_the_rest(hub: LoopbackHub, ready: Ready, quick: None) -> None:
    _, schedule = repeat(ready())
    push(hub, b"broken", "Training in progress, step 40")
    push(hub, b"foreign", "Training in progress, step 50", config='{"base_model_name_or_path": "acme/other"}')
    push(hub, b"torn", "Training in progress, step 55", config="{")
    push(hub, b"memory is too small here", "Training in progress, step 60")
    push(hub, b"good", "Training in progress, step 80")
    job = fire(hub, schedule)
    assert job.stage == "ERROR", "one could not be measured, and the next firing tries it again"
    assert "out of memory.; the next firing tries it again" in "\n".join(line.text for line in job.lines)
    broken = {point.step: point.broken for point in found(hub)}
    assert broken[20] == broken[80] == ""
    assert broken[40] == "SafetensorError: Error while deserializing header"
    assert broken[50] == f"its adapter belongs to acme/other, and not to {BASE}"
    assert broken[55].startswith("its config is no JSON")
    assert 60 not in broken
    again = fire(hub, schedule)
    assert (evaluated(again), again.stage) == ([], "ERROR"), "what is broken is not paid for twice"


# --- who may, and what it costs ---------------------------------------------------------------------------------------


def test_a_person_sees_what_is_evaluated_when_and_at_what_price(
    hub: LoopbackHub, ready: Ready, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run, person = ready(), Person(answer=False)
    with pytest.raises(ApprovalNeeded, match="evaluates new checkpoints, cron `0 2"):
        repeat(run, decide=person)
    (quote,) = person.asked
    assert quote.month_usd == pytest.approx(quote.once_usd * 30.44, rel=1e-2)
    assert quote.once_usd == pytest.approx(0.01 * quote.timeout_s / 3600, rel=0.5), "a CPU flavor, not the training's"
    with pytest.raises(ApprovalNeeded):
        repeat(run, decide=True)
    run.journal.release()
    where = ["--run", run.id, "--workdir", str(run.settings.workdir)]
    assert main(["tool", "schedule_run", "--when", WHEN, *where, "--yes"]) == 3
    assert "evaluates new checkpoints, cron `0 2 * * *` in UTC" in capsys.readouterr().err
    assert hub.schedules.all == {}


def test_a_month_beyond_the_cap_is_refused(hub: LoopbackHub, ready: Ready, quick: None) -> None:
    with pytest.raises(BudgetExceeded, match="a month of it could cost"):
        repeat(ready(max_cost_usd=0.1))
    assert hub.schedules.all == {}


def test_what_is_scheduled_is_what_ran_here(hub: LoopbackHub, ready: Ready, quick: None) -> None:
    run, schedule = repeat(ready())
    assert run.series is not None and run.series.new == 1
    assert run.series.means["tuned_loss"] == pytest.approx(1.035)
    script = run.folder / run.series.path
    assert hashlib.sha256(script.read_bytes()).hexdigest() == run.series.sha256 == schedule.script_sha256
    assert schedule.pushes_to == REPO
    script.write_text(script.read_text() + "\nprint('more')\n")
    with pytest.raises(GateClosed, match=r"checkpoints.py is not proven"):
        schedule_run(run, when=WHEN)


def test_a_script_that_fails_here_is_not_scheduled(
    hub: LoopbackHub, ready: Ready, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "run_worker", lambda *_, **__: {"new": 1, "broken": "ValueError: no"})
    with pytest.raises(ToolError, match="could not measure a tiny checkpoint: ValueError: no"):
        repeat(ready())
    assert hub.schedules.all == {}


def test_a_run_that_has_not_trained_or_whose_method_writes_answers_is_refused(
    hub: LoopbackHub, ready: Ready, remote: Remote, quick: None
) -> None:
    with pytest.raises(GateClosed, match="the training has not completed"):
        repeat(remote(TRAINS.format(rows=ROWS, folder=".")))
    run = ready()
    assert run.script is not None
    with pytest.raises(InputError, match="judged by answers that it writes"):
        series.series_script(run.model_copy(update={"script": run.script.model_copy(update={"method": "grpo"})}))


# --- list, suspend, resume, delete ------------------------------------------------------------------------------------


def test_it_is_listed_suspended_resumed_deleted_and_made_once(
    hub: LoopbackHub, ready: Ready, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run, schedule = repeat(ready())
    before = run.model_copy(update={"schedules": ()})
    assert schedule_run(before, when="check the checkpoints nightly").id == schedule.id
    assert list(hub.schedules.all) == [schedule.id]
    run.journal.release()
    (one,) = list_schedules(run.settings)
    assert (one.does, one.repository, one.when, one.state) == ("evaluate", REPO, "0 2 * * *", "active")
    assert hub.schedules.all[schedule.id].spec["labels"][DOES_LABEL] == "evaluate"
    change_schedule(run.settings, schedule.id, "suspend")
    assert hub.schedules.pass_time(hub.schedules.all[schedule.id].next_at) == []
    change_schedule(run.settings, schedule.id, "resume")
    assert fire(hub, schedule).stage == "COMPLETED"
    hub.store.delete(hub.store.get("model", REPO))
    assert main(["schedules", "--workdir", str(run.settings.workdir)]) == 0, "what stands is listed without its results"
    assert f"{schedule.id}: what it found cannot be read" in capsys.readouterr().err
    change_schedule(run.settings, schedule.id, "delete")
    assert list_schedules(run.settings) == []


def test_a_line_in_the_chat_schedules_it_for_the_run_in_hand(hub: LoopbackHub, ready: Ready, quick: None) -> None:
    run, person = ready(), Person()
    run.journal.release()
    words = StringIO()
    session = Session(run.settings, out=Console(file=words), told=RunConsole(Console(file=words)), decide=person)
    assert session.handle("check the checkpoints every night at 2") == 0
    assert [quote.trigger.does for quote in person.asked] == ["evaluate"]
    assert [one.schedule for one in hub.schedules.all.values()] == ["0 2 * * *"]
    assert session.handle("check the checkpoints daily") == 2
    assert "at what time (UTC)?" in words.getvalue() and len(hub.schedules.all) == 1


def test_the_series_is_shown_by_schedules_show_and_the_report(
    hub: LoopbackHub, ready: Ready, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run, schedule = repeat(ready())
    run.journal.release()
    workdir = ["--workdir", str(run.settings.workdir)]
    assert look_at_series(run.settings, list_schedules(run.settings)[0]) == CheckpointSeries(repository=REPO, points=())
    push(hub, b"broken", "Training in progress, step 40")
    fire(hub, schedule)
    capsys.readouterr()
    assert main(["schedules", *workdir]) == 0
    said = capsys.readouterr().out
    assert f"{schedule.id}  active  0 2 * * *  cpu-basic  evaluates new checkpoints  run {run.id}" in said
    assert "step 20  held-out loss 1.035 (base 3.039): better" in said
    assert "step 40  broken: SafetensorError: Error while" in said
    assert main(["schedules", "--json", *workdir]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert [point["step"] for point in told["series"]["points"]] == [20, 40]
    assert main(["show", run.id, *workdir]) == 0
    shown = capsys.readouterr().out
    assert "### Checkpoints" in shown and "| held-out loss | 3.039 | 1.035 | better |" in shown
    assert "broken: SafetensorError" in shown and f"{REPO}: what it finds of new checkpoints" in shown
    after = find_run(run.settings.workdir, run.id)
    assert after.checkpoints is not None and len(after.checkpoints.points) == 2
    events = len(after.journal.events)
    assert main(["schedules", *workdir]) == 0
    assert len(find_run(run.settings.workdir, run.id).journal.events) == events, "nothing new is not written down"
    assert render([after]) == shown.rstrip("\n") or "### Checkpoints" in render([after])


# --- for real ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_real_checkpoints_of_a_taught_model_are_rehearsed_and_evaluated(
    hub: LoopbackHub, remote: Remote, taught: Taught, tmp_path: Path
) -> None:
    repo = hub.add_repo("model", "acme/Tiny", {file.name: file for file in taught.base.iterdir()})
    base = ModelRef(id="acme/Tiny", source="hub", path=None, revision=repo.branches["main"])
    run = remote(TRAINS.format(rows=ROWS, folder=str(taught.full)), parameters=PARAMETERS, timeout_s=600)
    assert run.spec is not None
    run = run.record(run.spec.model_copy(update={"model_ref": base}))
    run = run.record(submit_job(run))
    run = run.record(monitor_job(run))
    run, schedule = repeat(run)
    assert run.series is not None and 2 < run.series.means["tuned_loss"] < 20
    hub.add_files("model", REPO, {"model.safetensors": b"no weights"}, title="Training in progress, step 40")
    adapter = {file.name: file for file in taught.adapter.iterdir() if file.name != "adapter_config.json"}
    config = json.loads((taught.adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": "acme/Tiny"}
    named = {f"checkpoint-60/{name}": file for name, file in adapter.items()}
    hub.add_files("model", REPO, {**named, "checkpoint-60/adapter_config.json": json.dumps(config)})
    job = fire(hub, schedule)
    assert job.stage == "COMPLETED", [line.text for line in job.lines][-20:]
    points = {point.step: point for point in found(hub)}
    assert {*points} == {20, 40, 60}
    assert "afetensor" in points[40].broken
    for step in (20, 60):
        comparison = points[step].comparison
        assert comparison is not None and comparison.verdict == "better" and comparison.tuned < comparison.base
    again = fire(hub, schedule)
    assert (again.stage, evaluated(again)) == ("COMPLETED", [])
