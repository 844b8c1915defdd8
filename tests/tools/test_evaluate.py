"""Base and tuned model are measured on the same held-out tokens, those that training would have trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.errors import GateClosed, ToolError
from ftagent.tools.evaluate import evaluate_model
from ftagent.tools.run import new_run
from ftagent.tools.settings import Settings

from .taught import Finish, Taught, addition, finish, steps_told, taught

__all__ = ["finish", "taught"]

SUMS = [addition(number) for number in range(40, 60)]
ALL_QUESTION = {"prompt": [{"role": "user", "content": "What is 1 plus 1? " * 20}], "completion": SUMS[0]["completion"]}
CHAT = [
    {"role": "user", "content": "What is 4 plus 4?"},
    {"role": "assistant", "content": "It is 8."},
    {"role": "user", "content": "And 5 plus 5?"},
    {"role": "assistant", "content": "It is 10, which is twice as much as 5."},
]


def test_a_tuned_adapter_is_better_than_its_base_on_rows_it_never_saw(finish: Finish, taught: Taught) -> None:
    run = finish(
        taught.base, taught.adapter, [*SUMS, ALL_QUESTION]
    )  # the cut at 64 tokens leaves no answer in the last
    steps = steps_told(run)
    found = evaluate_model(run)
    loss, perplexity = found.comparisons
    assert (loss.metric, loss.items, loss.verdict) == ("held-out loss", 20, "better")
    assert loss.p_value < 0.01
    assert perplexity.tuned < perplexity.base
    assert len(found.samples) == 3
    for sample in found.samples:
        assert sample.prompt.startswith("What is ")
        assert sample.reference.startswith("It is ")
        assert sample.base != sample.tuned
    items = [json.loads(line) for line in (run.folder / found.items).read_text(encoding="utf-8").splitlines()]
    assert [item["row"] for item in items] == list(range(20))
    assert [item["tokens"] for item in items] == [8] * 10 + [9] * 10  # from 50 on, the sum has three digits
    assert sum(item["base_loss"] for item in items) / 20 == pytest.approx(loss.base)
    assert set(steps) == {"evaluate"}


def test_a_full_model_is_loaded_in_the_place_of_its_base(finish: Finish, taught: Taught) -> None:
    found = evaluate_model(finish(taught.base, taught.full, SUMS[:4]))
    assert found.comparisons[0].tuned < found.comparisons[0].base
    assert found.comparisons[0].test == "sign test, 0 up and 4 down of 4"
    assert found.verdict == "no evidence"  # four rows cannot show more


def test_a_run_whose_training_has_not_completed_is_not_evaluated(tmp_path: Path) -> None:
    with pytest.raises(GateClosed, match="has not completed"):
        evaluate_model(new_run(Settings(workdir=tmp_path)))


def test_one_held_out_row_is_too_few(finish: Finish, taught: Taught) -> None:
    with pytest.raises(ToolError, match=r"heldout\.jsonl has 1 rows.*at least 20 rows"):
        evaluate_model(finish(taught.base, taught.adapter, SUMS[:1]))


def test_an_adapter_of_another_base_is_refused(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base.parent, taught.adapter, SUMS)
    with pytest.raises(ToolError, match=r"belongs to `.*taught-base`, and the run promises `Tiny-0\.1B`"):
        evaluate_model(run)


def test_a_model_of_another_architecture_is_refused(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.base, SUMS)
    file = run.folder / "checkpoint" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "vocab_size": 32000}), encoding="utf-8")
    with pytest.raises(ToolError, match=r"vocab_size 32000, and `Tiny-0\.1B` has 49152"):
        evaluate_model(run)


def test_an_empty_checkpoint_is_refused(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.base, SUMS)
    shutil.rmtree(run.folder / "checkpoint")
    with pytest.raises(ToolError, match="neither an adapter nor a model"):
        evaluate_model(run)


def test_held_out_rows_that_were_changed_after_training_are_refused(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.adapter, SUMS)
    with (run.folder / "heldout.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(addition(7)) + "\n")
    with pytest.raises(ToolError, match="was changed after the training"):
        evaluate_model(run)


@pytest.mark.parametrize(
    ("row", "loss_on", "max_length"),
    [
        ({"messages": CHAT}, "all", 1024),
        ({"messages": CHAT}, "assistant", 1024),
        ({"messages": CHAT}, "assistant", 40),
        ({"prompt": CHAT[:3], "completion": CHAT[3:]}, "completion", 1024),
        ({"prompt": CHAT[:3], "completion": CHAT[3:]}, "all", 30),
        ({"prompt": "What is 4 plus 4?", "completion": " It is 8."}, "completion", 1024),
        ({"text": "What is 4 plus 4? It is 8."}, "all", 1024),
    ],
)
def test_the_same_tokens_count_as_in_training(
    row: dict[str, Any], loss_on: str, max_length: int, tiny_model: Path, tmp_path: Path
) -> None:
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from ftagent.tools.templates import heldout
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    if loss_on == "assistant":  # SmolLM2's own template has no training twin in TRL; Qwen's uses the same markers
        tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates/qwen2_5.jinja").read_text("utf-8")
    trainer = trl.SFTTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_model),
        args=trl.SFTConfig(
            output_dir=str(tmp_path),
            max_length=max_length,
            assistant_only_loss=loss_on == "assistant",
            completion_only_loss=loss_on == "completion",
            report_to="none",
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=Dataset.from_list([row, row]),
        processing_class=tokenizer,
    )
    expected = trainer.train_dataset[0]
    template = heldout.training_template(tokenizer, loss_on)
    prepared = heldout.prepare(0, row, tokenizer, loss_on, max_length, template)
    assert prepared.tokens == expected["input_ids"]
    assert prepared.labels == expected["labels"]
    assert prepared.trained


def test_a_batch_gives_each_row_the_loss_it_has_alone(tiny_model: Path) -> None:
    torch = pytest.importorskip("torch")
    from ftagent.tools.templates import heldout
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    chats = [{"prompt": CHAT[:n], "completion": CHAT[n : n + 1]} for n in (1, 3)]
    rows = [heldout.prepare(n, chat, tokenizer, "completion", 1024, None) for n, chat in enumerate(chats)]
    together = heldout.batch_losses(model, rows, tokenizer.pad_token_id)
    for row in rows:
        with torch.inference_mode():
            alone = model(input_ids=torch.tensor([row.tokens]), labels=torch.tensor([row.labels])).loss.item()
        assert together[row.number] == pytest.approx(alone, rel=1e-5)


def test_a_checkpoint_with_another_vocabulary_is_refused(finish: Finish, taught: Taught) -> None:
    run = finish(taught.base, taught.adapter, SUMS)
    file = run.folder / "checkpoint" / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    first, second = list(words)[1000:1002]
    words[first], words[second] = words[second], words[first]
    file.write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ToolError, match="has another vocabulary"):
        evaluate_model(run)
