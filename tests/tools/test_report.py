"""The report is rendered from journals alone, keeps people's notes, and shows foreign text as text."""

from __future__ import annotations

import re
from pathlib import Path

from ftagent.agent.loop import FineTuneAgent, RunResult
from ftagent.tools.facts import Cut, Problem
from ftagent.tools.report import NOTES_BEGIN, NOTES_END, cell, render, show_run, write_report
from ftagent.tools.run import open_run

from ..agent.instant import REQUEST, instant_tools

__all__ = ["instant_tools"]


def _done() -> tuple[RunResult, Path]:
    result = FineTuneAgent(approve=True).run(REQUEST)
    assert result.report is not None
    return result, result.report


def test_the_report_has_its_sections_in_order(workdir: Path) -> None:
    _, report = _done()
    headings = re.findall(r"^#+ (.+)$", report.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "tiny-1m-rows-sft"
    assert [h for h in headings[1:] if not h.startswith("Run ")] == [
        "Parameters",
        "Dataset",
        "Hardware and quote",
        "Script",
        "Preflight",
        "Job",
        "Evaluation",
        "Artefacts",
        "Cost",
        "Next",
        "All runs",
        "Notes",
    ]


def test_every_link_of_the_report_resolves(workdir: Path) -> None:
    _, report = _done()
    links = re.findall(r"\]\(([^)]+)\)", report.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (report.parent / link).exists(), link


def test_every_table_stands_on_its_own_whatever_was_found(workdir: Path) -> None:
    run = _done()[0].run
    assert run.dataset is not None and run.hardware is not None
    found = {
        "choices": {"subset": "the plainest name"},
        "sampling": "10 of 100 rows were read",
        "shape": "chat",
        "cuts": (Cut(length=128, share=0.5, lost=0.1),),
        "overlap": 2,
        "benchmarks": ("humaneval",),
        "problems": (Problem(kind="secrets", count=1, detail="Take it out.", rows=(3,)),),
    }
    memory = run.hardware.memory_gib.model_copy(update={"reference": 1.5})
    run = run.model_copy(
        update={
            "dataset": run.dataset.model_copy(update=found),
            "hardware": run.hardware.model_copy(update={"memory_gib": memory, "prices": "prices of last year"}),
        }
    )
    lines = render([run]).splitlines()
    tables = [place for place, line in enumerate(lines) if line.startswith("|---")]
    assert all(lines[place - 1].startswith("|") and not lines[place - 2] for place in tables)
    text = "\n".join(lines)
    assert "The subset was not stated: the plainest name." in text and "| 128 | 50.0 % | 10.0 % | chosen |" in text
    assert "2 rows, left out" in text and "- **secrets** (1): Take it out. First rows: 3." in text
    assert "reference 1.5; costs by prices of last year." in text


def test_two_runs_of_one_experiment_share_a_report_and_its_notes(workdir: Path) -> None:
    first, report = _done()
    text = report.read_text(encoding="utf-8").replace(NOTES_BEGIN, f"{NOTES_BEGIN}\nTry rank 64 next.")
    report.write_text(text, encoding="utf-8")
    second, same = _done()
    text = same.read_text(encoding="utf-8")
    assert same == report and first.run.id != second.run.id
    assert f"{NOTES_BEGIN}\nTry rank 64 next." in text and text.endswith(f"{NOTES_END}\n")
    assert text.count("| held-out loss | 3 | 1 |") == 2
    assert text.index(f"## Run {max(first.run.id, second.run.id)}") < text.index(
        f"## Run {min(first.run.id, second.run.id)}"
    )


def test_rendering_again_changes_nothing(workdir: Path) -> None:
    result, report = _done()
    before = report.read_bytes()
    write_report(open_run(result.run.folder))
    assert report.read_bytes() == before
    assert [path.name for path in report.parent.iterdir() if path.name.startswith(".")] == []


def test_foreign_text_cannot_become_markup(workdir: Path) -> None:
    result, _ = _done()
    assert "```text\nWhat | is `this`?\n```" in show_run(result.run)
    assert cell("a | b\n<script>`x`</script>") == "a \\| b \\<script\\>\\`x\\`\\</script\\>"


def test_a_score_whose_file_was_changed_or_removed_is_left_out(workdir: Path) -> None:
    run = _done()[0].run
    assert run.evaluation is not None
    file = run.folder / run.evaluation.items
    assert "**Better**: held-out loss 3 → 1 on 10 items" in render([run])
    file.write_text(file.read_text("utf-8").replace("1.0", "0.1"), encoding="utf-8")
    changed = render([run])
    assert "The evaluation does not stand: `eval/heldout_items.jsonl` was changed since" in changed
    assert "| held-out loss | – |" in changed
    assert "3 → 1 on" not in changed
    file.unlink()
    assert "from which its scores came, is not there" in render([run])


def test_a_score_without_a_hash_cannot_enter_the_report(workdir: Path) -> None:
    run = _done()[0].run
    assert run.evaluation is not None
    forged = run.evaluation.comparisons[0].model_copy(update={"metric": "HumanEval", "file": "train.py"})
    evaluation = run.evaluation.model_copy(update={"comparisons": (*run.evaluation.comparisons, forged)})
    text = render([run.model_copy(update={"evaluation": evaluation})])
    assert "| HumanEval | – |" in text
    assert "left out: the evaluation has no hash of `train.py`" in text


def test_forgetting_and_contamination_are_said_in_words(workdir: Path) -> None:
    run = _done()[0].run
    assert run.evaluation is not None
    first = run.evaluation.comparisons[0]
    worse = first.model_copy(update={"metric": "loss of right answers to general questions", "verdict": "worse"})
    caveats = ("2 rows shared text with humaneval and were left out of the training",)
    evaluation = run.evaluation.model_copy(update={"general": (worse,), "caveats": caveats})
    text = render([run.model_copy(update={"evaluation": evaluation})])
    assert "- Beside the goal: **Worse**: loss of right answers" in text
    assert "The training made the model forget." in text
    assert "- To bear in mind: 2 rows shared text with humaneval" in text
