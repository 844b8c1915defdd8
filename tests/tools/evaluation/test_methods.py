"""Every method is measured by what it trains, on rows in its own columns, base against tuned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.errors import InputError, ToolError
from ftagent.tools.evaluate import evaluate_model
from ftagent.tools.facts import ModelRef

from ..taught import Finish, Taught, finish, taught

__all__ = ["finish", "taught"]

NUMBERS = range(40, 56)
REWARDS = """
def says_it(completions, answer, **columns):
    return [float(said[0]["content"].startswith(right)) for said, right in zip(completions, answer)]

def is_short(completions, completion_ids, **columns):
    return [None if len(ids) > 100 else -len(ids) / 100 for ids in completion_ids]

rewards = [says_it, is_short]
if __name__ == "__main__":
    raise SystemExit("this would train")
"""


def _turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def _row(number: int, **columns: Any) -> dict[str, Any]:
    return {"prompt": _turn("user", f"What is {number} plus {number}?"), **columns}


def _right(number: int) -> list[dict[str, str]]:
    return _turn("assistant", f"It is {2 * number}.")


WRONG = _turn("assistant", "Zebra umbrella paints.")


def test_dpo_is_judged_by_which_answer_is_likelier(finish: Finish, taught: Taught) -> None:
    # Chosen: nonsense at even numbers. A model that learned sums prefers the sums, so half of its pairs are wrong.
    rows = [
        _row(n, chosen=WRONG, rejected=_right(n)) if n % 2 else _row(n, chosen=_right(n), rejected=WRONG)
        for n in NUMBERS
    ]
    run = finish(taught.base, taught.adapter, rows, method="dpo")
    found = evaluate_model(run)
    pairs, margin = found.comparisons
    assert (pairs.items, pairs.tuned) == (16, 0.5)
    assert pairs.test.startswith(("McNemar", "none: all pairs are equal"))
    items = [json.loads(line) for line in (run.folder / found.items).read_text("utf-8").splitlines()]
    assert all((item["tuned_chosen"] > item["tuned_rejected"]) == (item["row"] % 2 == 0) for item in items)
    expected = sum(item["tuned_chosen"] - item["tuned_rejected"] for item in items) / 16
    assert margin.tuned == pytest.approx(expected)
    assert found.samples[0].reference  # also after DPO both models answer held-out questions
    assert found.general[0].items == 40


def test_log_probabilities_are_those_of_whole_answers_as_trl_takes_them(finish: Finish, taught: Taught) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = finish(taught.base, taught.full, [_row(n, chosen=_right(n), rejected=WRONG) for n in (41, 42)], method="dpo")
    item = json.loads((run.folder / evaluate_model(run).items).read_text("utf-8").splitlines()[0])
    tokenizer, model = AutoTokenizer.from_pretrained(taught.full), AutoModelForCausalLM.from_pretrained(taught.full)
    row = _row(41)["prompt"]
    asked = tokenizer.apply_chat_template(row, add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(row + _right(41), return_dict=True)["input_ids"]
    with torch.inference_mode():
        told = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
    expected = sum(told[place - 1, whole[place]].item() for place in range(len(asked), len(whole)))
    assert item["tuned_chosen"] == pytest.approx(expected, rel=1e-4)


def test_kto_wants_good_answers_up_and_bad_ones_down(finish: Finish, taught: Taught) -> None:
    rows = [_row(n, completion=_right(n) if n % 2 else WRONG, label=bool(n % 2)) for n in NUMBERS]
    signed, good, bad = evaluate_model(finish(taught.base, taught.adapter, rows, method="kto")).comparisons
    assert (good.items, good.verdict, good.higher_is_better) == (8, "better", True)
    assert (bad.items, bad.higher_is_better) == (8, False)
    assert signed.tuned == pytest.approx((good.tuned - bad.tuned) / 2)


def test_a_reward_model_is_held_against_chance(finish: Finish, taught: Taught, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(taught.base)
    model = AutoModelForSequenceClassification.from_pretrained(taught.base, num_labels=1)
    folder = tmp_path / "ranker"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = [_row(n, chosen=_right(n), rejected=WRONG) for n in NUMBERS]
    run = finish(taught.base, folder, rows, method="reward")
    found = evaluate_model(run)
    (ranked,) = found.comparisons
    items = [json.loads(line) for line in (run.folder / found.items).read_text("utf-8").splitlines()]
    right = sum(item["chosen"] > item["rejected"] for item in items)
    assert (ranked.base, ranked.tuned) == (0.5, right / 16)
    assert f"{right} of 16 right" in ranked.test
    assert not found.samples
    with pytest.raises(InputError, match="a reward model answers nothing"):
        evaluate_model(run, benchmarks=["humaneval"])


def test_grpo_is_judged_by_the_rewards_of_its_own_script(finish: Finish, taught: Taught) -> None:
    rows = [_row(n, answer="It is") for n in NUMBERS]
    run = finish(taught.base, taught.adapter, rows, method="grpo", script=REWARDS)
    found = evaluate_model(run)
    (reward,) = found.comparisons
    items = [json.loads(line) for line in (run.folder / found.items).read_text("utf-8").splitlines()]
    assert all(item["tuned_answer"].startswith("It is") for item in items)
    assert all(0.8 < item["tuned_reward"] < 1 for item in items)  # 1, less a hundredth for each token
    assert reward.items == 16
    (run.folder / "train.py").write_text(REWARDS.replace("float(", "1.0 + float("), encoding="utf-8")
    with pytest.raises(ToolError, match="was changed after the training, and the rewards stand in it"):
        evaluate_model(run)


def test_a_student_is_held_against_its_teachers_answers(finish: Finish, taught: Taught) -> None:
    teacher = ModelRef(id="Teacher", source="folder", path=str(taught.full), revision="sha256:0")
    rows = [_row(n) for n in NUMBERS]
    run = finish(taught.base, taught.adapter, rows, method="distillation", spec={"teacher_ref": teacher})
    (loss,) = evaluate_model(run).comparisons
    assert loss.verdict == "better"  # the adapter makes the base what its teacher is
    assert loss.tuned < loss.base
