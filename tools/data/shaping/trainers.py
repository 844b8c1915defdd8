"""Which columns each of TRL's trainers reads meaning into, beside those that it is meant to train on (trl 1.16)."""

from __future__ import annotations

from collections.abc import Sequence

from ...facts import Method
from .mappings import Row
from .turns import is_bad

# `is_conversational` (trl/data_utils.py) judges a row by whichever of these keys a set of strings yields first.
FORMAT_COLUMNS = ("prompt", "completion", "chosen", "rejected", "messages")

# From `_prepare_dataset` and `_set_signature_columns_if_needed` of each trainer in trl/trainer; a picture makes it a
# vision dataset; `label` and `completion` would overwrite what KTO's unpairing makes (`_unpair_row`).
TEMPLATE = ("tools", "chat_template_kwargs")
PICTURES = ("image", "images")
READ_BESIDE: dict[Method, tuple[str, ...]] = {
    "sft": ("prompt", "input_ids", "labels", "completion_mask", "assistant_masks", "seq_lengths", *TEMPLATE, *PICTURES),
    "dpo": ("prompt", "ref_chosen_logps", "ref_rejected_logps", *TEMPLATE, *PICTURES),
    "kto": ("prompt", "completion", "label", "ref_logps", "ref_KL_logps", *TEMPLATE, *PICTURES),
    "reward": ("prompt", "chosen_ids", "rejected_ids", "chosen_input_ids", "rejected_input_ids", "margin", *TEMPLATE),
    "grpo": PICTURES,
    "rloo": PICTURES,
    "distillation": PICTURES,
}


def understood(method: Method, columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Return the columns that a trainer reads beside its own as their authors mean them: a `margin` of numbers."""
    margins = [row.get("margin") for row in rows]
    is_meant = all(isinstance(margin, int | float) and not isinstance(margin, bool) for margin in margins)
    return ["margin"] if method == "reward" and "margin" in columns and is_meant else []


def misleading(method: Method, shown: Sequence[str], columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Return the columns that change what the trainer does with those that it is shown.

    Args:
        method: The training method.
        shown: What the trainer is to train on.
        columns: All columns of the dataset.
        rows: A sample of its rows.
    """
    others = [name for name in columns if name not in shown]
    talks = any(isinstance(row.get(name), list) for row in rows for name in shown if name in FORMAT_COLUMNS)
    found = [name for name in others if name in READ_BESIDE[method]]
    found += [name for name in others if name in FORMAT_COLUMNS and any(_talks(row.get(name)) != talks for row in rows)]
    if method == "sft":
        found += [name for name in others if _misleads_sft(name, shown, [row.get(name) for row in rows], talks)]
    return sorted(set(found))


def _misleads_sft(name: str, shown: Sequence[str], values: Sequence[object], talks: bool) -> bool:
    if name == "text":  # the end of the answer would go to this column (`add_eos`)
        return not talks
    if name == "conversations":
        return any(map(_is_sharegpt, values))
    # Answers that are said to be bad would be trained on like the good ones.
    return "completion" in shown and any(is_bad({name: value}) for value in values)


def _talks(value: object) -> bool | None:
    """What `is_conversational` makes of a cell; None where it raises."""
    if not isinstance(value, list):
        return False
    return (isinstance(value[0], dict) and "role" in value[0]) if value else None


def _is_sharegpt(value: object) -> bool:
    """Whether SFTTrainer would replace `messages` by these conversations (`is_conversational_from_value`)."""
    return (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict) and {"from", "value"} <= value[0].keys()
    )
