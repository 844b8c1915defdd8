"""Each method's own measure on the rows that training never saw, base against tuned, item by item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ToolError
from ..facts import Comparison, Method, Sample
from ..run import Run
from ..script import script_is_unchanged
from ..statistics import compare, compare_perplexity, compare_with_chance
from ..tasks import Task
from ..trained import HELDOUT, Checkpoint, HeldoutRow, heldout_lines, heldout_rows, loaded_as, spread, trained_with
from .general import GENERAL, compare_general, general_rows
from .part import Part, with_file, write_items

FEWEST_ROWS = 2
SAMPLES = 3
SAMPLE_TOKENS = 64
OWN = "heldout"
"""The name of the method's own measure."""

Items = Sequence[Mapping[str, Any]]
GENERATED: tuple[Method, ...] = ("grpo", "rloo", "distillation")


def heldout_tasks(run: Run, checkpoint: Checkpoint) -> dict[str, Task]:
    """Return what must be asked of both models: the method's own measure, and general questions beside it.

    A reward model answers nothing, so it is asked no questions.

    Raises:
        ToolError: Fewer than two rows were held out, or rewards would come from a script that was changed since.
    """
    assert run.script is not None
    method = run.script.method
    _require_enough(len(heldout_lines(run)), f"{HELDOUT} has")
    if method == "sft":
        parameters = trained_with(run)
        own = {name: parameters[name] for name in ("loss_on", "max_length")} | {"rows": str(run.folder / HELDOUT)}
        return {OWN: _losses(run, checkpoint, {"held-out": own, GENERAL: general_rows(run, checkpoint)})}
    worker = "generated.py" if method in GENERATED else "judged.py"
    tasks = {OWN: Task(program=worker, request=_common(run, checkpoint) | _particular(run))}
    if method != "reward":
        tasks[GENERAL] = _losses(run, checkpoint, {GENERAL: general_rows(run, checkpoint)})
    return tasks


def heldout_parts(run: Run, answers: Mapping[str, dict[str, Any]]) -> tuple[Part, Part | None]:
    """Return what base and tuned model made of the held-out rows, and of general questions beside them.

    Args:
        run: The run.
        answers: What each of `heldout_tasks` was answered with.

    Raises:
        ToolError: Fewer than two rows can be compared.
    """
    assert run.script is not None
    method, measured = run.script.method, answers[OWN]
    if method == "sft":
        return _supervised(run, measured)
    items = measured["items"]
    _require_enough(len(items), "what the method takes leaves")
    file = write_items(run, "heldout", items)
    part = Part(
        comparisons=with_file(COMPARE[method](items), file),
        harness=f"{MEASURED[method]} on {len(items)} held-out rows, {_with(measured)}",
        file=file,
    )
    general = answers.get(GENERAL)
    if general is None:
        return part, None
    return part, compare_general(run, general["items"][GENERAL], _samples(run, general))


def _require_enough(rows: int, where: str) -> None:
    if rows < FEWEST_ROWS:
        raise ToolError(
            f"{where} {rows} rows: base and tuned model cannot be compared on fewer than {FEWEST_ROWS}.",
            hint="train on at least 20 rows (a tenth is held out), or call export_gguf without a comparison",
        )


def _common(run: Run, checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "base": checkpoint.base,
        "revision": checkpoint.revision,
        "checkpoint": str(checkpoint.folder),
        "is_adapter": checkpoint.is_adapter,
        "rows": str(run.folder / HELDOUT),
    }


def _particular(run: Run) -> dict[str, Any]:
    """Return what one method's worker needs beside the models and the rows.

    Raises:
        ToolError: The rewards that trained would come from a script that was changed since.
    """
    assert run.spec is not None and run.script is not None
    parameters, method = trained_with(run), run.script.method
    if method not in GENERATED:
        return {"method": method, "max_length": parameters["max_length"]}
    if method != "distillation" and not script_is_unchanged(run):
        raise ToolError(
            f"`{run.script.path}` was changed after the training, and the rewards stand in it.",
            hint="train again: call write_script, preflight and submit_job",
        )
    return {
        "method": method,
        "max_completion_length": parameters["max_completion_length"],
        "script": str(run.folder.resolve() / run.script.path),
        "teacher": run.spec.teacher_ref and loaded_as(run.spec, run.spec.teacher_ref),
    }


def _with(measured: Mapping[str, Any]) -> str:
    return f"transformers {measured['transformers']}, {measured['dtype']} on {measured['device']}"


# --- losses of rows: supervised fine-tuning, and general questions ----------------------------------------------------


