"""The script itself, as it comes out of `write_script`, training a tiny model on real rows."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.metrics import EVAL_LOSS, LOSS, read_trackio
from ftagent.tools.run import Run, experiment_name
from ftagent.tools.script import write_script

from ..scripted import settled_run, write_chats, write_tiny_model
from .driven import ENVIRONMENT, Ended, Job, drive

CHATS = 43
STEPS = 20
"""Two epochs of 39 or 40 rows in batches of 4; the others are held out, and one cannot be trained on."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sft")
    write_tiny_model(home / "model")
    chats = write_chats(home / "chats.jsonl", CHATS)
    with chats.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"messages": [{"role": "user", "content": "Nobody answers."}]}) + "\n")
    return home


def written(home: Path, **changes: Any) -> Run:
    run = settled_run(home, **changes)
    return run.record(write_script(run))


@pytest.fixture(scope="module")
def ended(home: Path) -> dict[str, Ended]:
    """Every run that the tests below look at, in one process, in this order."""
    chats = {"mapping": None, "trainer_columns": ("messages",)}
    whole = {**chats, "loss_on": "all", "holdout": None, "filter": None}
    lora = written(home, hardware={"epochs": 2.0})
    short = {"FTAGENT_MAX_STEPS": "2"}
    jobs = {
        "lora": Job(run=lora),
        "again": Job(run=lora),
        "torn": Job(run=lora, torn=(f"checkpoint/checkpoint-{STEPS}/trainer_state.json",)),
        "answers": Job(run=written(home, dataset={**chats, "loss_on": "assistant"}), environment=short),
        "full": Job(run=written(home, hardware={"adapter": "full"}, dataset=whole), environment=short),
        "bf16": Job(run=written(home, hardware={"precision": "bf16", "checkpointing": True}), environment=short),
        "qlora": Job(run=written(home, hardware={"adapter": "qlora", "precision": "fp16"}), environment=short),
        "packed": Job(run=written(home, overrides={"packing": True}), environment=short),
        "nan": Job(run=written(home, overrides={"learning_rate": 1e30})),
    }
    # From here on each writes into the folder of one above, as if that had been left by an earlier job.
    for name, former in (("finer", "bf16"), ("other", "answers")):
        environment = {**short, "FTAGENT_OUTPUT": str(jobs[former].run.folder)}
        jobs[name] = Job(run=written(home, hardware={"checkpointing": True}), environment=environment)
    return drive(home, jobs)


def lengths_of(rows: list[dict[str, Any]]) -> list[int]:
    """Count the tokens of chats: a byte is one, and so are the start and the end of a turn."""
    return [
        sum(len(f"{turn['role']}\n{turn['content']}\n") + 2 for turn in row["prompt"] + row["completion"])
        for row in rows
    ]


@pytest.mark.parametrize("name", ["lora", "again", "torn", "answers", "full", "bf16", "qlora", "packed"])
def test_every_way_to_train_ends_well(ended: dict[str, Ended], name: str) -> None:
    assert ended[name].code == 0


