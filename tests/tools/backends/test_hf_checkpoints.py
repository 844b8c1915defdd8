"""What a training script does about the checkpoint that an earlier job has pushed, while the Hub is as it is."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.rendering import template_of
from huggingface_hub import HfApi, snapshot_download

from ...hub import LoopbackHub
from ...hub.faults import Action, Cut, Refuse, Status

STATE = {"global_step": 7}


def fetch_checkpoint(home: Path) -> Path | None:
    """Call the function of the script, with the names that it uses."""
    text = template_of("sft")
    wanted = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == "fetch_checkpoint")
    names: dict[str, Any] = {
        "HfApi": HfApi,
        "Path": Path,
        "belongs": lambda state, settings, name: state["global_step"] == settings["global_step"],
        "checkpoint": home / "checkpoint",
        "hub_id": "tester/tuned",
        "json": json,
        "shutil": shutil,
        "snapshot_download": snapshot_download,
    }
    exec(ast.unparse(wanted), names)
    return names["fetch_checkpoint"](STATE)


def test_without_a_repository_or_a_save_there_is_none(hub: LoopbackHub, tmp_path: Path) -> None:
    assert fetch_checkpoint(tmp_path) is None
    hub.add_repo("model", "tester/tuned", {"README.md": "x"}, private=True)
    assert fetch_checkpoint(tmp_path) is None


def test_what_was_saved_is_taken_up(hub: LoopbackHub, tmp_path: Path) -> None:
    saved = {"last-checkpoint/trainer_state.json": json.dumps(STATE), "last-checkpoint/optimizer.pt": b"x"}
    hub.add_repo("model", "tester/tuned", saved, private=True)
    found = fetch_checkpoint(tmp_path)
    assert found is not None and found.name == "checkpoint-7"
    assert (found / "optimizer.pt").read_bytes() == b"x"


@pytest.mark.parametrize("action", [Status(500), Status(401), Refuse(), Cut()], ids=repr)
def test_a_hub_that_does_not_answer_is_none_without_a_checkpoint(
    hub: LoopbackHub, tmp_path: Path, action: Action
) -> None:
    hub.add_repo("model", "tester/tuned", {"last-checkpoint/trainer_state.json": json.dumps(STATE)}, private=True)
    hub.faults.on("HEAD", "/tester/tuned/resolve/*", action, times=99)
    with pytest.raises(Exception) as raised:
        fetch_checkpoint(tmp_path)
    assert not isinstance(raised.value, FileNotFoundError | AssertionError)
