"""What a firing takes for a checkpoint, on whose rows it measures it, and what it does when something is amiss."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ...hub import LoopbackHub
from ...hub.faults import Status

REPO, BASE = "tester/tuned", "acme/Tiny"
ROWS = '{"text": "one"}\n{"text": "two"}\n'
METHODS = ("HEAD", "GET")
FIRING, UNFINISHED = f"{REPO}-{'a1' * 12}", f"{REPO}-{'b2' * 12}"


def of_training(rows: str, weights: bytes) -> dict[str, str | bytes]:
    """Return what a training has pushed at its end."""
    result = json.dumps({"heldout_sha256": hashlib.sha256(rows.encode()).hexdigest()})
    return {"model.safetensors": weights, "config.json": "{}", "heldout.jsonl": rows, "result.json": result}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """A Hub that this process uses, with a base model and what one training has pushed."""
    with LoopbackHub(tmp_path / "hub", lfs_from_bytes=4096) as running, running.used_here():
        running.add_repo("model", BASE, {"config.json": "{}", "model.safetensors": b"base", "pytorch_model.bin": b"x"})
        running.add_repo("model", REPO, of_training(ROWS, b"first"), private=True)
        yield running


@pytest.fixture
def series(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; what it measures is the length of the weights."""
    monkeypatch.syspath_prepend(str(files("ftagent.tools.templates")))
    module = importlib.import_module("series")
    constants = {"REPOSITORY": REPO, "BASE": BASE, "HELDOUT_SHA256": hashlib.sha256(ROWS.encode()).hexdigest()}
    for name, value in constants.items():
        monkeypatch.setattr(module, name, value)

    def measured(self: object, place: Path, base: str, rows: Path, *, tuned_only: bool) -> dict[str, Any]:
        del self, tuned_only
        assert rows.exists()
        assert not Path(base, "pytorch_model.bin").exists(), "the same weights in another format"
        (weights,) = place.glob("*.safetensors")
        assert not list(place.glob("[!.]*/*")) and not list(place.glob("optimizer*"))
        return {"own": {"items": [], "means": {"tuned_loss": 1 / len(weights.read_bytes())}}}

    monkeypatch.setattr(module.Firing, "measured", measured)
    return module


def fire(series: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], str]:
    """Run one firing; return its exit code, the labels of what it evaluated, and all that it said."""
    folder.mkdir()
    code, said = series.main(folder), capsys.readouterr().out
    lines = [line.removeprefix("evaluated ") for line in said.splitlines() if line.startswith("evaluated ")]
    return code, sorted(line.split(" (")[0] for line in lines), said


def test_checkpoints_lie_in_commits_folders_tags_branches_and_the_repositories_of_firings(
    hub: LoopbackHub, series: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = {"checkpoint-60/model.safetensors": b"in a folder", "checkpoint-60/optimizer.pt": b"large"}
    hub.add_files("model", REPO, saved, title="three of them")
    state = {
        "last-checkpoint/model.safetensors": b"newest",
        "last-checkpoint/trainer_state.json": '{"global_step": 70}',
    }
    hub.add_files("model", REPO, state)
    tagged = hub.add_files("model", REPO, {"model.safetensors": b"tagged"}, title="no step here")
    hub.add_files("model", REPO, {"again/model.safetensors": b"tagged"}, title="the same weights again")
    with hub.used_here(hub.tokens.write) as api:
        api.create_tag(REPO, tag="v1", revision=tagged)
        api.create_branch(REPO, branch="try")
        api.upload_file(repo_id=REPO, revision="try", path_in_repo="model.safetensors", path_or_fileobj=b"on a branch")
    hub.add_repo("model", FIRING, of_training(ROWS * 2, b"fired"), private=True)
    hub.add_repo("model", UNFINISHED, {"model.safetensors": b"half", "config.json": "{}"})
    hub.add_repo("model", f"{REPO}-GGUF", {"model.safetensors": b"none of them"})
    code, labels, said = fire(series, tmp_path / "one", capsys)
    assert (code, labels) == (0, ["add files", "add files", "checkpoint-60", "last-checkpoint", "try", "v1"])
    assert f"{UNFINISHED}: 1 checkpoints, not measured: its training has not pushed its held-out rows yet" in said
    names = [name for name in hub.files("model", REPO) if name.startswith("ftagent/series/")]
    results = [json.loads(hub.read("model", REPO, name)) for name in names]
    assert {result["label"]: result["step"] for result in results}["checkpoint-60"] == 60
    assert {result["label"]: result["step"] for result in results}["last-checkpoint"] == 70
    assert len({result["rows_sha256"] for result in results}) == 2, "each on the rows of its own training"
    assert fire(series, tmp_path / "two", capsys)[:2] == (0, [])


def test_what_there_is_no_time_for_is_left_to_the_next_firing(
    hub: LoopbackHub,
    series: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for step in (20, 40):
        hub.add_files("model", REPO, {"model.safetensors": bytes(step)}, title=f"Training in progress, step {step}")
    monkeypatch.setattr(series, "TIMEOUT_S", -1)
    monkeypatch.setattr(series.Firing, "__init__", began_later(series.Firing.__init__))
    code, labels, said = fire(series, tmp_path / "one", capsys)
    assert (code, labels) == (0, ["add files"])
    assert "2 checkpoints are left for the next firing" in said
    monkeypatch.setattr(series, "TIMEOUT_S", 3600)
    assert fire(series, tmp_path / "two", capsys)[1] == [
        "Training in progress, step 20",
        "Training in progress, step 40",
    ]


def began_later(init: Any) -> Any:
    """Let a firing begin in ten seconds, so that it has time until its first checkpoint has taken a minute."""

    def changed(self: Any, *arguments: Any) -> None:
        init(self, *arguments)
        self.began += 10

        def pushed(*told: Any) -> None:
            type(self).push(self, *told)
            self.began -= 60

        self.push = pushed

    return changed


def test_rows_that_were_changed_are_not_measured_on(
    hub: LoopbackHub, series: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add_repo("model", FIRING, of_training(ROWS, b"fired"))
    hub.add_files("model", REPO, {"heldout.jsonl": ROWS.replace("two", "2")})
    code, labels, said = fire(series, tmp_path / "one", capsys)
    assert (code, labels) == (1, ["add files"]), "those of the firing are as they were"
    assert "its heldout.jsonl is not what the training wrote" in said


def test_a_checkpoint_that_cannot_be_downloaded_stops_no_other(
    hub: LoopbackHub, series: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = hub.add_files("model", REPO, {"model.safetensors": b"lost"}, title="Training in progress, step 20")
    hub.add_files("model", REPO, {"model.safetensors": b"good"}, title="Training in progress, step 40")
    faults = [hub.faults.on(method, f"/{REPO}/resolve/{bad}/model*", Status(404), times=99) for method in METHODS]
    code, labels, said = fire(series, tmp_path / "one", capsys)
    assert (code, labels) == (1, ["Training in progress, step 40", "add files"])
    assert "NOT MEASURED: Training in progress, step 20" in said and faults[0].fired
    for fault in faults:
        fault.times = 0
    assert fire(series, tmp_path / "two", capsys)[:2] == (0, ["Training in progress, step 20"])