def test_the_result_tells_what_happened(ended: dict[str, Ended]) -> None:
    run, result = ended["lora"].run, ended["lora"].result
    heldout = [json.loads(line) for line in (run.folder / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    chats = (Path(run.settings.workdir) / "chats.jsonl").read_text(encoding="utf-8").splitlines()[:CHATS]
    turns = [json.loads(chat)["messages"] for chat in chats]
    rows = [{"prompt": chat[:-1], "completion": chat[-1:]} for chat in turns]
    assert all(row in rows for row in heldout)
    assert result["heldout_rows"] == len(heldout)
    assert result["train_rows"] == CHATS - len(heldout)
    assert result["steps"] == STEPS
    assert result["tokens"] == 2 * sum(lengths_of([row for row in rows if row not in heldout]))
    assert 0 < result["trained_tokens"] < result["tokens"]
    assert result["last_loss"] < result["first_loss"]
    assert result["eval_loss"] < result["first_loss"]
    assert result["resumed_from"] is None
    assert result["tokens_per_s"] == pytest.approx(result["tokens"] / result["seconds"])
    assert 0 < result["peak_memory_gib"] < 64


def test_the_held_out_file_is_the_one_that_the_result_names(ended: dict[str, Ended]) -> None:
    content = (ended["lora"].run.folder / "heldout.jsonl").read_bytes()
    assert hashlib.sha256(content).hexdigest() == ended["lora"].result["heldout_sha256"]


def test_the_checkpoint_holds_the_adapter_and_everything_to_use_it(ended: dict[str, Ended]) -> None:
    checkpoint = ended["lora"].run.folder / "checkpoint"
    names = {path.name for path in checkpoint.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert {name for name in names if name.startswith("checkpoint-")} == {
        f"checkpoint-{STEPS // 2}",
        f"checkpoint-{STEPS}",
    }


def test_every_step_and_evaluation_arrives_in_trackio_under_the_name_of_the_run(
    ended: dict[str, Ended], home: Path
) -> None:
    run = ended["lora"].run
    assert run.spec is not None
    points = read_trackio(home / "trackio", experiment_name(run.spec), run.id)
    assert [point.step for point in points if LOSS in point.values] == list(range(1, STEPS + 1))
    assert [point.step for point in points if EVAL_LOSS in point.values] == [STEPS // 2, STEPS]


def test_a_finished_script_started_again_changes_nothing(ended: dict[str, Ended]) -> None:
    first, again = ended["lora"].result, ended["again"].result
    assert again["resumed_from"] == STEPS
    told = ("steps", "tokens", "train_loss", "eval_loss", "heldout_sha256")
    assert [again[name] for name in told] == [first[name] for name in told]


def test_a_torn_checkpoint_is_left_for_the_one_before(ended: dict[str, Ended]) -> None:
    first, torn = ended["lora"].result, ended["torn"].result
    assert (torn["resumed_from"], torn["steps"]) == (STEPS // 2, STEPS)
    assert torn["last_loss"] == pytest.approx(first["last_loss"], rel=1e-3)


def result_in_the_folder_of(former: Ended) -> dict[str, Any]:
    return json.loads((former.run.folder / "result.json").read_text(encoding="utf-8"))


def test_a_training_goes_on_in_another_precision(ended: dict[str, Ended]) -> None:
    assert ended["finer"].code == 0
    assert result_in_the_folder_of(ended["bf16"])["resumed_from"] == 2


def test_a_training_never_goes_on_from_the_checkpoint_of_another_one(ended: dict[str, Ended]) -> None:
    assert ended["other"].code == 0
    assert result_in_the_folder_of(ended["answers"])["resumed_from"] is None
    kept = sorted(path.name.partition("-of-")[0] for path in ended["answers"].run.folder.glob("checkpoint-*-of-*"))
    assert kept == ["checkpoint-1", "checkpoint-2"]


def test_loss_on_the_assistant_s_turns_is_loss_on_the_answers(ended: dict[str, Ended]) -> None:
    by_turn, by_completion = ended["answers"].result, ended["lora"].result
    share = by_turn["trained_tokens"] / by_turn["tokens"]
    assert share == pytest.approx(by_completion["trained_tokens"] / by_completion["tokens"], rel=0.25)


def test_all_weights_train_on_all_tokens_with_nothing_held_out(ended: dict[str, Ended]) -> None:
    result = ended["full"].result
    assert (ended["full"].run.folder / "checkpoint" / "model.safetensors").exists()
    assert (result["heldout_rows"], result["eval_loss"]) == (0, None)
    assert result["train_rows"] == CHATS + 1  # nothing is left out, not even the row without an answer
    assert result["trained_tokens"] == pytest.approx(result["tokens"], rel=0.1)  # by the share of the epoch


def test_a_loss_that_is_no_number_ends_the_training_with_a_code_of_its_own(ended: dict[str, Ended], home: Path) -> None:
    run = ended["nan"].run
    assert ended["nan"].code == 3
    assert not (run.folder / "result.json").exists()
    assert run.spec is not None
    points = read_trackio(home / "trackio", experiment_name(run.spec), run.id)
    assert points[-1].values[LOSS] is None


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(home: Path, ended: dict[str, Ended]) -> None:
    run = written(home, hardware={"epochs": 10.0, "batch": 1})
    command = [sys.executable, str(run.folder / "train.py")]
    environment = {**ENVIRONMENT, "HOME": str(home), "TRACKIO_DIR": str(home / "trackio")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole: list[Path] = []
    while not whole and process.poll() is None:
        time.sleep(0.1)
        whole = list(run.folder.glob("checkpoint/checkpoint-*/trainer_state.json"))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    assert [path.parent.name for path in whole] == [f"checkpoint-{result['resumed_from']}"]
    assert result["steps"] == 2 * result["resumed_from"]
