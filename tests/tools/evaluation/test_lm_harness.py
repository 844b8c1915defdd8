"""lm-eval's own tasks and client compare base and tuned model, sample by sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ftagent.tools.errors import ToolError
from ftagent.tools.evaluation.lm_harness import run_lm_eval
from ftagent.tools.trained import find_checkpoint

from ..taught import Finish, Taught, addition, finish, taught

__all__ = ["finish", "taught"]

GENERATED = """
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 12, do_sample: false}}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
CHOSEN = """
task: choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["It is {{{{n}}}}.", "Zebra umbrella paints."]
doc_to_target: 0
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder with two tasks whose rows lie beside them."""
    pytest.importorskip("lm_eval")
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [{"question": f"What is {n} plus {n}?", "answer": f"It is {2 * n}.", "n": 2 * n} for n in range(12, 18)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, text in (("sums", GENERATED), ("choices", CHOSEN)):
        (folder / f"{name}.yaml").write_text(text.format(file=folder / "rows.jsonl"), encoding="utf-8")
    return folder


def test_tasks_that_generate_are_put_to_the_server(finish: Finish, taught: Taught, tasks: Path) -> None:
    run = finish(taught.base, taught.adapter, [addition(7), addition(8)])
    part = run_lm_eval(run, find_checkpoint(run), ["sums"], folder=tasks)
    (found,) = part.comparisons
    assert (found.metric, found.items, found.higher_is_better) == ("sums exact_match", 6, True)
    assert found.test.startswith(("McNemar", "none: all pairs are equal"))
    assert "on llama.cpp" in part.harness
    lines = [json.loads(line) for line in (run.folder / part.file).read_text("utf-8").splitlines()]
    assert sum(line["tuned"] for line in lines) / 6 == pytest.approx(found.tuned)
    with pytest.raises(ToolError, match="lm-eval knows no task nonsense"):
        run_lm_eval(run, find_checkpoint(run), ["nonsense"], folder=tasks)


def test_tasks_that_compare_likelihoods_load_the_model(finish: Finish, taught: Taught, tasks: Path) -> None:
    run = finish(taught.base, taught.full, [addition(7), addition(8)])
    part = run_lm_eval(run, find_checkpoint(run), ["choices"], folder=tasks)
    (found,) = part.comparisons
    assert (found.metric, found.tuned) == ("choices acc", 1.0)
    assert "by transformers in float32" in part.harness
