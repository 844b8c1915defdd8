"""Every exported file has answered in a real llama.cpp server, and what was finished once is not done again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ftagent.tools import export
from ftagent.tools.errors import InputError, ToolError
from ftagent.tools.export import export_gguf
from ftagent.tools.run import open_run

from .taught import Finish, Taught, addition, finish, steps_told, taught

__all__ = ["finish", "taught"]

SUMS = [addition(number) for number in range(40, 60)]


def test_an_adapter_becomes_files_that_answer_and_stop_in_llama_cpp(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.adapter, SUMS, quantisations=("Q4_K_M", "Q8_0"))
    steps = steps_told(run)
    found = export_gguf(run)
    assert steps == ["merge", "convert", "quantise", "prove", "convert", "prove"]
    assert [file.quantisation for file in found.files] == ["Q4_K_M", "Q8_0"]
    for file in found.files:
        assert file.path == f"gguf/tiny-0.1b-sums-sft-{file.quantisation}.gguf"
        assert file.proof.loads and file.proof.stops_at_eos and file.proof.template_matches
        assert file.proof.answer.startswith("It is")
        assert file.proof.tokens_per_s
        gguf = run.folder / file.path
        assert gguf.stat().st_size == file.size_bytes
        modelfile = gguf.with_suffix(".Modelfile").read_text(encoding="utf-8")
        assert modelfile == f'FROM ./{gguf.name}\nPARAMETER stop "<|im_end|>"\n'
    assert (run.folder / found.merged / "model.safetensors").exists()
    assert len(list((run.folder / "gguf").glob("*.gguf"))) == 2

    run.journal.release()
    again = open_run(run.folder)
    steps = steps_told(again)
    assert export_gguf(again).files == found.files
    assert steps == []


def test_what_was_proven_before_a_failure_is_kept(
    finish: Finish, taught: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finish(taught.base, taught.full, SUMS, quantisations=("Q8_0", "F16"))
    convert = export.convert

    def full_disk_at_f16(settings, model, out, quantisation, *, log) -> None:
        if quantisation == "F16":
            raise ToolError("no space left on device")
        convert(settings, model, out, quantisation, log=log)

    monkeypatch.setattr(export, "convert", full_disk_at_f16)
    with pytest.raises(ToolError, match="no space left"):
        export_gguf(run)
    monkeypatch.setattr(export, "convert", convert)
    run.journal.release()
    again = open_run(run.folder)
    assert [file.quantisation for file in again.files] == ["Q8_0"]
    steps = steps_told(again)
    found = export_gguf(again)
    assert [file.quantisation for file in found.files] == ["Q8_0", "F16"]
    assert steps == ["convert", "prove"]
    assert found.merged == "checkpoint"


def test_a_model_that_never_stops_is_not_listed(finish: Finish, tiny_model: Path) -> None:
    run = finish(tiny_model, tiny_model, SUMS)
    with pytest.raises(ToolError, match=r"failed its proof.*did not stop within 256 tokens on 3 questions"):
        export_gguf(run, quantisations=["Q8_0"])
    assert list((run.folder / "gguf").iterdir()) == []
    assert all(event.kind != "export_file" for event in run.journal.events)


def test_a_file_with_another_chat_template_is_not_listed(
    finish: Finish, taught: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finish(taught.base, taught.full, SUMS)
    convert = export.convert

    def convert_then_change(settings, model, out, quantisation, *, log) -> None:
        convert(settings, model, out, quantisation, log=log)
        (model / "chat_template.jinja").write_text("{{ messages[0]['content'] }}", encoding="utf-8")

    monkeypatch.setattr(export, "convert", convert_then_change)
    with pytest.raises(ToolError, match="its chat template is not the tokenizer's"):
        export_gguf(run, quantisations=["Q8_0"])
    assert not list((run.folder / "gguf").iterdir())


def test_an_unknown_quantisation_is_refused_before_anything_is_made(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.adapter, SUMS)
    with pytest.raises(InputError, match=r"`Q4_X` is no quantisation .*one of F32, F16"):
        export_gguf(run, quantisations=["Q8_0", "Q4_X"])
    assert not (run.folder / "gguf").exists()


_FRESH_ADAPTER = """
import sys
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base)
get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(adapter)
AutoTokenizer.from_pretrained(base).save_pretrained(adapter)
"""


@pytest.mark.slow
def test_the_real_smollm2_is_exported_in_all_usual_quantisations(finish: Finish, smollm2: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    subprocess.run([sys.executable, "-c", _FRESH_ADAPTER, str(smollm2), str(adapter)], check=True)
    found = export_gguf(finish(smollm2, adapter, []), quantisations=["Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16"])
    sizes = [file.size_bytes for file in found.files]
    assert sizes == sorted(sizes)
    assert all("4" in file.proof.answer for file in found.files)
