"""Base and tuned model answer the same prompt with the same engine."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.cli import main
from ftagent.tools.errors import GateClosed, InputError
from ftagent.tools.run import new_run
from ftagent.tools.settings import Settings
from ftagent.tools.trying import try_run

from .taught import Finish, Taught, addition, finish, taught

__all__ = ["finish", "taught"]


def test_both_answer_side_by_side_from_the_command_line(
    finish: Finish, taught: Taught, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = finish(taught.base, taught.full, [addition(40)])
    assert main(["try", run.id, "What is 41 plus 41?", "--tokens", "16", "--json", "--workdir", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tuned"].startswith("It is") and found["base"] and found["base"] != found["tuned"]
    assert (found["engine"], found["run"]) == ("llama.cpp, Q8_0", run.id)
    assert len(list((tmp_path / "ftagent" / "gguf").glob("*-Q8_0.gguf"))) == 2


def test_what_cannot_be_tried_is_refused_with_the_way_out(
    finish: Finish, taught: Taught, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GateClosed, match=r"nothing to try: the training has not completed\. hint: call monitor_job"):
        try_run(new_run(Settings(python=sys.executable)), "Hello")
    run = finish(taught.base, taught.full, [addition(40)])
    with pytest.raises(InputError, match="there is no prompt"):
        try_run(run, " ")
    assert main(["try", "x", "--tokens", "0", "--workdir", str(run.settings.workdir)]) == 2
    assert "an answer of 0 tokens is none" in capsys.readouterr().err


@pytest.mark.slow
def test_without_llama_cpp_transformers_answers(
    finish: Finish, taught: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "xllamacpp" else there(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    tried = try_run(finish(taught.base, taught.adapter, [addition(40)]), "What is 41 plus 41?", tokens=16)
    assert tried.engine.startswith("transformers") and tried.tuned.startswith("It is")
