"""How many rows are to be trained on, as people say it, and which rows are for something else."""

from __future__ import annotations

import pytest
from ftagent.tools.words import read_words
from ftagent.tools.words.samples import read_samples
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("said", "most", "first"),
    [
        ("fine-tune M-1B on the first 5000 rows of a/b", 5000, True),
        ("fine-tune M-1B on 5,000 examples from a/b", 5000, False),
        ("fine-tune M-1B on a/b using only 2k samples", 2000, False),
        ("fine-tune M-1B on a/b, 1.5m conversations at most", 1_500_000, False),
        ("fine-tune M-1B on a random subset of 500 rows of a/b", 500, False),
        ("fine-tune M-1B on a/b, limit training to 1000 rows", 1000, False),
        ("fine-tune M-1B on 10% of a/b", 0.1, False),
        ("fine-tune M-1B on the first half of a/b", 0.5, True),
        ("fine-tune M-1B on a/b with 2.5 % of the data", 0.025, False),
        ("fine-tune M-1B on a/b, train[:1000]", 1000, True),
        ("fine-tune M-1B on a/b, split train[:20%]", 0.2, True),
        ("fine-tune M-1B on a/b, max_train_samples=800", 800, False),
        ("I want 5k rows from a/b, sft M-1B", 5000, False),
        ("DPO on 1,000 preference pairs of a/b with M-1B", 1000, False),
        ("give me M-1B tuned on 400 rows of a/b", 400, False),
        ("evaluate it after you train M-1B on 300 examples of a/b", 300, False),
        ("trainiere M-1B auf den ersten 5000 Zeilen von a/b", 5000, True),
        ("entrena M-1B con 1000 ejemplos de a/b", 1000, False),
        ("finetune M-1B sur 1000 exemples de a/b", 1000, False),
        ("用 M-1B 在 a/b 的前 1000 条数据上微调", 1000, True),
    ],
)
def test_rows_are_counted_in_many_words(said: str, most: float, first: bool) -> None:
    reading = read_words(said)
    assert (reading.model, reading.dataset) == ("M-1B", "a/b") and not reading.unread and not reading.questions
    assert reading.split is None
    wanted = {"max_train_samples": pytest.approx(most)} | ({"sampling": "first"} if first else {})
    assert {name: reading.overrides.get(name) for name in wanted} == wanted
    assert ("sampling" in reading.overrides) == first


@pytest.mark.parametrize(
    "said",
    [
        "evaluate on 200 examples",
        "hold out 100 rows",
        "hold out 5% of the data",
        "batches of 8 examples",
        "200 rows for evaluation",
        "show 3 rows",
        "it has 5000 rows",
        "8 rows a batch",
        "give me 3 examples of its answers",
        "few-shot with 3 examples",
        "100 rows are held out",
    ],
)
def test_rows_for_something_else_are_left_alone(said: str) -> None:
    reading = read_words(f"fine-tune M-1B on a/b, {said}")
    assert reading.overrides.get("max_train_samples") is None
    assert reading.dataset == "a/b" and len(reading.unread) == 1


@pytest.mark.parametrize(
    "said", ["for 3 epochs", "with rank 16 and 4 completions per prompt", "in 2 hours", "on 4 GPUs"]
)
def test_other_numbers_are_no_rows(said: str) -> None:
    assert not read_samples(f"fine-tune M-1B on a/b {said}").overrides


@pytest.mark.parametrize("said", ["a/b (5000 rows)", "a/b (about 20k examples)", "my 5000-row set a/b"])
def test_how_many_rows_there_are_is_no_limit(said: str) -> None:
    assert "max_train_samples" not in read_words(f"fine-tune M-1B on {said}").overrides


def test_a_limit_may_stand_in_brackets() -> None:
    assert read_words("fine-tune M-1B on a/b (only 5000 rows)").overrides == {"max_train_samples": 5000}


def test_two_numbers_of_rows_are_a_question() -> None:
    (question,) = read_words("fine-tune M-1B on 500 rows of a/b, train on 600 rows").questions
    assert "500" in question and "600" in question


@given(st.text(max_size=80))
def test_any_text_is_read_and_only_shortened(text: str) -> None:
    samples = read_samples(text)
    assert samples.overrides or samples.rest == text
