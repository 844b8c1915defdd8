"""Writes `train.py`: a template of `tools/templates/` in which only literals change, each with where it comes from."""

from __future__ import annotations

import hashlib
from typing import Any

from .backends.hf_inputs import loader_there
from .backends.hf_results import repository_for
from .data.shaping.emitted import source_of
from .data.shaping.shapes import SELECT_COLUMNS
from .errors import ToolError
from .facts import REWARDED_METHODS, DatasetRef, DatasetReport, ModelRef, Parameter, Script, Spec
from .files import write_whole
from .gates import require
from .parameters import choose_parameters
from .rendering import pins_of, render, template_of
from .rewards.settled import emitted_for
from .run import Run, experiment_name
from .trained import loaded_as

SCRIPT = "train.py"
BITSANDBYTES = "bitsandbytes==0.50.2"


def write_script(run: Run, *, overrides: dict[str, Any] | None = None) -> Script:
    """Write `train.py`: readable, standalone, with pinned versions, Trackio, checkpoints and resuming.

    Returns the script's path and hash, the pinned packages, and every parameter with its value, its origin (stated by
    the person, by a rule, or a default) and its reason. What the person stated always wins. By default rules decide the
    rest by method: for sft LoRA r=16 on all linear layers at 2e-4 (3e-4 in runs below 100 steps), full fine-tuning at
    2e-5, cosine with 3 % warm-up, seed 42; for dpo 5e-6 and 5e-7, beta 0.1. Memory, batch and epochs come from
    pick_hardware.

    Args:
        run: The run, with data and hardware settled.
        overrides: Values for learning_rate, lr_scheduler_type, warmup_steps, weight_decay, r, lora_alpha, packing,
            seed, beta or temperature, where the person stated none.

    Raises:
        ToolError: An override is unknown, settled elsewhere, or contradicts what the person stated.
        InputError: The method learns from rewards, and there is none.
    """
    require("write_script", run)
    assert run.spec is not None and run.dataset is not None and run.hardware is not None
    planned = {name: value for repair in run.repairs for name, value in repair.planned.items()}
    repaired = {name: value for repair in run.repairs for name, value in repair.overrides.items()}
    parameters = choose_parameters(run.spec, run.dataset, run.hardware, planned | (overrides or {}), repaired)
    constants = {p.name.upper(): p.value for p in parameters} | _what_it_is(run, run.spec, run.dataset, parameters)
    extra = (BITSANDBYTES,) if constants["ADAPTER"] == "qlora" else ()
    functions = emitted_functions(run.dataset)
    if run.spec.method in REWARDED_METHODS:
        rewards = emitted_for(run.dataset)
        functions = "\n\n\n".join(("\n".join(rewards.imports), rewards.source, functions))
        extra += rewards.packages
    text = render(template_of(run.spec.method), constants, functions, extra)
    content = text.encode()
    write_whole(run.folder / SCRIPT, content)
    return Script(
        path=SCRIPT,
        sha256=hashlib.sha256(content).hexdigest(),
        method=run.spec.method,
        parameters=parameters,
        pins=pins_of(text),
    )


def script_is_unchanged(run: Run) -> bool:
    """Whether the script on disk is, byte by byte, the one that was written."""
    return run.script is not None and hash_on_disk(run) == run.script.sha256


def hash_on_disk(run: Run) -> str | None:
    """Return the SHA-256 of the script as it lies there now, or None where there is none."""
    if run.script is None or run.journal.folder is None:
        return None
    path = run.folder / run.script.path
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


# --- the text ---------------------------------------------------------------------------------------------------------


def _what_it_is(run: Run, spec: Spec, dataset: DatasetReport, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return the constants that no parameter stands for: model, data, names, time, and what the card says."""
    promised = promised_constants(run)
    assert run.hardware is not None and spec.model_ref is not None and spec.dataset_ref is not None
    return {
        **promised,
        "LEFT_OUT": list(dataset.left_out),
        "COLUMNS": {name: dataset.column_types.get(name, "same") for name in dataset.trainer_columns},
        "START": 1 + sum(repair.starts_anew for repair in run.repairs),
        "LEARNS_FROM": _learns_from(spec, dataset),
        "TRACKIO_SPACE_ID": run.settings.trackio_space,
        "TIMEOUT_S": run.hardware.timeout_s,
        "CARD": _card(spec, spec.model_ref, spec.dataset_ref),
        "PARAMETERS": [parameter.name for parameter in parameters],
    }


def _learns_from(spec: Spec, dataset: DatasetReport) -> str | None:
    """Return what tells a teacher, or rewards with all that they stand on, from others; None where rows say it all."""
    if spec.teacher_ref is not None:
        return f"{spec.teacher_ref.id} at {spec.teacher_ref.revision}"
    if spec.method not in REWARDED_METHODS:
        return None
    return f"rewards sha256:{hashlib.sha256(emitted_for(dataset).source.encode()).hexdigest()}"


def promised_constants(run: Run) -> dict[str, Any]:
    """Return the constants that no edit of the script may change: model, data, and the names by which they are found.

    Raises:
        ToolError: The plan's model or dataset is not resolved.
        UserError: The job goes to the Hub, and there is no token to say whose it is.
    """
    spec, dataset = run.spec, run.dataset
    if spec is None or dataset is None or spec.model_ref is None or spec.dataset_ref is None:
        raise ToolError("the plan's model and dataset are not resolved.", hint="call plan_run without offline")
    return {
        **_named(spec, spec.model_ref, "MODEL", "REVISION"),
        **(_named(spec, spec.teacher_ref, "TEACHER", "TEACHER_REVISION") if spec.teacher_ref else {}),
        "LOADER": loader_there(run) | ({"name": dataset.subset} if dataset.subset else {}),
        "SPLIT": dataset.split,
        "PROJECT": experiment_name(spec),
        "RUN": run.id,
        "HUB_MODEL_ID": repository_for(run),
    }


def _named(spec: Spec, model: ModelRef, name: str, revision: str) -> dict[str, Any]:
    """Return the constants that name a model: its folder here, or its id and revision on the Hub."""
    return dict(zip((name, revision), loaded_as(spec, model), strict=True))


def _card(spec: Spec, model: ModelRef, data: DatasetRef) -> dict[str, Any]:
    """Return the front matter of the model card (https://huggingface.co/docs/hub/model-cards)."""
    is_reward = spec.method == "reward"
    card: dict[str, Any] = {"base_model": model.id, "library_name": "transformers", "tags": ["trl", spec.method]}
    card["pipeline_tag"] = "text-classification" if is_reward else "text-generation"
    if data.source == "hub":
        card["datasets"] = [data.id]
    return card | ({"license": model.licence} if model.licence else {})


def emitted_functions(dataset: DatasetReport) -> str:
    """Return the functions that hold out, filter and map, and the line that gives them their parts."""
    mapping = None if dataset.mapping == SELECT_COLUMNS else dataset.mapping  # every script selects its columns
    names = (dataset.holdout.function if dataset.holdout else None, dataset.filter, mapping)
    sources = source_of(*(name for name in names if name))
    given = f"hold_out, why_not, mapping = {', '.join(map(str, names))}"
    return f"{sources}\n\n\n{given}" if sources else given
