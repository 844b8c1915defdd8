"""The export in a job: a file that was proven is on the Hub from then on, whatever becomes of the job and of us."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ftagent.agent.approval import approve
from ftagent.tools import later_script, later_watch
from ftagent.tools.errors import ToolError, UserError
from ftagent.tools.export import export_gguf
from ftagent.tools.facts import GgufFile, ModelRef, Parameter
from ftagent.tools.jobs import make_quote, submit_job
from ftagent.tools.monitor import monitor_job
from ftagent.tools.run import Run, open_run

from ...hub import LoopbackHub
from ..taught import Taught, addition, taught
from .conftest import Remote

__all__ = ["taught"]

BASE = "HuggingFaceTB/SmolLM2-135M"
CONFIG = Path(__file__).parents[2] / "configs" / "SmolLM2-135M"
GGUF_REPO = "tester/tiny-0.1b-rows-sft-GGUF"
NUMBERS = {"logging_steps": 1, "max_length": 64, "loss_on": "completion"}
PARAMETERS = tuple(Parameter(name=name, value=value, origin="rule") for name, value in NUMBERS.items())
PUSHES = """
    import json, pathlib
    from huggingface_hub import HfApi
    HUB_MODEL_ID = "tester/tuned"
    hub, rows = HfApi(), {rows!r}
    pathlib.Path("heldout.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
    pathlib.Path("result.json").write_text("{{}}")
    {pushes}
    for name in ("result.json", "heldout.jsonl"):
        hub.upload_file(repo_id=HUB_MODEL_ID, path_or_fileobj=name, path_in_repo=name)
"""
AN_ADAPTER = f"""checkpoint = pathlib.Path("checkpoint"); checkpoint.mkdir()
    (checkpoint / "adapter_model.safetensors").write_bytes(bytes(8192))
    (checkpoint / "adapter_config.json").write_text(json.dumps({{"base_model_name_or_path": "{BASE}"}}))
    hub.upload_folder(repo_id=HUB_MODEL_ID, folder_path=checkpoint)"""
ROWS = [addition(number) for number in range(40, 60)]
# What the program does but for making the files: the first job is taken away as it begins with the second of them.
MADE_OF_NOTHING = """
import time

def made_of_nothing(self, wanted):
    if wanted["name"] == "Q4_K_M" and not Path({once!r}).exists():
        Path({once!r}).touch()
        os.kill(os.getppid(), 9)
        time.sleep(9)
    print("made", wanted["name"], flush=True)
    gguf = self.folder / f"{{self.request['name']}}-{{wanted['name']}}.gguf"
    gguf.write_bytes(wanted["name"].encode() * 2000)
    proof = dict(loads=True, answer="4", stops_at_eos=True, template_matches=True, special_tokens=True, same_tokens=1.0)
    proof |= dict(perplexity=2.0, reference_perplexity=2.0, measured_tokens=40, agreement=1.0, tokens_per_s=9.0)
    told = dict(quantisation=wanted["name"], path=gguf.name, size_bytes=gguf.stat().st_size, importance=False)
    return told | dict(sha256=sha256_of(gguf), proof=proof)

Maker.make, begin = made_of_nothing, lambda maker: dict(reference=dict(perplexity=2.0), stops=["<end>"])
"""


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs make files of nothing, and lose the first job after its first file."""
    source, guard = later_script.source_of, 'if __name__ == "__main__":'
    text = source("exported.py").replace(guard, MADE_OF_NOTHING.format(once=str(tmp_path / "once")) + guard)
    monkeypatch.setattr(later_script, "source_of", lambda name: text if name == "exported.py" else source(name))
    monkeypatch.setattr(later_watch, "POLL_S", 0.05)


def trained(remote: Remote, pushes: str, base: ModelRef, *targets: str) -> Run:
    """Return a run whose training has pushed, and whose export is paid for."""
    run = remote(PUSHES.format(rows=ROWS, pushes=pushes), parameters=PARAMETERS, timeout_s=600)
    assert run.spec is not None
    overrides = run.spec.overrides.model_copy(update={"quantisations": ("Q8_0", "Q4_K_M")})
    run = run.record(run.spec.model_copy(update={"model_ref": base, "targets": targets, "overrides": overrides}))
    run = run.record(approve(run, make_quote(run), True))
    run = run.record(submit_job(run))
    return run.record(monitor_job(run))


def stages(hub: LoopbackHub) -> list[str]:
    return [job.stage for job in hub.jobs.all.values() if job.labels["ftagent-step"] == "export"]


def made(run: Run) -> list[list[str]]:
    """Return what each job of the export made."""
    logs = sorted(run.folder.glob("export-?.log"))
    return [[line.split("made ")[1] for line in log.read_text().splitlines() if "made Q" in line] for log in logs]


def require_here(hub: LoopbackHub, run: Run, files: tuple[GgufFile, ...], repo_id: str, folder: str = "") -> None:
    """Each file is here and there, with the bytes that were proven."""
    assert [file.quantisation for file in files] == ["Q8_0", "Q4_K_M"]
    for file in files:
        here = (run.folder / file.path).read_bytes()
        assert hashlib.sha256(here).hexdigest() == file.sha256
        assert hub.read("model", repo_id, folder + Path(file.path).name) == here


CACHED = ModelRef(id=BASE, source="cache", path=str(CONFIG), revision="0" * 40)


@pytest.mark.parametrize("is_published", [True, False], ids=["published", "kept private"])
def test_a_job_that_was_lost_between_two_files_remakes_none(
    hub: LoopbackHub, remote: Remote, quick: None, is_published: bool
) -> None:
    run = trained(remote, AN_ADAPTER, CACHED, "export", *(["publish"] * is_published))
    export = export_gguf(run)
    assert stages(hub) == ["ERROR", "COMPLETED"]
    assert made(run) == [["Q8_0"], ["Q4_K_M"]]
    where = (GGUF_REPO, "") if is_published else ("tester/tuned", "ftagent/gguf/")
    require_here(hub, run, export.files, *where)
    assert hub.store.get("model", where[0]).private
    assert not (run.folder / "export-pushed").exists()
    again = open_run(run.folder)
    assert export_gguf(again).files == export.files
    assert stages(hub) == ["ERROR", "COMPLETED"]
    assert not is_published or [p.kind for p in again.published] == ["gguf", "model"]


def test_a_file_that_was_changed_there_after_its_proof_does_not_come_home(
    hub: LoopbackHub, remote: Remote, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(remote, AN_ADAPTER, CACHED, "export")
    follow = later_watch.report_of

    def tampering(*arguments: object) -> object:
        if stages(hub)[-1] == "COMPLETED":
            hub.add_files("model", "tester/tuned", {"ftagent/gguf/tiny-0.1b-rows-sft-Q8_0.gguf": b"other"})
        return follow(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(later_watch, "report_of", tampering)
    with pytest.raises(ToolError, match=r"Q8_0.gguf` in `tester/tuned` is not the file that the job has proven"):
        export_gguf(run)
    assert not list((run.folder / "gguf").glob("*Q8_0.gguf"))
    assert open_run(run.folder).files == ()


def test_a_repository_of_somebody_else_is_refused_before_a_job_is_paid(
    hub: LoopbackHub, remote: Remote, quick: None
) -> None:
    hub.add_repo("model", GGUF_REPO, {"README.md": "# mine", "mine.gguf": b"1"})
    run = trained(remote, AN_ADAPTER, CACHED, "export", "publish")
    with pytest.raises(UserError, match="not of ftagent's making"):
        export_gguf(run)
    assert stages(hub) == []


@pytest.mark.slow
def test_a_real_export_is_taken_up_after_the_file_that_a_lost_job_had_proven(
    hub: LoopbackHub, remote: Remote, taught: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add_repo("model", "acme/Tiny", {file.name: file for file in taught.base.iterdir()})
    base = ModelRef(id="acme/Tiny", source="hub", path=None, revision=repo.branches["main"])
    run = trained(
        remote, f"hub.upload_folder(repo_id=HUB_MODEL_ID, folder_path={str(taught.full)!r})", base, "export", "publish"
    )
    first = f"{GGUF_REPO.split('/')[1].removesuffix('-GGUF')}-Q8_0.gguf"
    tell = later_watch._tell

    def taking_away(*arguments: object) -> None:
        tell(*arguments)  # type: ignore[arg-type]
        job = [job for job in hub.jobs.all.values() if job.labels["ftagent-step"] == "export"][-1]
        if job.labels["ftagent-attempt"] == "1" and first in hub.files("model", GGUF_REPO):
            job.kill("ERROR", "Job was preempted")

    monkeypatch.setattr(later_watch, "_tell", taking_away)
    monkeypatch.setattr(later_watch, "POLL_S", 0.05)
    export = export_gguf(run)
    assert stages(hub) == ["ERROR", "COMPLETED"]
    require_here(hub, run, export.files, GGUF_REPO)
    assert all(file.proof.stops_at_eos and file.proof.perplexity for file in export.files)
    log = (run.folder / "export-2.log").read_text(encoding="utf-8")
    assert "Q8_0.gguf was proven and uploaded by an earlier try" in log
    assert '"to Q8_0"' not in log and "to Q4_K_M" in log
    card = hub.read("model", GGUF_REPO, "README.md").decode()
    assert all(f"| `{Path(file.path).name}` |" in card for file in export.files)
