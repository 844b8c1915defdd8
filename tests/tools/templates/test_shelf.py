"""Where a job's files go: each with its proof as soon as it has one, and none of them is made a second time."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ...hub import LoopbackHub
from ...hub.faults import Cut, Status

TEMPLATES = str(files("ftagent.tools.templates"))
CARD = "---\ntags: [ftagent]\n---\n# x\n\n<!-- quantisations -->\n"
SHELF = {"id": "tester/x-GGUF", "private": True, "folder": "", "card": CARD, "run": "one", "of": "this model"}
OWN = SHELF | {"id": "tester/x-run", "folder": "ftagent/gguf/", "card": None}
MADE_FROM = {"reference": {"perplexity": 10.0}, "stops": ["<end>"]}
EXPORT = """
import hashlib, json, os, sys
sys.path.insert(0, sys.argv[1])
import exported
request = json.loads(sys.argv[2])

def make(self, wanted):
    if wanted["name"] == request["dies"]:
        os.kill(os.getpid(), 9)
    if wanted["name"] == request["fails"]:
        raise exported.Unproven("its answers are wrong")
    print("made", wanted["name"], flush=True)
    return proven(self.folder, wanted["name"])

exported.Maker.make, exported.begin = make, lambda maker: request["made_from"]
print("answered", json.dumps(exported.main(request)), flush=True)
"""


def proven(folder: Path, name: str) -> dict[str, Any]:
    """Write a file, and return what exported.py tells of one that passed."""
    content = name.encode() * 300
    (folder / f"x-{name}.gguf").write_bytes(content)
    proof = {"perplexity": 10.2, "reference_perplexity": 10.0, "agreement": 0.9, "tokens_per_s": 7.0}
    file = {"quantisation": name, "path": f"x-{name}.gguf", "size_bytes": len(content), "importance": False}
    return file | {"proof": proof, "sha256": hashlib.sha256(content).hexdigest()}


PROGRAM = f"from pathlib import Path\nfrom typing import Any\n{inspect.getsource(proven)}\n{EXPORT}"


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as its program imports it; it waits for nothing."""
    monkeypatch.syspath_prepend(TEMPLATES)
    module = importlib.import_module("shelf")
    monkeypatch.setattr(module, "PAUSES_S", (0.0, 0.0))
    return module


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """A Hub that this process uses."""
    with LoopbackHub(tmp_path / "hub", lfs_from_bytes=512) as running, running.used_here():
        running.add_repo("model", OWN["id"], {"adapter_model.safetensors": b"1", "README.md": "no tags"})
        yield running


