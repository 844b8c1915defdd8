"""What a script that ran is held to: the plan's data and models, its own constants, rows that can teach."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

UNUSED = ("r", "lora_alpha", "lora_dropout", "max_steps", "logging_steps", "warmup_steps", "max_completion_length")
"""Parameters that a rehearsal changes, or that are no argument of the trainer's."""
LABELS_FROM = 2000
"""Raw rows whose labels are looked at."""
MOST = 0.5
BY_CHANCE = 1e-3
"""Below this probability something else than chance is at work."""


def plain_value(value: Any) -> Any:
    """Return a value as it is compared: an enumeration's own, tuples as lists."""
    value = getattr(value, "value", value)
    return [plain_value(item) for item in value] if isinstance(value, list | tuple) else value


def look_at_data(calls: list[dict[str, Any]], wanted: dict[str, Any]) -> str:
    """Hold what the script loaded against the plan.

    Args:
        calls: The arguments of each call of `load_dataset`.
        wanted: Those that the plan has.
    """
    if not calls:
        raise ValueError(
            "the script does not call `load_dataset`: load the plan's data with load_dataset(**loader, split=SPLIT)"
        )
    for call in calls:
        if all(plain_value(call.get(name)) == plain_value(value) for name, value in wanted.items()):
            return f"`{wanted['path']}`, split `{wanted['split']}`"
    wrong = {name: calls[0].get(name) for name, value in wanted.items() if calls[0].get(name) != value}
    name, value = next(iter(wrong.items()))
    raise ValueError(
        f"the script loads {name} {value!r}, and the plan has {wanted[name]!r}: load with **loader, split=SPLIT"
    )


def look_at_settings(names: dict[str, Any], twins: dict[str, str]) -> str:
    """Hold what the trainer got against what the script says at its top, and both against what no run may do."""
    trainer = names["trainer"]
    for attribute, twin in (("model", "twin"), ("teacher_model", "teacher")):
        if twin in twins and name_of(getattr(trainer, attribute, None)) != twins[twin]:
            raise ValueError(
                f"the script's {attribute} is {name_of(getattr(trainer, attribute, None))!r} and not the one it names "
                "at its top: give the trainer `model`, and a distillation's `teacher`"
            )
    arguments = trainer.args
    for parameter in names.get("PARAMETERS", ()):
        used, said = getattr(arguments, parameter, None), names.get(parameter.upper())
        if parameter not in UNUSED and hasattr(arguments, parameter) and plain_value(used) != plain_value(said):
            raise ValueError(f"{parameter} is {used!r}, and the script says {parameter.upper()} = {said!r}: use that")
    if not arguments.learning_rate > 0:
        raise ValueError(
            f"learning_rate is {arguments.learning_rate}: nothing would be learned; 2e-5 is usual, 2e-4 for LoRA"
        )
    if not arguments.hub_private_repo:
        raise ValueError("hub_private_repo is not True: the model would be published as it is trained; set it to True")
    if arguments.logging_nan_inf_filter:
        raise ValueError("logging_nan_inf_filter hides a loss that is NaN: set it to False, so that the run can stop")
    look_at_adapter(names, trainer.model)
    return "the trainer has the models and values that the script names"


def look_at_adapter(names: dict[str, Any], model: Any) -> None:
    """Hold the adapter against the script's constants."""
    adapters = getattr(model, "peft_config", None)
    if names.get("ADAPTER", "full") == "full":
        if adapters:
            raise ValueError("ADAPTER is full, and the model has an adapter: leave peft_config out")
        if frozen := [name for name, weight in model.named_parameters() if not weight.requires_grad]:
            raise ValueError(f"ADAPTER is full, and {len(frozen)} tensors are frozen, such as {frozen[0]}: train them")
    elif not adapters:
        raise ValueError(
            f"ADAPTER is {names['ADAPTER']}, and the model has no adapter: pass peft_config to the trainer"
        )
    elif (rank := next(iter(adapters.values())).r) != names["R"]:
        raise ValueError(f"the adapter's rank is {rank}, and the script says R = {names['R']}: use that")


def name_of(model: Any) -> str | None:
    """Return where a model was loaded from, be it wrapped in an adapter or not."""
    if hasattr(model, "get_base_model"):
        model = model.get_base_model()
    return model.name_or_path if isinstance(model, PreTrainedModel) else None


# --- rows -------------------------------------------------------------------------------------------------------------


def look_at_pairs(train: Any, raw: Any) -> None:
    """Look for pairs of equal answers, and for answers that changed sides."""
    rows = [train[number] for number in range(len(train))]
    if sum(row["chosen"] == row["rejected"] for row in rows) > MOST * len(rows):
        raise ValueError(
            "chosen and rejected are the same in most rows, so there is nothing to prefer: check the mapping"
        )
    if raw is None or not {"chosen", "rejected"} <= set(raw.column_names):
        return
    kept = {said(row["chosen"]) for row in raw}
    lost = {said(row["rejected"]) for row in raw}
    swapped = sum(said(r["chosen"]) in lost - kept and said(r["rejected"]) in kept - lost for r in rows)
    if swapped > MOST * len(rows):
        raise ValueError(
            "the data's `rejected` answers are the script's `chosen`: it would learn the worse ones; swap them"
        )


def said(answer: Any) -> str:
    """Return the last thing that is said in an answer, which may be text or turns."""
    return str(answer[-1].get("content") if isinstance(answer, list) and answer else answer).strip()


def look_at_verdicts(names: dict[str, Any], raw: Any) -> None:
    """Look for a verdict that all rows share: KTO then has nothing to set apart."""
    mapping, count = names.get("mapping"), min(LABELS_FROM, len(raw))
    rows = (raw[number] for number in range(0, len(raw), max(1, len(raw) // count)))
    verdicts = {(mapping(row) if mapping else row)["label"] for row in rows} | set(names["train"]["label"])
    seen = set(names["train"]["label"])
    if len(verdicts) == 1 or (len(seen) == 1 and _is_fair(names, raw)):
        raise ValueError(f"every label is {next(iter(seen))}: KTO needs both; check the mapping of `label`")


def _is_fair(names: dict[str, Any], raw: Any) -> bool:
    """Whether both verdicts are so common in the data that the script's rows cannot all have one by chance."""
    if "label" not in raw.column_names:
        return False
    labels = [bool(label) for label in raw["label"]]
    share = sum(labels) / len(labels)
    return max(share, 1 - share) ** len(names["train"]) < BY_CHANCE


def asked_by(row: dict[str, Any]) -> str | None:
    """Return what a person said in a prepared row, or None where nobody is asked."""
    turns = next((row[name] for name in ("prompt", "messages", "chosen") if isinstance(row.get(name), list)), None)
    if turns is None:
        return row["prompt"] if isinstance(row.get("prompt"), str) else None
    return next(
        (turn["content"] for turn in turns if turn["role"] == "user" and isinstance(turn["content"], str)), None
    )


def look_at_questions(rows: list[dict[str, Any]], read: list[str]) -> None:
    """Hold what people asked against what the model reads.

    Args:
        rows: Rows as the trainer got them.
        read: Of each, what its tokens say.
    """
    asked = [
        (letters(question), letters(text)) for row, text in zip(rows, read, strict=True) if (question := asked_by(row))
    ]
    if asked and not any(question in text for question, text in asked):
        raise ValueError(
            "the model never reads what the user asked: check that the chat template renders every turn, and max_length"
        )


def letters(text: str) -> str:
    """Return the letters and digits of a text, which no tokenizer changes."""
    return "".join(filter(str.isalnum, text)).casefold()
