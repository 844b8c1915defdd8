"""Questions in a job: which server is started how, what survives its end, and what is asked of which model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from ftagent.tools.later_script import closure_of

FAKE = Path(__file__).with_name("fake_vllm.py")
DECODING = {"max_tokens": 5, "stop": [], "temperature": 0.0, "top_p": 1.0}
LM_EVAL = """
import json, sys
request = json.load(open(sys.argv[1]))
through = None if {needs_a_server} and request["url"] is None else "any"
json.dump(request | dict(through=through), open(sys.argv[2], "w"))
"""


class Job:
    """Two models that nothing loads, a request for them, and the program that answers it."""

    def __init__(self, home: Path) -> None:
        self.home, self.note = home, home / "note.jsonl"
        (home / "programs").mkdir()
        for name, text in closure_of(["asked.py"]).items():  # as in a job: ftagent is not beside them
            (home / "programs" / name).write_text(text, encoding="utf-8")
        for name in ("base", "tuned"):
            (home / name).mkdir()
            (home / name / "config.json").write_text('{"max_position_embeddings": 1024}', encoding="utf-8")

    def sheet(self, model: str, name: str, *texts: str) -> dict[str, Any]:
        file = self.home / f"{name}.questions"
        lines = ({"key": f"{n}", "prompt": text, "seed": 0} for n, text in enumerate(texts))
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return {"model": model, "name": name, "what": name, "questions": str(file), "decoding": DECODING}

    def run(self, sheets: list[dict[str, Any]], **changed: Any) -> subprocess.CompletedProcess[str]:
        request = {
            "base": str(self.home / "base"),
            "revision": None,
            "checkpoint": str(self.home / "tuned"),
            "is_adapter": False,
            "sheets": sheets,
            "tasks": [],
            "is_chat": False,
            "context": 4096,
            "slots": {"llama.cpp": 2, "vllm": 2},
            "vllm": [sys.executable, str(FAKE), str(self.note)],
            "server": "vllm",
            "folder": str(self.home / "left"),
            "work": str(self.home / "work"),
            "may_fail": False,
        }
        asked, answer = self.home / "request.json", self.home / "answer.json"
        asked.write_text(json.dumps(request | changed), encoding="utf-8")
        command = [sys.executable, str(self.home / "programs" / "asked.py"), str(asked), str(answer)]
        environment = os.environ | {"HF_TOKEN": "hf_planted"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    @property
    def noted(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.note.read_text("utf-8").splitlines()]

    def lines(self, name: str) -> list[dict[str, Any]]:
        answer = json.loads((self.home / "answer.json").read_text("utf-8"))
        return [json.loads(line) for line in (self.home / "left" / answer["lines"][name]).read_text().splitlines()]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_vllm_serves_one_model_after_the_other_and_is_gone_at_the_end(job: Job) -> None:
    done = job.run([job.sheet("base", "sums", "a", "b"), job.sheet("tuned", "sums", "a", "b")])
    assert done.returncode == 0, done.stderr
    base, tuned = (line for line in job.noted if "command" in line)
    assert (base["model"], tuned["model"], base["command"]) == ("base", "tuned", "serve")
    options = base["options"] | {"--port": ""}
    assert options == {
        "--served-model-name": "model",
        "--host": "127.0.0.1",
        "--port": "",
        "--dtype": "auto",
        "--max-model-len": "1024",  # which is what the model can hold
        "--max-num-seqs": "2",
        "--generation-config": "vllm",
        "--uvicorn-log-level": "warning",
    }
    assert not base["has_token"]
    assert not any(psutil.pid_exists(line["pid"]) for line in (base, tuned))
    assert {line["served"] for line in job.noted if "asked" in line} == {"model"}
    assert sorted(line["text"] for line in job.lines("tuned-sums")) == ["tuned says a", "tuned says b"]
    assert json.loads((job.home / "answer.json").read_text())["server"] == {
        "kind": "vllm",
        "words": "both models in auto on vLLM (0.0.0)",
    }


def test_what_was_answered_before_a_failure_is_not_asked_again(job: Job) -> None:
    sheets = [job.sheet("base", "first", "a"), job.sheet("base", "sums", "a", "break", "c", "d")]
    failed = job.run(sheets)
    assert failed.returncode != 0
    assert "ServerFailed: answered /v1/completions with 500" in failed.stderr
    before = len([line for line in job.noted if "asked" in line])
    kept = sum(len(file.read_text().splitlines()) for file in (job.home / "left").rglob("*.jsonl"))
    assert 1 <= kept < 5
    assert job.run(sheets).returncode == 0
    assert len([line for line in job.noted if "asked" in line]) - before == 5 - kept
    assert sorted(line["key"] for line in job.lines("base-sums")) == ["0", "1", "2", "3"]
    servers = [line["model"] for line in job.noted if "command" in line]
    assert servers == ["base", "base"]  # nothing was to be put to the tuned one
    assert job.run(sheets).returncode == 0
    assert [line["model"] for line in job.noted if "command" in line] == servers


def test_a_server_that_ends_before_it_can_be_asked_is_told(job: Job) -> None:
    job.note.mkdir()  # which it cannot write to
    done = job.run([job.sheet("base", "sums", "a")])
    assert done.returncode != 0
    assert "vllm ended with 1 before it could be asked" in done.stderr
    assert job.run([job.sheet("base", "sums", "a")], may_fail=True).returncode == 0
    answer = json.loads((job.home / "answer.json").read_text())
    assert answer == {"failed": "vllm ended with 1 before it could be asked"}


@pytest.mark.parametrize("needs_a_server", [True, False])
def test_lm_eval_measures_without_a_server_what_needs_none(job: Job, needs_a_server: bool) -> None:
    (job.home / "programs" / "lm_harness.py").write_text(
        LM_EVAL.format(needs_a_server=needs_a_server), encoding="utf-8"
    )
    for _ in range(2):  # the second time, everything is there
        assert job.run([], tasks=["gsm8k"]).returncode == 0
    found = json.loads((job.home / "answer.json").read_text())["lm_eval"]
    assert {name: Path(answer["model"]).name for name, answer in found.items()} == {"base": "base", "tuned": "tuned"}
    assert {bool(answer["url"]) for answer in found.values()} == {needs_a_server}
    assert job.note.exists() == needs_a_server
    assert not needs_a_server or len(job.noted) == 2
