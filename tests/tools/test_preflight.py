from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ftagent.tools.errors import GateClosed
from ftagent.tools.facts import Check, PreflightReport, Resumed
from ftagent.tools.gates import APPROVED, closed_gate, next_tool
from ftagent.tools.preflight import preflight
from ftagent.tools.run import Run
from ftagent.tools.script import hash_on_disk, write_script

from .methods import run_of

NAMES = [
    *("script", "no secret", "pins", "promises", "data file", "weights"),
    *("twin", "trains", "result", "data", "settings", "rows", "labels", "end of answer"),
    *("saved", "learns", "resumes", "metrics"),
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = run_of("sft", tmp_path)
    return run.record(write_script(run))


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def edited(run: Run, old: str, new: str) -> Run:
    """Change the script, and record it as if it had been written so."""
    assert run.script is not None
    path = run.folder / run.script.path
    replace_in(path, old, new)
    return run.record(run.script.model_copy(update={"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


def red(report: PreflightReport) -> list[Check]:
    return [check for check in report.checks if not check.ok]


def test_a_sound_script_passes_every_check_and_leaves_only_a_log(run: Run, tmp_path: Path) -> None:
    # As with Gemma: the tokenizer names the end of the text, and the generation config the end of a turn, too.
    replace_in(tmp_path / "model" / "tokenizer_config.json", '"eos_token": "<|end|>"', '"eos_token": "<|pad|>"')
    (tmp_path / "model" / "generation_config.json").write_text('{"eos_token_id": [257, 258]}', encoding="utf-8")
    before = {path.name for path in run.folder.iterdir()}
    report = preflight(run)
    assert red(report) == []
    assert report.ok
    assert {path.name for path in run.folder.iterdir()} == before | {"preflight.log"}
    assert [check.name for check in report.checks] == NAMES
    assert run.script is not None and report.script_sha256 == run.script.sha256
    assert "2 layers" in report.checks[NAMES.index("twin")].detail
    assert "2 steps" in (run.folder / report.log).read_text(encoding="utf-8")


@pytest.mark.parametrize("secret", ["hf_" + "a1B2" * 8, "sk-proj-" + "x9_" * 10, "AKIA" + "Z" * 16])
def test_a_secret_in_the_script_stops_it_before_it_runs(run: Run, secret: str) -> None:
    report = preflight(edited(run, "SEED = 42", f"SEED = 42  # {secret}"))
    assert [check.name for check in red(report)] == ["no secret"]
    assert secret not in report.model_dump_json()
    assert not (run.folder / "preflight.log").exists()


def test_a_script_that_was_changed_after_it_was_written_does_not_run(run: Run) -> None:
    with (run.folder / "train.py").open("a", encoding="utf-8") as file:
        file.write("# mine\n")
    report = preflight(run)
    assert "changed or removed" in red(report)[0].detail
    assert not (run.folder / "preflight.log").exists()


def test_a_script_edited_by_hand_has_no_proof_until_it_passes_again(run: Run) -> None:
    def is_proven(run: Run) -> bool:
        return closed_gate("submit_job", run, but=frozenset({APPROVED})) is None

    run = run.record(preflight(run))
    assert is_proven(run)
    replace_in(run.folder / "train.py", "LEARNING_RATE = 0.0003", "LEARNING_RATE = 0.0001")
    edited_run = run.record(Resumed(script_sha256=hash_on_disk(run)))
    assert not is_proven(edited_run)
    assert next_tool(edited_run) == "preflight"
    again = edited_run.record(preflight(edited_run))
    assert again.preflight is not None and red(again.preflight) == []
    assert is_proven(again)


def test_there_is_no_preflight_without_a_script(run: Run) -> None:
    with pytest.raises(GateClosed, match="no script"):
        preflight(run.model_copy(update={"script": None}))
