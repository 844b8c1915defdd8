"""When something is repeated, from words: the right expression, or a question; never a guess."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ftagent.tools.cron import firings_a_month
from ftagent.tools.errors import InputError
from ftagent.tools.triggers import THE_DATASET, read_trigger
from ftagent.tools.words import read_words

from ..hub.cron import parse


@pytest.mark.parametrize(
    ("said", "cron"),
    [
        ("every night at 2", "0 2 * * *"),
        ("every night", "0 2 * * *"),
        ("every night at 11", "0 23 * * *"),
        ("every night at 12", "0 0 * * *"),
        ("at 5 every night", "0 5 * * *"),
        ("hourly", "0 * * * *"),
        ("every 6 hours", "0 */6 * * *"),
        ("every 30 minutes", "*/30 * * * *"),
        ("every Monday at 9:30", "30 9 * * 1"),
        ("every Monday and Friday at 9.15 p.m.", "15 21 * * 1,5"),
        ("weekly, on Sundays at 5 UTC", "0 5 * * 0"),
        ("on weekdays at 18:00", "0 18 * * 1-5"),
        ("every evening at 8", "0 20 * * *"),
        ("every day at noon", "0 12 * * *"),
        ("every day at 12 am", "0 0 * * *"),
        ("on the 1st of each month at 4", "0 4 1 * *"),
        ("täglich um 3", "0 3 * * *"),
        ("jeden Montag und Donnerstag um 9 Uhr", "0 9 * * 1,4"),
        ("tous les jours à 3h30", "30 3 * * *"),
        ("cron `0 2 * * 1-5`", "0 2 * * 1-5"),
    ],
)
def test_words_become_the_expression_that_they_mean(said: str, cron: str) -> None:
    read = read_trigger(f"fine-tune M on org/set {said}")
    assert read.question is None
    assert read.trigger is not None and (read.trigger.kind, read.trigger.cron) == ("cron", cron)


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ("daily", "at what time"),
        ("every Monday", "at what time"),
        ("weekly", "on which day"),
        ("monthly", "on which day of the month"),
        ("every 7 hours", "does not come out even"),
        ("every other day at 3", "on which days"),
        ("twice a day", "on which days"),
        ("every day at 25", "no time of the day"),
        ("every day at 14 pm", "no time of the day"),
        ("every day at 2 and at 14", "one time"),
        ("every night at 2 CET", "which hour in UTC"),
        ("every night at 2 Europe/Berlin", "which hour in UTC"),
        ("every night at 2 UTC+3", "which hour in UTC"),
        ("hourly and every night at 2", "both said"),
        ("every Monday at 9 and every Friday at 18", "both said"),
        ("every night at 2 and every night at 5", "both said"),
        ("cron 0 0 31 2 *", "never fires"),
        ("cron 0 24 * * *", "no hour of a schedule"),
        ("and evaluate every new checkpoint", "when are new checkpoints to be evaluated"),
        ("and evaluate every new checkpoint daily", "at what time"),
        ("and check the checkpoints whenever it is updated", "by the clock"),
        ("every night at 2 and evaluate every new checkpoint", "is the training repeated, or"),
        ("every night at 2, test the checkpoints", "is the training repeated, or"),
        ("every Monday at 9 and evaluate every new checkpoint each night", "One schedule trains or evaluates"),
    ],
)
def test_what_can_be_meant_in_two_ways_is_asked(said: str, asks: str) -> None:
    read = read_trigger(f"fine-tune M on org/set {said}")
    assert read.trigger is None
    assert read.question is not None and asks in read.question


@pytest.mark.parametrize(
    ("said", "cron"),
    [
        ("evaluate every new checkpoint each night", "0 2 * * *"),
        ("check the checkpoints every night at 2", "0 2 * * *"),
        ("every night at 3, evaluate all new checkpoints", "0 3 * * *"),
        ("test its newest checkpoints on weekdays at 18:00", "0 18 * * 1-5"),
        ("measure every checkpoint hourly", "0 * * * *"),
        ("check every night at 4 the checkpoints", "0 4 * * *"),
        ("evaluate every new checkpoint of acme/model, each night at 5", "0 5 * * *"),
        ("bewerte jede Nacht um 2 jeden neuen Checkpoint", "0 2 * * *"),
        ("prüfe die Checkpoints täglich um 5", "0 5 * * *"),
        ("jeden Montag um 9 Uhr alle neuen Checkpoints bewerten", "0 9 * * 1"),
        ("évalue chaque nouveau checkpoint chaque nuit à 2h", "0 2 * * *"),
    ],
)
def test_checkpoints_are_evaluated_by_the_clock(said: str, cron: str) -> None:
    for text in (said, f"fine-tune Qwen3-0.6B on org/set and {said}"):
        read = read_trigger(text)
        assert read.question is None
        assert read.trigger is not None
        assert (read.trigger.does, read.trigger.cron, read.trigger.words) == ("evaluate", cron, said)
        assert "heckpoint" not in read.rest


@pytest.mark.parametrize(
    "said", ["fine-tune M on org/set from the newest checkpoint every night at 2, then evaluate it"]
)
def test_a_checkpoint_that_is_named_otherwise_makes_no_series(said: str) -> None:
    read = read_trigger(said)
    assert read.trigger is not None and read.trigger.does == "train"


def test_an_evaluation_of_checkpoints_is_no_evaluation_of_the_run_itself() -> None:
    reading = read_words("fine-tune Qwen3-0.6B on org/set for 3 epochs and evaluate every new checkpoint each night")
    assert (reading.model, reading.dataset, reading.targets) == ("Qwen3-0.6B", "org/set", ("schedule",))
    assert reading.questions == [] and reading.trigger is not None and reading.trigger.does == "evaluate"


@pytest.mark.parametrize(
    ("said", "watched"),
    [
        ("whenever org/set is updated", "org/set"),
        ("each time Org/Set-2.1 gets new rows", "Org/Set-2.1"),
        ("on every commit to org/set", "org/set"),
        ("sobald org/set aktualisiert wird", "org/set"),
        ("whenever the dataset changes", THE_DATASET),
        ("whenever it is updated", THE_DATASET),
    ],
)
def test_a_dataset_that_is_watched_is_one_repository(said: str, watched: str) -> None:
    read = read_trigger(said)
    assert read.trigger is not None and (read.trigger.kind, read.trigger.watched) == ("webhook", watched)


@pytest.mark.parametrize(
    "text", ["fine-tune M on acme/daily-news", "fine-tune M on a/hourly for 2 epochs", "fine-tune M on sat"]
)
def test_names_say_nothing_of_time(text: str) -> None:
    read = read_trigger(text)
    assert (read.trigger, read.question, read.rest) == (None, None, text)


def test_an_instruction_keeps_its_other_values_beside_the_schedule() -> None:
    reading = read_words("fine-tune Qwen3-0.6B on org/set for 3 epochs every Monday at 9:30, budget $5")
    assert (reading.model, reading.dataset, reading.budget_usd) == ("Qwen3-0.6B", "org/set", 5.0)
    assert reading.overrides == {"num_train_epochs": 3}
    assert reading.trigger is not None and reading.trigger.cron == "30 9 * * 1"
    assert reading.targets == ("schedule",)


def test_a_dataset_that_is_named_only_where_it_is_watched_is_trained_on() -> None:
    reading = read_words("fine-tune Qwen3-0.6B whenever org/set is updated")
    assert (reading.model, reading.dataset) == ("Qwen3-0.6B", "org/set")


def test_a_schedule_without_a_time_is_asked_for() -> None:
    assert read_words("fine-tune Qwen3-0.6B on org/set and schedule it").questions == [
        "when is it to run? Say, for example: every night at 2"
    ]


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/15 8-17 * * 1-5", "0 4 1,15 * 1", "30 9 * 2-10/2 0", "0 0 29 2 *"])
def test_a_month_has_as_many_firings_as_the_clock_makes(cron: str) -> None:
    schedule, now, end, fired = parse(cron), datetime(2025, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC), 0
    now -= timedelta(minutes=1)
    while (now := schedule.after(now)) < end:
        fired += 1
    assert firings_a_month(cron) == pytest.approx(fired / 48)


@pytest.mark.parametrize("cron", ["", "0 2 * *", "60 * * * *", "* * 0 * *", "a * * * *", "5-1 * * * *", "*/0 * * * *"])
def test_what_is_no_schedule_is_refused_before_the_hub_sees_it(cron: str) -> None:
    with pytest.raises(InputError):
        firings_a_month(cron)
