"""HumanEval is put to both models alike, judged in the sandbox, paired, and a base is asked only once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.evaluation import benchmark, human_eval
from ftagent.tools.templates.openai_client import Question, Told
from ftagent.tools.trained import find_checkpoint

from ..taught import Finish, Taught, addition, finish, steps_told, taught

__all__ = ["finish", "taught"]


def _judged(item: str, text: str) -> dict[str, Any]:
    return human_eval.judge(Question(key=f"{item}@0", prompt=""), Told(text=text, stopped=True, tokens=1))


@pytest.mark.parametrize("form", ["{body}", "Sure!\n```python\n{whole}```\nIt adds.", "```python\n{whole}", "{whole}"])
def test_right_code_passes_in_whatever_form_it_comes(form: str) -> None:
    item = human_eval.problems()["HumanEval/53"]
    body, whole = item["canonical_solution"], item["prompt"] + item["canonical_solution"]
    assert _judged("HumanEval/53", form.format(body=body, whole=whole)) == {"passed": True, "why": ""}


@pytest.mark.parametrize(
    "text", ["    return x - y\n", "```python\ndef add(x, y):\n    return 5\n```", "", "I can not."]
)
def test_wrong_code_and_talk_fail(text: str) -> None:
    judged = _judged("HumanEval/53", text)
    assert not judged["passed"]
    assert judged["why"]


def test_helpers_of_the_prompt_are_there_for_a_whole_function() -> None:
    item = human_eval.problems()["HumanEval/32"]  # `poly` and `import math` stand before the function to write
    only = item["prompt"][item["prompt"].index("def find_zero") :] + item["canonical_solution"]
    assert _judged("HumanEval/32", f"```python\n{only}\n```")["passed"]


def test_the_shown_functions_do_what_they_say() -> None:
    import doctest

    for shown, solution in human_eval.SHOTS:
        space: dict[str, Any] = {}
        exec(shown + solution, space)
        name = shown.removeprefix("def ").partition("(")[0]
        (found,) = doctest.DocTestFinder().find(space[name], name, globs=space)
        assert doctest.DocTestRunner().run(found) == (0, 1)


def test_no_shown_function_is_an_item() -> None:
    asked = {item["entry_point"] for item in human_eval.problems().values()}
    shown = {text.removeprefix("def ").partition("(")[0] for text, _ in human_eval.SHOTS}
    assert not shown & asked
    texts = " ".join(item["prompt"] for item in human_eval.problems().values()).lower()
    assert not any(word in texts for word in ("initials", "neighbour", "longest rise"))


@pytest.mark.parametrize(
    ("k", "samples", "right", "share"), [(1, 4, 1, 0.25), (2, 4, 1, 0.5), (3, 3, 1, 1), (2, 5, 0, 0)]
)
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(k: int, samples: int, right: int, share: float) -> None:
    assert human_eval.pass_at(k, samples, right) == pytest.approx(share)


def test_both_models_are_asked_alike_and_a_base_only_once(
    finish: Finish, taught: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: item for name, item in human_eval.problems().items() if name in ("HumanEval/53", "HumanEval/23")}
    monkeypatch.setattr(human_eval, "problems", lambda: few)
    monkeypatch.setattr(human_eval, "MAX_TOKENS", 8)
    run = finish(taught.base, taught.adapter, [addition(7), addition(8)])
    checkpoint = find_checkpoint(run)
    part = benchmark.run_human_eval(run, checkpoint, samples=2)
    assert [c.metric.removeprefix("HumanEval ") for c in part.comparisons] == [
        "pass@1",
        "pass@1 against the base with 3 examples",
        "pass@1 of 2 samples",
        "pass@2 of 2 samples",
    ]
    assert all(c.items == 2 and c.file == part.file for c in part.comparisons)
    lines = [json.loads(line) for line in (run.folder / part.file).read_text("utf-8").splitlines()]
    assert len(lines) == 2 * (3 + 2 * 2)
    assert all(line["tokens"] <= 8 for line in lines)
    assert part.caveats == ("the training rows were not held against HumanEval: a gain on it may be memory",)

    steps = steps_told(run)
    again = benchmark.run_human_eval(run, checkpoint, samples=2)
    assert again.comparisons == part.comparisons
    assert not steps  # neither converted nor asked
    assert not list((run.folder / "eval").glob("*.gguf"))
    cached: list[Path] = list((run.settings.cache_dir / "evaluation").iterdir())
    assert len(cached) == 3
