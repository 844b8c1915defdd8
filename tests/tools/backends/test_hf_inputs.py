"""Data of this machine goes with a job: named before anybody approves, uploaded once, read by the job."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
from ftagent.agent.approval import words
from ftagent.tools.backends.hf_inputs import data_repository, loader_there
from ftagent.tools.data.reading.sources import resolve_dataset
from ftagent.tools.errors import GateClosed
from ftagent.tools.jobs import make_quote, submit_job
from ftagent.tools.monitor import monitor_job
from ftagent.tools.run import Run, refold

from ...hub import LoopbackHub
from .conftest import Remote

READS = """
    import json, os, pathlib
    from datasets import load_dataset
    from huggingface_hub import HfApi
    HUB_MODEL_ID = "tester/tuned"
    rows = load_dataset(**{loader!r}, split="train")
    checkpoint = pathlib.Path("checkpoint")
    checkpoint.mkdir()
    (checkpoint / "adapter_model.safetensors").write_bytes(bytes(64))
    pathlib.Path("result.json").write_text(json.dumps({{"rows": len(rows), "last": rows[-1]["messages"]}}))
    HfApi().upload_folder(repo_id=HUB_MODEL_ID, folder_path=checkpoint)
    HfApi().upload_file(repo_id=HUB_MODEL_ID, path_or_fileobj="result.json", path_in_repo="result.json")
"""


def with_rows(remote: Remote, rows: Path, script: str = "") -> Run:
    """Return a proven run whose dataset is a file of this machine; its script names the uploaded one."""
    name = rows.with_name("my rows [1].jsonl")
    shutil.copy(rows, name)
    run = remote("HUB_MODEL_ID = 'tester/tuned'")
    assert run.spec is not None
    run = run.record(run.spec.model_copy(update={"dataset_ref": resolve_dataset(str(name), run.settings)}))
    from ..conftest import prove_script

    return prove_script(run, script.format(loader=loader_there(run)) if script else "HUB_MODEL_ID = 'tester/tuned'")


def test_a_job_reads_the_rows_of_this_machine(hub: LoopbackHub, remote: Remote, rows: Path) -> None:
    run = with_rows(remote, rows, READS)
    run = refold(run.journal).record(submit_job(run))
    report = monitor_job(run)
    assert report.health == "done", report
    lines = rows.read_text().splitlines()
    assert report.result == {"rows": len(lines), "last": json.loads(lines[-1])["messages"]}
    repo = hub.store.get("dataset", data_repository(run))
    assert repo.private and repo.id.startswith("tester/")
    assert hub.read("dataset", repo.id, "train/000-my-rows-1-.jsonl") == rows.read_bytes()


def test_the_quote_says_what_leaves_this_machine_and_nothing_leaves_before(
    hub: LoopbackHub, remote: Remote, rows: Path
) -> None:
    run = with_rows(remote, rows)
    said = words(make_quote(run))
    assert f"uploads 1 file of {run.spec and run.spec.dataset_ref and run.spec.dataset_ref.id}" in said
    assert f"to the private dataset {data_repository(run)}" in said
    assert hub.store.all("dataset") == []


def test_a_file_that_was_changed_since_does_not_travel(hub: LoopbackHub, remote: Remote, rows: Path) -> None:
    run = with_rows(remote, rows)
    rows.with_name("my rows [1].jsonl").write_text('{"messages": []}\n')
    with pytest.raises(GateClosed, match="has changed since it was planned"):
        submit_job(run)
    assert hub.jobs.all == {}


def test_uploaded_files_are_named_so_that_nothing_in_them_is_a_pattern(
    hub: LoopbackHub, remote: Remote, rows: Path
) -> None:
    run = with_rows(remote, rows)
    loader = loader_there(run)
    assert loader["data_files"] == {"train": [f"hf://datasets/{data_repository(run)}/train/000-my-rows-1-.jsonl"]}
    assert ast.literal_eval(repr(loader)) == loader
