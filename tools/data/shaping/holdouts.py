"""Hold-outs: dataset -> (rows to train on, rows held out).

The functions here are emitted into the training script as they stand here (`emitted.source_of`), so each stands
alone: no imports, no names from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def split_by_column(rows):
    """Hold out the rows whose own `split` column says so, at most 200 of them."""
    names = ("test", "validation", "valid", "val", "eval", "dev")
    sides = [str(side).lower() in names for side in rows["split"]]
    heldout = [number for number, is_heldout in enumerate(sides) if is_heldout]
    train = [number for number, is_heldout in enumerate(sides) if not is_heldout]
    return rows.select(train), rows.select(heldout[:: -(-len(heldout) // 200)])


def split_given(rows):
    """Hold out the evaluation split that the dataset brings along, at most 200 of its rows."""
    train = rows.info.splits[str(rows.split).split("+")[0]].num_examples
    step = -(-(len(rows) - train) // 200)
    return rows.select(range(train)), rows.select(range(train, len(rows), step))


def split_by_seed(rows):
    """Hold out a tenth of the rows, at least 1 and at most 200, drawn with a fixed seed."""
    parts = rows.train_test_split(test_size=max(1, min(200, len(rows) // 10)), seed=42)
    return parts["train"], parts["test"]


HOLDOUTS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    function.__name__: function for function in (split_by_column, split_given, split_by_seed)
}
