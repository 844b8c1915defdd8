"""Base and tuned model on the rows that training never saw: the same tokens, paired, with a verdict."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

from .errors import ToolError
from .facts import Comparison, Evaluation, Sample
from .gates import require
from .run import Run
from .statistics import compare, compare_perplexity
from .trained import CHECKPOINT, HELDOUT, Checkpoint, HeldoutRow, find_checkpoint, heldout_rows, spread, trained_with
from .worker import run_worker

ITEMS = "eval/heldout_items.jsonl"
FEWEST_ROWS = 2
SAMPLES = 3
SAMPLE_TOKENS = 64
TIMEOUT_S = 4 * 3600


def evaluate_model(run: Run) -> Evaluation:
    """Compare the fine-tuned model with its base on the run's held-out rows.

    Returns paired comparisons of the loss of each row (its verdict leads: better, worse or no evidence) and of the
    perplexity over all tokens, three held-out questions answered by both models, and the file with the result of every
    row. Both models see the same tokens, masked and cut as in training.

    Args:
        run: The run, with its training completed.

    Raises:
        ToolError: The checkpoint does not load or is another model, or fewer than two rows were held out.
    """
    require("evaluate_model", run)
    started = time.monotonic()
    checkpoint, rows = find_checkpoint(run), heldout_rows(run)
    _require_enough(len(rows), f"{HELDOUT} has")
    asked = spread(rows, SAMPLES)
    measured = _measure(run, checkpoint, asked)
    items = measured["items"]
    _require_enough(len(items), "the cut at max_length leaves tokens to predict in")
    _write_items(run, items)
    tokens = sum(item["tokens"] for item in items)
    return Evaluation(
        comparisons=_compare(items),
        samples=tuple(
            Sample(prompt=row.question, reference=row.reference, base=base, tuned=tuned)
            for row, base, tuned in zip(asked, measured["base_answers"], measured["tuned_answers"], strict=True)
        ),
        items=ITEMS,
        checkpoint=CHECKPOINT,
        seconds=time.monotonic() - started,
        harness=f"loss of {tokens:,} held-out tokens in {len(items)} rows, "
        f"transformers {measured['transformers']}, {measured['dtype']} on {measured['device']}",
    )


def _require_enough(rows: int, where: str) -> None:
    if rows < FEWEST_ROWS:
        raise ToolError(
            f"{where} {rows} rows: base and tuned model cannot be compared on fewer than {FEWEST_ROWS}.",
            hint="train on at least 20 rows (a tenth is held out), or call export_gguf without a comparison",
        )


def _measure(run: Run, checkpoint: Checkpoint, asked: Sequence[HeldoutRow]) -> dict[str, Any]:
    parameters = trained_with(run)
    request = {
        "base": checkpoint.base,
        "revision": checkpoint.revision,
        "checkpoint": str(checkpoint.folder),
        "is_adapter": checkpoint.is_adapter,
        "rows": str(run.folder / HELDOUT),
        "loss_on": parameters["loss_on"],
        "max_length": parameters["max_length"],
        "questions": [row.prompt for row in asked],
        "max_new_tokens": SAMPLE_TOKENS,
    }
    return run_worker(
        run.settings,
        "heldout.py",
        request,
        log=run.log("evaluate"),
        timeout_s=TIMEOUT_S,
        on_progress=lambda progress: run.journal.tell("progress", step="evaluate", **progress),
    )


def _write_items(run: Run, items: Sequence[dict[str, Any]]) -> None:
    """Write one line for each row; a loss that is no number becomes null, which JSON has."""
    file = run.folder / ITEMS
    file.parent.mkdir(exist_ok=True)
    with file.open("w", encoding="utf-8") as lines:
        for item in items:
            line = {k: v if math.isfinite(v) else None for k, v in item.items()}
            lines.write(json.dumps(line) + "\n")


def _compare(items: Sequence[dict[str, Any]]) -> tuple[Comparison, ...]:
    base, tuned, tokens = ([item[key] for item in items] for key in ("base_loss", "tuned_loss", "tokens"))
    return (
        compare("held-out loss", base, tuned, higher_is_better=False),
        compare_perplexity(base, tuned, tokens),
    )
