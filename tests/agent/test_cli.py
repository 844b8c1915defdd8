"""The command line: exit codes, data on stdout, words on stderr, and one line for every error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ftagent.agent.cli import main
from ftagent.tools.errors import InputError
from ftagent.tools.run import Run

from . import instant
from .instant import REQUEST, instant_tools

__all__ = ["instant_tools"]


def test_an_instruction_with_yes_ends_with_0_and_prints_the_report(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([REQUEST, "--yes"]) == 0
    out, err = capsys.readouterr()
    assert Path(out.strip()).read_text(encoding="utf-8").startswith("# tiny-1m-rows-sft")
    for word in ("plan", "data", "hardware", "preflight", "training", "evaluation", "gguf", "completed"):
        assert f"✓ {word}" in err


def test_unquoted_words_are_one_instruction(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*REQUEST.split(), "--dry-run"]) == 0
    assert "stop" not in capsys.readouterr().out


def test_json_puts_one_event_a_line_on_stdout_and_nothing_else(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([REQUEST, "--yes", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["kind"] == "ended" and events[-1]["data"]["status"] == "completed"
    assert [e["seq"] for e in events if e["seq"] is not None] == list(range(1, 14))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["   "], 2, "there is no instruction"),
        (["make it better"], 2, "names no model"),
        (["fine-tune Tiny-1M"], 2, "names no dataset"),
        ([REQUEST], 3, "needs an approval"),
        ([REQUEST, "--max-cost", "lots"], 2, "--max-cost"),
        ([REQUEST, "--no-such-flag"], 2, "--no-such-flag"),
        (["show"], 2, "there is no run"),
        (["resume", "nope"], 2, "no run match"),
        (["tool", "nope"], 2, "there is no tool `nope`"),
        (["skills", "show", "nope"], 1, "there is no skill `nope`"),
    ],
)
def test_wrong_use_is_one_line_with_a_hint(
    workdir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and says in errors[0] and "hint: " in errors[0]


def test_bad_input_leaves_nothing_behind(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(run: Run) -> None:
        """Refuse.

        Args:
            run: The run.
        """
        raise InputError("`rows.jsonl` is not JSON in line 7.", hint="mend that line")

    instant.install(monkeypatch, validate_dataset=refuse)
    assert main([REQUEST, "--yes"]) == 2
    assert "error: `rows.jsonl` is not JSON in line 7. hint: mend that line" in capsys.readouterr().err
    assert list(workdir.iterdir()) == []


def test_a_full_disk_is_one_line_and_exit_2(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device", str(workdir))

    monkeypatch.setattr("os.fsync", full)
    assert main([REQUEST, "--yes"]) == 2
    assert "error: no space is left on" in capsys.readouterr().err
    assert not list(workdir.rglob("journal.jsonl"))


def test_ctrl_c_ends_with_130_and_says_how_to_come_back(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(run: Run) -> None:
        """Wait.

        Args:
            run: The run.
        """
        raise KeyboardInterrupt

    instant.install(monkeypatch, monitor_job=interrupted)
    assert main([REQUEST, "--yes"]) == 130
    assert "ftagent watch" in capsys.readouterr().err
    instant.install(monkeypatch)
    assert main(["resume", "--yes"]) == 0


def test_runs_and_show_speak_json(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([REQUEST, "--yes"])
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["status"] == "completed"
    assert main(["show", listed["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["evaluation"]["comparisons"][0]["verdict"] == "better"
    assert main(["show"]) == 0
    assert "### Evaluation" in capsys.readouterr().out


def test_a_tool_prints_one_object(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tool", "plan_run", "--request", REQUEST, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["ok"] and planned["result"]["model"] == "Tiny-1M"
    run_id = planned["result"]["run"]
    assert main(["tool", "preflight", "--run", run_id, "--json"]) == 1
    refused = json.loads(capsys.readouterr().out)
    assert refused["error"]["code"] == "gate_closed" and refused["error"]["hint"] == "call write_script"
    for name in ("validate_dataset", "pick_hardware", "write_script", "preflight"):
        assert main(["tool", name, "--run", run_id, "--json"]) == 0
    capsys.readouterr()
    assert main(["tool", "submit_job", "--run", run_id, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "needs_approval"
    assert main(["tool", "submit_job", "--run", run_id, "--json", "--yes"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["id"] == "job-1"


def test_a_tool_that_works_without_a_run_leaves_none(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ftagent.tools.models.resolve_model", lambda *_, **__: None)
    options = ["--model", "Tiny-1M", "--dataset", "rows.jsonl", "--method", "sft", "--json"]
    assert main(["tool", "validate_dataset", *options]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["verdict"] == "ready"
    assert list(workdir.iterdir()) == []


def test_every_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["tool", "--help"], ["tool", "plan_run", "--help"], ["watch", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert "ftagent" in capsys.readouterr().out


def test_a_closed_pipe_is_no_traceback(workdir: Path) -> None:
    """`ftagent tool | head -1` ends quietly."""
    code = "import sys; from ftagent.agent.cli import main; sys.exit(main())"
    script = f"{sys.executable} -c '{code}' tool --help | head -c 10"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout and "Traceback" not in done.stderr
