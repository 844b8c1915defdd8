"""What makes supervised training fast must not change what is trained: packing, the loss on answers, the cache."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.script import write_script
from ftagent.tools.worker import WORKER_ENVIRONMENT

from ..scripted import settled_run, write_chats, write_tiny_model

Batch = Callable[[list[dict[str, list[int]]]], dict[str, Any]]

LENGTHS = (5, 9, 3, 12)
CLOSE = 1e-5
"""What float32 sums in another order may differ by."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny model in float32 with random weights, and the loss that TRL gives its models."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(write_tiny_model(tmp_path_factory.mktemp("packed") / "model"))
    tiny = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").train()
    add_fused_lm_head(tiny)
    return tiny


@pytest.fixture(scope="module")
def rows() -> list[dict[str, list[int]]]:
    """Rows of different lengths whose first two tokens carry no loss."""
    import torch

    torch.manual_seed(1)
    drawn = [torch.randint(0, 256, (length,)).tolist() for length in LENGTHS]
    return [{"input_ids": ids, "labels": [-100, -100, *ids[2:]]} for ids in drawn]


def packed(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    """Return the batch that `packing=True` makes of these rows: TRL's packing, then its collator."""
    from datasets import Dataset
    from trl.data_utils import pack_dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    whole = pack_dataset(Dataset.from_list(rows), sum(LENGTHS))
    assert len(whole) == 1
    return DataCollatorForLanguageModeling(pad_token_id=258, padding_free=True)(list(whole))


def padded(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=258)(rows)


def gradients(model: Any, batch: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Return the loss of a batch and its gradient for every weight."""
    model.zero_grad()
    loss = model(**batch, fused_lm_head=True).loss
    loss.backward()
    return loss.item(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


def test_packed_rows_have_the_loss_and_the_gradients_of_rows_apart(
    model: Any, rows: list[dict[str, list[int]]]
) -> None:
    loss, together = gradients(model, packed(rows))
    loss_apart, apart = gradients(model, padded(rows))
    assert loss == pytest.approx(loss_apart, abs=CLOSE)
    assert max(float((together[name] - apart[name]).abs().max()) for name in apart) < CLOSE
    assert max(float(gradient.abs().max()) for gradient in apart.values()) > 100 * CLOSE


def test_a_packed_row_does_not_see_its_neighbour(model: Any, rows: list[dict[str, list[int]]]) -> None:
    import torch

    batch = packed(rows)
    changed = {**batch, "input_ids": batch["input_ids"].clone()}
    first = int(batch["cu_seq_lens_q"][1])
    changed["input_ids"][0, :first] = (changed["input_ids"][0, :first] + 7) % 256
    with torch.no_grad():
        before, after = (model(**{**given, "labels": None}, use_cache=False).logits for given in (batch, changed))
    assert torch.equal(before[0, first:], after[0, first:])
    assert not torch.allclose(before[0, :first], after[0, :first])


@pytest.mark.parametrize("batch", [padded, packed])
def test_the_loss_computed_where_there_is_one_is_the_loss_of_all_positions(
    model: Any, rows: list[dict[str, list[int]]], monkeypatch: pytest.MonkeyPatch, batch: Batch
) -> None:
    import trl.trainer.utils

    found = []
    for compact in (True, False):
        monkeypatch.setattr(trl.trainer.utils, "_use_triton", lambda device, compact=compact: compact)
        found.append(gradients(model, batch(rows)))
    (loss, gradient), (whole, whole_gradient) = found
    assert loss == pytest.approx(whole, abs=CLOSE)
    assert max(float((gradient[name] - whole_gradient[name]).abs().max()) for name in gradient) < CLOSE


def prepared(home: Path) -> dict[Path, int]:
    """Return every table of prepared rows below a folder, and when it was written."""
    return {file: file.stat().st_mtime_ns for file in home.rglob("cache-*.arrow")}


# Gives the tiny model its weights where it has none, and runs the script.
START = """
import os, runpy, sys
from transformers import AutoConfig, AutoModelForCausalLM
model, script = sys.argv[1:]
if not os.path.exists(f"{model}/model.safetensors"):
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model)).save_pretrained(model)
runpy.run_path(script, run_name="__main__")
"""


def test_a_second_start_prepares_no_row_anew(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    write_chats(tmp_path / "chats.jsonl")
    run = settled_run(tmp_path)
    script = run.folder / write_script(run).path
    tables = []
    for seed in ("1", "2"):  # sets of text are walked through in another order, which no fingerprint may follow
        names = {"HOME": "", "HF_HOME": "hf", "TRACKIO_DIR": "trackio"}
        environment = {**WORKER_ENVIRONMENT, **{name: str(tmp_path / folder) for name, folder in names.items()}}
        environment |= {"PYTHONHASHSEED": seed, "HF_HUB_OFFLINE": "1", "FTAGENT_MAX_STEPS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", START, str(model), str(script)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        tables.append(prepared(tmp_path / "hf"))
    first, second = tables
    assert len(first) >= 8, "filter, mapping, tokens and labels of the rows to train on and of those held out"
    assert second == first
