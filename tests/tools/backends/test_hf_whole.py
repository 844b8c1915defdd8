"""The flagship sentence on a Hub on this machine, whole: data from there, training, evaluation and export in jobs."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
from ftagent import FineTuneAgent
from ftagent.agent.loop import RunResult
from ftagent.tools.facts import Export
from huggingface_hub import HfApi

from ...hub import LoopbackHub
from ..taught import Taught, taught

__all__ = ["taught"]

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
SENTENCE = "fine-tune SmolLM2-135M-Instruct on acme/sums, {much}, budget $5, evaluate, export as Q8_0 and publish it"


def stock(hub: LoopbackHub, model: Path, rows: Path) -> None:
    """Give the Hub a model under a well-known name, and a private set of chats."""
    hub.add_repo("model", MODEL, {file.name: file for file in model.iterdir() if file.is_file()})
    hub.add_repo("dataset", "acme/sums", {"train.jsonl": rows}, private=True)


def carried_out(workdir: Path, much: str) -> RunResult:
    agent = FineTuneAgent(workdir=workdir / "work", backend="hf-jobs", approve=True)
    return agent.run(SENTENCE.format(much=much))


@pytest.mark.slow
def test_the_sentence_is_carried_out_whole(hub: LoopbackHub, workdir: Path, taught: Taught, rows: Path) -> None:
    stock(hub, taught.full, rows)
    require_whole(hub, workdir, carried_out(workdir, "4 steps, batch size 2"))


@pytest.mark.slow
def test_the_sentence_is_carried_out_on_the_real_model(
    hub: LoopbackHub, workdir: Path, smollm2: Path, rows: Path
) -> None:
    stock(hub, smollm2, rows)
    require_whole(hub, workdir, carried_out(workdir, "2 epochs"))


def require_whole(hub: LoopbackHub, workdir: Path, result: RunResult) -> None:
    """Look at everything that such a run must have left, and at what it must not."""
    run = result.run
    assert result.ok and result.report is not None
    assert [job.labels["ftagent-step"] for job in hub.jobs.all.values()] == ["train", "evaluate", "export"]
    assert {job.stage for job in hub.jobs.all.values()} == {"COMPLETED"}
    assert run.evaluation is not None and run.evaluation.job_id == run.later["evaluate"].job.id  # type: ignore[union-attr]
    assert run.evaluation.comparisons[0].metric == "held-out loss"
    require_files(hub, run.folder, run.export)
    assert run.export is not None and run.export.job_id == run.later["export"].job.id  # type: ignore[union-attr]
    assert 0 < run.cost_usd < run.approval.quote.reserve_usd < 5  # type: ignore[union-attr]
    assert [part.purpose for part in run.approval.quote.parts] == ["evaluate", "export"]  # type: ignore[union-attr]
    require_links(hub, result.report.read_text())
    require_no_token(hub, workdir / "work")


def require_files(hub: LoopbackHub, folder: Path, export: Export | None) -> None:
    """Every proven file is here and on the Hub, the very same, with a card."""
    assert export is not None
    (file,) = export.files
    assert file.proof.stops_at_eos and (folder / file.path).stat().st_size == file.size_bytes
    repo_id = next(one.id for one in hub.store.all("model") if one.id.endswith("-GGUF"))
    assert hub.store.get("model", repo_id).private
    assert hub.read("model", repo_id, Path(file.path).name) == (folder / file.path).read_bytes()
    assert "Q8_0" in hub.read("model", repo_id, "README.md").decode()


def require_links(hub: LoopbackHub, report: str) -> None:
    """Every link of the report that leads to this Hub resolves."""
    links = set(re.findall(rf"{re.escape(hub.endpoint)}[^\s)>\]`]*", report))
    assert len(links) >= 5, links
    for link in links:
        request = urllib.request.Request(link.rstrip(".,"), headers={"Authorization": f"Bearer {hub.tokens.jobs}"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200, link


def require_no_token(hub: LoopbackHub, workdir: Path) -> None:
    """No byte that the run wrote is the token: not here, not in a repository, not in a log."""
    token = hub.tokens.jobs.encode()
    assert [file for file in workdir.rglob("*") if file.is_file() and token in file.read_bytes()] == []
    for kind in ("model", "dataset", "space"):
        for repo in hub.store.all(kind):
            for name in hub.files(kind, repo.id):
                assert token not in hub.read(kind, repo.id, name), (repo.id, name)
    for job in hub.jobs.all.values():
        assert token not in json.dumps([line.text for line in job.lines]).encode()
        assert token.decode() not in json.dumps({k: v for k, v in job.spec.items() if k != "secrets"})
    assert HfApi().whoami()["name"] == "tester"