def export(hub: LoopbackHub, folder: Path, shelf: dict[str, Any], *, dies: str = "", fails: str = "") -> list[str]:
    """Run the whole program on a disk of its own, with files that are made of nothing; return what it printed."""
    request = {"folder": str(folder), "name": "x", "rows": [], "importance": False, "repository": shelf}
    request |= {"quantisations": [{"name": "Q8_0"}, {"name": "Q4_K_M"}], "adapter": None, "made_from": MADE_FROM}
    request |= {"dies": dies, "fails": fails}
    command = [sys.executable, "-c", PROGRAM, TEMPLATES, json.dumps(request)]
    environment = {**os.environ, **hub.environment(hub.tokens.write)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == (-9 if dies else 0), done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("where", [SHELF, OWN], ids=["published", "in the run's repository"])
def test_a_job_that_is_killed_after_its_first_file_has_lost_nothing(
    hub: LoopbackHub, tmp_path: Path, where: dict[str, Any]
) -> None:
    said = export(hub, tmp_path / "one", where, dies="Q4_K_M")
    assert "made Q8_0" in said
    first = hub.read("model", where["id"], f"{where['folder']}x-Q8_0.gguf")
    assert f"{where['folder']}x-Q4_K_M.gguf" not in hub.files("model", where["id"])
    said = export(hub, tmp_path / "two", where)
    assert [line for line in said if line.startswith("made")] == ["made Q4_K_M"]
    answer = json.loads(said[-1].removeprefix("answered "))
    assert [file["quantisation"] for file in answer["files"]] == ["Q8_0", "Q4_K_M"]
    assert answer["files"][0]["sha256"] == hashlib.sha256(first).hexdigest()
    assert hub.store.get("model", "tester/x-GGUF").private if where is SHELF else True
    said = export(hub, tmp_path / "three", where, fails="Q8_0")
    assert not [line for line in said if line.startswith("made")]
    assert json.loads(said[-1].removeprefix("answered ")) == answer


def test_a_file_that_fails_its_proof_is_not_uploaded(hub: LoopbackHub, tmp_path: Path) -> None:
    said = export(hub, tmp_path / "one", SHELF, fails="Q8_0")
    assert json.loads(said[-1].removeprefix("answered "))["failed"] == {"Q8_0": "its answers are wrong"}
    assert [name for name in hub.files("model", SHELF["id"]) if name.endswith(".gguf")] == ["x-Q4_K_M.gguf"]
    card = hub.read("model", SHELF["id"], "README.md").decode()
    assert "x-Q4_K_M.gguf" in card and "Q8_0" not in card


def test_what_another_run_another_model_or_another_hand_put_there_is_not_taken(
    hub: LoopbackHub, tmp_path: Path, shelf: ModuleType
) -> None:
    file = proven(tmp_path, "Q8_0")
    shelf.Shelf(SHELF).take(tmp_path, file, MADE_FROM)
    assert shelf.Shelf(SHELF).has("Q8_0") == file
    assert shelf.Shelf(SHELF | {"run": "two"}).has("Q8_0") is None
    assert shelf.Shelf(SHELF | {"of": "another model"}).has("Q8_0") is None
    hub.add_files("model", SHELF["id"], {"x-Q8_0.gguf": b"other"})
    assert shelf.Shelf(SHELF).has("Q8_0") is None


def test_file_card_and_evidence_come_in_one_commit_and_others_are_named_as_unknown(
    hub: LoopbackHub, tmp_path: Path, shelf: ModuleType
) -> None:
    taking = shelf.Shelf(SHELF)
    assert b"No file has been proven yet." in hub.read("model", SHELF["id"], "README.md")
    taking.take(tmp_path, proven(tmp_path, "Q8_0"), MADE_FROM)
    with hub.used_here(hub.tokens.write) as api:
        newest, *before = [commit.title for commit in api.list_repo_commits(SHELF["id"])]
    assert (newest, before) == ("Add x-Q8_0.gguf, proven in llama.cpp", ["Write the card", "initial commit"])
    shelf.Shelf(SHELF | {"run": "two"}).take(tmp_path, proven(tmp_path, "Q4_K_M"), MADE_FROM)
    card = hub.read("model", SHELF["id"], "README.md").decode()
    assert "| `x-Q4_K_M.gguf` | Q4_K_M | 0.0 MB | 10.2 | +2.00 % | 90.0 % | 7 |" in card
    assert "Of an earlier run, and not measured here: `x-Q8_0.gguf`" in card


@pytest.mark.parametrize("action", [Status(503), Cut(), Status(429, retry_after_s=0)], ids=repr)
def test_a_hub_that_does_not_answer_costs_no_proven_file(
    hub: LoopbackHub, tmp_path: Path, shelf: ModuleType, action: Any
) -> None:
    taking, file = shelf.Shelf(SHELF), proven(tmp_path, "Q8_0")
    fault = hub.faults.on("POST", "/api/models/*/commit/*", action)
    taking.take(tmp_path, file, MADE_FROM)
    assert fault.fired == 1
    assert shelf.Shelf(SHELF).has("Q8_0") == file


def test_a_refusal_ends_it_at_once_and_somebody_elses_repository_is_left_alone(
    hub: LoopbackHub, tmp_path: Path, shelf: ModuleType
) -> None:
    hub.add_repo("model", "tester/mine", {"README.md": "mine"})
    with pytest.raises(Exception, match="not of ftagent's making"):
        shelf.Shelf(SHELF | {"id": "tester/mine"})
    taking = shelf.Shelf(SHELF)
    fault = hub.faults.on("POST", "/api/models/*/commit/*", Status(403), times=9)
    with pytest.raises(Exception, match="403"):
        taking.take(tmp_path, proven(tmp_path, "Q8_0"), MADE_FROM)
    assert fault.fired == 1
