from __future__ import annotations

import pytest
from ftagent.tools.failures.ladder import _POSSIBLE
from ftagent.tools.failures.recognise import EVIDENCE_CHARS, JobEnd, recognise
from ftagent.tools.failures.table import CLASSES
from ftagent.tools.repair import STEPS

from ..failures.corpus import NONE, Log, read_corpus

CORPUS = read_corpus()


def end_of(log: Log) -> JobEnd:
    return JobEnd(stage=log.stage, exit_code=log.exit_code, reason=log.reason, tail=log.lines)


@pytest.mark.parametrize("log", CORPUS, ids=lambda log: log.name)
def test_every_log_of_the_corpus_is_taken_for_what_it_is(log: Log) -> None:
    failure = recognise(end_of(log))
    assert (failure.name if failure else NONE) == log.failure


def test_every_class_is_shown_by_a_log() -> None:
    assert {entry.name for entry in CLASSES} == {log.failure for log in CORPUS} - {NONE}


def test_every_rung_has_its_step_and_its_condition() -> None:
    rungs = {rung for entry in CLASSES for rung in entry.ladder}
    assert rungs == set(STEPS) == set(_POSSIBLE)


def traceback(message: str) -> tuple[str, ...]:
    return ("Traceback (most recent call last):", '  File "/run/train.py", line 1, in <module>', message)


FULL = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


def test_the_last_error_wins_over_an_earlier_one() -> None:
    tail = (*traceback(FULL), *traceback("OSError: [Errno 28] No space left on device"))
    failure = recognise(JobEnd(stage="failed", exit_code=1, tail=tail))
    assert failure is not None and failure.name == "disk_full"


def test_an_unknown_last_error_is_not_explained_by_an_earlier_one() -> None:
    tail = (*traceback(FULL), *traceback("ZeroDivisionError: division by zero"))
    assert recognise(JobEnd(stage="failed", exit_code=1, tail=tail)) is None


def test_rows_that_cannot_be_read_are_not_explained_by_what_one_of_them_says() -> None:
    tail = (*traceback(FULL), *traceback("datasets.exceptions.DatasetGenerationError: An error occurred"))
    failure = recognise(JobEnd(stage="failed", exit_code=1, tail=tail))
    assert failure is not None and failure.name == "broken_rows"


def test_an_unknown_error_raised_from_a_known_one_is_that_one() -> None:
    link = "The above exception was the direct cause of the following exception:"
    tail = (*traceback(FULL), link, *traceback("acme.TrainingError: step 3 failed"))
    failure = recognise(JobEnd(stage="failed", exit_code=1, tail=tail))
    assert failure is not None and failure.name == "cuda_memory"


@pytest.mark.parametrize("log", [log for log in CORPUS if log.failure == "cuda_memory"], ids=lambda log: log.name)
def test_what_a_training_survived_is_not_why_it_ended(log: Log) -> None:
    tail = (*log.lines, "{'loss': '2.31', 'epoch': '0.1'}")
    assert recognise(JobEnd(stage="failed", exit_code=1, tail=tail)) is None


def test_evidence_holds_no_token_and_no_endless_line() -> None:
    secret = "hf_" + "a" * 34
    tail = traceback(f"httpx.ConnectError: https://user:{secret}@hub " + "x" * 5000)
    failure = recognise(JobEnd(stage="failed", exit_code=1, tail=tail))
    assert failure is not None and failure.name == "network"
    assert not any(secret in line or len(line) > EVIDENCE_CHARS for line in failure.evidence)
    assert any("[Hugging Face token]" in line for line in failure.evidence)


@pytest.mark.parametrize("stage", ["completed", "cancelled", "running", "queued"])
def test_what_has_not_failed_has_no_failure(stage: str) -> None:
    end = JobEnd(stage="failed", exit_code=1, tail=traceback(FULL))
    assert recognise(end) is not None
    assert recognise(JobEnd(stage=stage, exit_code=1, tail=traceback(FULL))) is None  # type: ignore[arg-type]
