from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest
from ftagent.tools.errors import GateClosed
from ftagent.tools.facts import Check, PreflightReport
from ftagent.tools.preflight import preflight
from ftagent.tools.run import Run
from ftagent.tools.script import write_script
from ftagent.tools.worker import WORKER_ENVIRONMENT

from .scripted import settled_run, write_chats, write_tiny_model


@dataclass(frozen=True, kw_only=True)
class Broken:
    """Something that is wrong in the script or in the model's tokenizer, and the check and words that name it."""

    old: str
    new: str
    check: str
    says: str
    in_tokenizer: bool = False


BROKEN = {
    "a column that is not there": Broken(
        old='row["messages"][:-1]',
        new='row["mesages"][:-1]',
        check="trains",
        says=r"no 'mesages' \(line \d+ of the script\): the rows lack",
    ),
    "an argument of another TRL": Broken(
        old="max_length=MAX_LENGTH",
        new="max_seq_length=MAX_LENGTH",
        check="trains",
        says="knows no such argument; `max_length` is the nearest",
    ),
    "answers cut away": Broken(
        old="MAX_LENGTH = 64", new="MAX_LENGTH = 3", check="trains", says="every label is masked"
    ),
    "all labels masked": Broken(
        old="    # --- train, save\n",
        new="    trainer.train_dataset = rows.map(lambda row: {'labels': [-100] * len(row['labels'])})\n",
        check="labels",
        says="every label is masked",
    ),
    "turns without an end": Broken(
        old="<|end|>{% endgeneration %}",
        new="{% endgeneration %}",
        check="end of answer",
        says="would never stop",
        in_tokenizer=True,
    ),
    "a save without tokenizer": Broken(
        old="trainer.save_model(", new="trainer.model.save_pretrained(", check="saved", says="has no tokenizer"
    ),
    "a loss that is NaN": Broken(
        old="LEARNING_RATE = 0.0003",
        new="LEARNING_RATE = 1e30",
        check="trains",
        says="NaN or infinite: lower learning_rate",
    ),
    "no resume": Broken(
        old="resume_from_checkpoint=last_whole_checkpoint(settings)",
        new="",
        check="resumes",
        says="a killed job would begin anew",
    ),
    "no Python": Broken(
        old="trainer = SFTTrainer(", new="trainer = = SFTTrainer(", check="trains", says="invalid syntax"
    ),
}

# Runs the worker's `main` for one request after the other, so that torch is imported once.
DRIVER = """
import json, runpy, sys
main = runpy.run_path(sys.argv[1])["main"]
answers = {name: main(request) for name, request in json.loads(open(sys.argv[2]).read()).items()}
open(sys.argv[3], "w").write(json.dumps(answers))
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_tiny_model(tmp_path / "model")
    write_chats(tmp_path / "chats.jsonl")
    run = settled_run(tmp_path)
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
    names = [
        "script",
        "no secret",
        "twin",
        "trains",
        "labels",
        "end of answer",
        "saved",
        "resumes",
        "result",
        "metrics",
    ]
    assert [check.name for check in report.checks] == names
    assert run.script is not None and report.script_sha256 == run.script.sha256
    assert "2 layers" in report.checks[2].detail
    assert "2 steps" in (run.folder / report.log).read_text(encoding="utf-8")


def test_a_script_that_logs_nowhere_is_red(run: Run) -> None:
    report = preflight(edited(run, 'report_to="trackio"', 'report_to="none"'))
    assert [check.name for check in red(report)] == ["metrics"]
    assert "no point of" in red(report)[0].detail


def test_a_script_that_kills_its_process_is_a_red_report(run: Run) -> None:
    report = preflight(edited(run, "    # --- train, save\n", "    os._exit(9)\n"))
    assert not report.ok
    assert "exit code 9" in red(report)[0].detail


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


def test_there_is_no_preflight_without_a_script(run: Run) -> None:
    with pytest.raises(GateClosed, match="no script"):
        preflight(run.model_copy(update={"script": None}))


def broken_request(home: Path, broken: Broken) -> dict[str, str | None]:
    """Return what the worker is asked about a script that is broken in this way."""
    model = write_tiny_model(home / "model")
    write_chats(home / "chats.jsonl")
    run = settled_run(home)
    write_script(run)
    file = model / "tokenizer_config.json" if broken.in_tokenizer else run.folder / "train.py"
    replace_in(file, broken.old, broken.new)
    (home / "out").mkdir()
    script = str(run.folder / "train.py")
    return {"model": str(model), "revision": None, "script": script, "folder": str(home / "out")}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Check]]:
    """What the worker says about each broken script."""
    home = tmp_path_factory.mktemp("broken")
    requests = {name: broken_request(home / name.replace(" ", "-"), broken) for name, broken in BROKEN.items()}
    (home / "requests.json").write_text(json.dumps(requests), encoding="utf-8")
    worker = str(files("ftagent.tools.templates") / "preflight.py")
    command = [sys.executable, "-c", DRIVER, worker, str(home / "requests.json"), str(home / "answers.json")]
    environment = WORKER_ENVIRONMENT | {"HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads((home / "answers.json").read_text(encoding="utf-8"))
    return {name: [Check.model_validate(check) for check in checks] for name, checks in answers.items()}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_script_is_stopped_with_words_that_name_what_is_broken(
    judged: dict[str, list[Check]], name: str
) -> None:
    broken = [check for check in judged[name] if not check.ok]
    assert [check.name for check in broken] == [BROKEN[name].check]
    assert re.search(BROKEN[name].says, broken[0].detail), broken[0].detail
