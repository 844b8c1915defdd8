"""The journal survives kills and torn lines, has one writer, and folds to the same run every time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ftagent.tools.errors import UnreadableJournal, UserError
from ftagent.tools.facts import (
    DatasetReport,
    Ended,
    JobIntent,
    JobReport,
    Lengths,
    Note,
    PreflightReport,
    Resumed,
    Script,
    Spec,
)
from ftagent.tools.gates import next_tool
from ftagent.tools.journal import JOURNAL
from ftagent.tools.report import write_report
from ftagent.tools.run import Run, experiment_name, find_run, list_runs, new_run, open_run, read_runs, refold
from ftagent.tools.settings import load_settings

SPEC = Spec(request="fine-tune a on b", model="org/Tiny-1M", dataset="data/rows.jsonl", targets=("evaluate",))
DATA = DatasetReport(
    verdict="ready",
    method="sft",
    subset=None,
    split="train",
    rows=10,
    mapping=None,
    trainer_columns=("messages",),
    lengths=Lengths(p50=10, p95=20, p99=20, max=20),
    max_length=32,
    truncated_share=0.0,
    duplicates=0,
    overlap=None,
)
SCRIPT = Script(path="train.py", sha256="a" * 64, method="sft", parameters=(), pins=())


@pytest.fixture
def run(workdir: Path) -> Run:
    fresh = new_run(load_settings()).record(SPEC)
    fresh.journal.settle(workdir / "training_reports" / experiment_name(SPEC) / fresh.id)
    return fresh


def test_a_run_that_was_never_settled_leaves_nothing_on_disk(workdir: Path) -> None:
    new_run(load_settings()).record(SPEC)
    assert list(workdir.iterdir()) == []


def test_a_run_read_back_equals_the_run_that_was_written(run: Run) -> None:
    run = run.record(DATA).record(Note(text="a | b\nc"))
    run.journal.release()
    assert open_run(run.folder).model_dump() == run.model_dump()


def test_a_torn_last_line_counts_as_never_written_and_the_next_writer_cuts_it(run: Run) -> None:
    run.journal.release()
    journal = run.folder / JOURNAL
    with journal.open("ab") as file:
        file.write(b'{"run": "x", "se')
    again = open_run(run.folder)
    assert again.model_dump() == run.model_dump()
    again.record(DATA).journal.release()
    assert open_run(run.folder).dataset == DATA


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda line: b"\x00" * len(line), "line 2 of its journal: expecting value"),
        (lambda line: line.replace(b'"plan_run"', b'"plan_of_tomorrow"'), "`plan_of_tomorrow` is unknown"),
        (lambda line: line.replace(b'"subset":null', b'"subsets":["a"]'), "subsets: extra inputs are not permitted"),
    ],
)
def test_a_run_that_cannot_be_read_is_said_and_keeps_no_other_from_being(
    run: Run, workdir: Path, damage: Callable[[bytes], bytes], says: str
) -> None:
    run.journal.release()
    other = new_run(load_settings()).record(SPEC)
    other.journal.settle(run.folder.parent / other.id)
    journal = run.folder / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + damage(lines[1][:-1]) + b"\n")
    runs, unread = read_runs(workdir)
    assert [one.id for one in runs] == [other.id] == [one.id for one in list_runs(workdir)]
    assert find_run(workdir).id == other.id
    with pytest.raises(UnreadableJournal) as refused:
        find_run(workdir, run.id)
    assert [str(error) for error in unread] == [str(refused.value)]
    assert says in refused.value.message.lower() and str(run.folder) in refused.value.hint
    with pytest.raises(UserError, match="no run match"):
        find_run(workdir, "no-such-job")
    text = write_report(other).read_text(encoding="utf-8")
    assert "Not here: run" in text and run.id in text and f"## Run {other.id}" in text
    other.journal.release()


def test_settings_that_cannot_be_read_are_said_too(run: Run, workdir: Path) -> None:
    run.journal.release()
    journal = run.folder / JOURNAL
    journal.write_text(journal.read_text(encoding="utf-8").replace('"llm":"builtin"', '"llm":["a"]'), encoding="utf-8")
    runs, (error,) = read_runs(workdir)
    assert runs == [] and "line 1 of its journal: llm: input should be a valid string" in error.message


def test_what_another_version_had_not_set_is_read_over(run: Run) -> None:
    run.journal.release()
    journal = run.folder / JOURNAL
    text = journal.read_text(encoding="utf-8")
    journal.write_text(text.replace('"subset":null', '"subset":null,"mood":null'), encoding="utf-8")
    assert open_run(run.folder).model_dump() == run.model_dump()


def test_every_prefix_of_a_journal_is_a_run(run: Run) -> None:
    run.record(DATA).record(SCRIPT).record(Ended(status="failed")).journal.release()
    lines = (run.folder / JOURNAL).read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        (run.folder / JOURNAL).write_bytes(b"".join(lines[:count]))
        assert len(open_run(run.folder).journal.events) == count


def test_a_second_process_cannot_write_while_the_first_does(run: Run) -> None:
    code = (
        "from pathlib import Path; from ftagent.tools.run import open_run; from ftagent.tools.facts import Note\n"
        f"open_run(Path({str(run.folder)!r})).record(Note(text='me too'))"
    )
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another process is working on run" in second.stderr
    run.journal.release()
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_folder_that_cannot_be_written_is_not_left_half_made(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    fresh = new_run(load_settings())
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        fresh.journal.settle(workdir / "reports" / "run")
    assert not (workdir / "reports" / "run").exists()


def test_a_failed_append_leaves_the_journal_as_it_was(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (run.folder / JOURNAL).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        run.record(DATA)
    assert (run.folder / JOURNAL).read_bytes() == before
    assert len(run.journal.events) == 2


def test_a_new_script_makes_the_old_preflight_worthless(run: Run) -> None:
    green = PreflightReport(script_sha256=SCRIPT.sha256, ok=True, seconds=1.0, checks=(), log="preflight.log")
    run = run.record(DATA).record(SCRIPT).record(green)
    assert run.record(SCRIPT.model_copy(update={"sha256": "b" * 64})).preflight is None


def test_a_hand_edited_script_must_pass_preflight_again_after_resume(run: Run) -> None:
    green = PreflightReport(script_sha256=SCRIPT.sha256, ok=True, seconds=1.0, checks=(), log="preflight.log")
    run = run.record(DATA).record(SCRIPT).record(green)
    assert run.record(Resumed(script_sha256=SCRIPT.sha256)).preflight == green
    edited = run.record(Resumed(script_sha256="b" * 64))
    assert edited.preflight is None
    assert edited.script is not None and edited.script.sha256 == "b" * 64


def test_resuming_a_failed_job_allows_a_second_attempt_and_forgets_no_count(run: Run) -> None:
    intent = JobIntent(backend="local", label=run.id, attempt=1, script_sha256=SCRIPT.sha256, timeout_s=60)
    failed = JobReport(job_id="j", stage="failed", health="failed", reason="boom", seconds=1.0, cost_usd=0.5)
    run = run.record(intent).record(failed)
    assert not run.job_is_live
    again = run.record(Resumed(script_sha256=None))
    assert (again.report, again.job, again.intent, again.attempts) == (None, None, None, 1)
    assert again.record(intent.model_copy(update={"attempt": 2})).record(failed).cost_usd == 1.0


def test_a_run_is_found_by_a_unique_part_of_its_id(run: Run, workdir: Path) -> None:
    assert find_run(workdir, run.id[-4:]).id == run.id
    assert find_run(workdir).id == run.id
    assert [r.id for r in list_runs(workdir)] == [run.id]
    with pytest.raises(UserError, match="no run match"):
        find_run(workdir, "nope")


def test_listeners_hear_an_event_after_the_disk_has_it(run: Run) -> None:
    heard: list[int] = []
    run.journal.listeners.append(lambda _: heard.append((run.folder / JOURNAL).read_bytes().count(b"\n")))
    run.record(DATA)
    assert heard == [3]


def test_names_of_experiments_are_safe_file_names() -> None:
    hostile = SPEC.model_copy(update={"model": "../../etc/passwd", "dataset": "x/`rm -rf`; echo.jsonl.gz"})
    assert experiment_name(hostile) == "passwd-rm-rf-echo-sft"
    assert experiment_name(SPEC) == "tiny-1m-rows-sft"


def test_folding_the_same_journal_twice_gives_the_same_next_step(run: Run) -> None:
    run = run.record(DATA)
    assert next_tool(run) == next_tool(refold(run.journal)) == "pick_hardware"