def _supervised(run: Run, measured: Mapping[str, Any]) -> tuple[Part, Part]:
    items = measured["items"]["held-out"]
    _require_enough(len(items), "the cut at max_length leaves tokens to predict in")
    file = write_items(run, "heldout", items)
    tokens = sum(item["tokens"] for item in items)
    part = Part(
        comparisons=with_file(_compare_losses(items), file),
        harness=f"loss of {tokens:,} held-out tokens in {len(items)} rows, {_with(measured)}",
        file=file,
        samples=_samples(run, measured),
    )
    return part, compare_general(run, measured["items"][GENERAL])


def _losses(run: Run, checkpoint: Checkpoint, sets: dict[str, dict[str, Any]]) -> Task:
    """Measure the loss of rows, and have both models answer a few held-out questions."""
    request = _common(run, checkpoint) | {
        "sets": sets,
        "questions": [row.prompt for row in _asked(run)],
        "max_new_tokens": SAMPLE_TOKENS,
    }
    return Task(program="heldout.py", request=request)


def _asked(run: Run) -> list[HeldoutRow]:
    return spread(heldout_rows(run), SAMPLES)


def _samples(run: Run, measured: Mapping[str, Any]) -> tuple[Sample, ...]:
    answers = zip(_asked(run), measured["base_answers"], measured["tuned_answers"], strict=True)
    return tuple(
        Sample(prompt=row.question, reference=row.reference, base=base, tuned=tuned) for row, base, tuned in answers
    )


def _compare_losses(items: Items) -> list[Comparison]:
    base, tuned, tokens = ([item[key] for item in items] for key in ("base_loss", "tuned_loss", "tokens"))
    return [
        compare("held-out loss", base, tuned, higher_is_better=False),
        compare_perplexity(base, tuned, tokens),
    ]


# --- what the other methods train -------------------------------------------------------------------------------------


def _compare_preferences(items: Items) -> list[Comparison]:
    """Compare whether each model finds the chosen answer likelier than the rejected one, and by how much."""
    margins = [[item[f"{name}_chosen"] - item[f"{name}_rejected"] for item in items] for name in ("base", "tuned")]
    prefers = [[float(margin > 0) for margin in of_model] for of_model in margins]
    return [
        compare("held-out pairs in which the chosen answer is likelier", *prefers, higher_is_better=True),
        compare("log-probability of the chosen over the rejected answer, nats", *margins, higher_is_better=True),
    ]


def _compare_desirable(items: Items) -> list[Comparison]:
    """Compare how likely answers became: good ones should have risen, and bad ones fallen."""
    signed = [[item[name] * (1 if item["label"] else -1) for item in items] for name in ("base", "tuned")]
    found = [compare("log-probability of answers, good ones less bad ones, nats", *signed, higher_is_better=True)]
    for kind, label in (("good", True), ("bad", False)):
        of_kind = [[item[name] for item in items if item["label"] is label] for name in ("base", "tuned")]
        if of_kind[0]:
            found.append(compare(f"log-probability of {kind} answers, nats", *of_kind, higher_is_better=label))
    return found


def _compare_ranking(items: Items) -> list[Comparison]:
    """Compare the reward model with a coin, since its base has no head that could be asked."""
    right = [item["chosen"] > item["rejected"] for item in items]
    return [compare_with_chance("held-out pairs that are ranked right (base: chance)", right, 0.5)]


def _compare_rewards(items: Items) -> list[Comparison]:
    rewards = [[item[f"{name}_reward"] for item in items] for name in ("base", "tuned")]
    return [compare("reward of the greedy answer to held-out prompts", *rewards, higher_is_better=True)]


def _compare_teacher(items: Items) -> list[Comparison]:
    losses = [[item[f"{name}_loss"] for item in items] for name in ("base", "tuned")]
    return [compare("loss on the teacher's answers to held-out prompts", *losses, higher_is_better=False)]


COMPARE: dict[Method, Callable[[Items], list[Comparison]]] = {
    "sft": _compare_losses,
    "dpo": _compare_preferences,
    "kto": _compare_desirable,
    "reward": _compare_ranking,
    "grpo": _compare_rewards,
    "rloo": _compare_rewards,
    "distillation": _compare_teacher,
}
MEASURED: dict[Method, str] = {
    "dpo": "log-probability of whole answers given their prompt",
    "kto": "log-probability of whole answers given their prompt",
    "reward": "scores of both answers",
    "grpo": "the run's own rewards of greedy answers",
    "rloo": "the run's own rewards of greedy answers",
    "distillation": "loss on the teacher's greedy answers",
}
