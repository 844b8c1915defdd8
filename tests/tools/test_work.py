from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.errors import ToolError
from ftagent.tools.facts import DatasetReport, Holdout, Lengths, Method, ModelRef, Overrides, Spec
from ftagent.tools.settings import Settings
from ftagent.tools.work import COMPLETION_TOKENS, GENERATIONS, Work, work_of

QWEN3 = Path(__file__).parents[1] / "configs" / "Qwen3-0.6B"
LENGTHS = Lengths(p50=100, p95=200, p99=250, max=400)


def dataset(rows: int = 1000, **changes: Any) -> DatasetReport:
    values: dict[str, Any] = {
        "verdict": "ready",
        "method": "sft",
        "subset": None,
        "split": "train",
        "rows": rows,
        "mapping": None,
        "trainer_columns": ("messages",),
        "lengths": LENGTHS,
        "max_length": 256,
        "truncated_share": 0,
        "duplicates": 0,
        "overlap": None,
        "holdout": Holdout(function="split_by_seed", rows=rows // 10, reason=""),
        "train_tokens": 90 * rows,
        "trained_tokens": 45 * rows,
    }
    return DatasetReport(**values | changes)


def work(
    data: DatasetReport | None = None,
    *,
    method: Method = "sft",
    tokens: int | None = None,
    length: int | None = None,
    on_gpu: bool = True,
    **stated: Any,
) -> Work:
    model = ModelRef(id="model", source="folder", path=str(QWEN3), revision="sha256:0")
    spec = Spec(request="", model="model", dataset="", method=method, model_ref=model, overrides=Overrides(**stated))
    return work_of(spec, data, tokens, length, on_gpu=on_gpu, settings=Settings())


def test_rows_that_are_held_out_are_not_trained_on() -> None:
    found = work(dataset())
    assert (found.rows, found.epoch_tokens, found.max_length, found.longest) == (900, 90_000, 256, 256)
    assert found.mean_length == 100
    assert found.trained_share == 0.5


def test_small_data_is_seen_three_times_on_a_gpu_and_once_on_a_cpu_or_where_it_is_large() -> None:
    assert work(dataset()).epochs == 3
    assert work(dataset(), on_gpu=False).epochs == 1
    assert work(dataset(100_000)).epochs == 1
    assert work(dataset(), num_train_epochs=0.5).epochs == 0.5


@pytest.mark.parametrize(("rows", "step_rows"), [(1, 4), (100, 4), (300, 8), (1_000, 16), (10**6, 16)])
def test_a_step_has_more_rows_where_there_are_more(rows: int, step_rows: int) -> None:
    assert work(dataset(rows, holdout=None)).step_rows == step_rows


def test_a_step_of_grpo_has_all_completions_of_a_prompt() -> None:
    assert work(dataset(5, holdout=None), method="grpo").step_rows == GENERATIONS
    assert work(dataset(5, holdout=None), method="dpo").step_rows == 4


@pytest.mark.parametrize("generations", [2, 3, 6, 8, 12, 24])
@pytest.mark.parametrize("gpus", [0, 2, 4])
def test_every_batch_makes_a_step_of_all_completions(generations: int, gpus: int) -> None:
    found = work(dataset(5000), method="grpo", num_generations=generations)
    assert found.step_rows % generations == 0
    for batch in (1, 2, 3, 4, 8):
        assert batch * max(1, gpus) * found.accumulation(batch, gpus) % generations == 0


def test_packed_rows_are_fewer_and_as_long_as_allowed() -> None:
    packed = work(dataset(), packing=True)
    assert packed.rows == 352  # 90,000 tokens in rows of 256
    assert (packed.lengths.p50, packed.longest) == (256, 256)
    assert packed.epoch_tokens == work(dataset()).epoch_tokens


def test_steps_that_were_stated_say_how_often_the_data_is_seen() -> None:
    assert work(dataset(), max_steps=225).epochs_of(8) == 2
    assert work(dataset(), max_steps=-1).epochs_of(8) == 3


def test_tokens_without_a_dataset_are_all_of_the_training() -> None:
    found = work(tokens=40_000_000, length=2048)
    assert (found.epoch_tokens, found.epochs, found.longest, found.trained_share) == (40_000_000, 1, 2048, 1)
    assert found.rows == 19_532


@pytest.mark.parametrize("tokens", [0, -5])
def test_no_tokens_are_no_work(tokens: int) -> None:
    with pytest.raises(ToolError, match=f"{tokens} tokens train nothing"):
        work(tokens=tokens)


# --- methods that generate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_every_prompt_is_answered_several_times(method: Method) -> None:
    found = work(dataset(), method=method)
    assert found.rows == 900 * GENERATIONS
    assert found.generated_tokens == 900 * GENERATIONS * COMPLETION_TOKENS
    assert found.epoch_tokens == found.generated_tokens + GENERATIONS * 90_000
    assert found.longest == 256 + COMPLETION_TOKENS
    assert found.trained_share == pytest.approx(found.generated_tokens / found.epoch_tokens)


def test_completions_are_as_many_and_as_long_as_was_stated() -> None:
    found = work(dataset(), method="grpo", num_generations=4, max_completion_length=100)
    assert found.rows == 900 * 4
    assert found.generated_tokens == 900 * 4 * 100
    assert found.longest == 256 + 100


def test_a_teacher_that_was_found_has_its_own_shape() -> None:
    folder = QWEN3.parent / "Qwen3-8B"
    models = [ModelRef(id=path.name, source="folder", path=str(path), revision="0") for path in (QWEN3, folder)]
    spec = Spec(request="", model="", dataset="", method="distillation", model_ref=models[0], teacher_ref=models[1])
    for data, tokens in ((dataset(), None), (None, 10**6)):
        found = work_of(spec, data, tokens, None, on_gpu=True, settings=Settings())
        assert found.teacher is not None
        assert found.teacher.parameters > 10 * found.shape.parameters


def test_distillation_answers_once() -> None:
    assert work(dataset(), method="distillation").rows == 900


def test_of_a_number_of_tokens_some_are_generated() -> None:
    assert work(tokens=1_000_000, length=2048, method="grpo").generated_tokens == 250_000
    assert work(tokens=1_000_000, length=256, method="grpo").generated_tokens == 500_000
    assert work(tokens=1_000_000, length=2048, method="dpo").generated_tokens == 0
