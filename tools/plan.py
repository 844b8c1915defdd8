"""From the user's words to a `Spec`: what was stated, what was inferred and why, what a person must decide."""

from __future__ import annotations

import importlib.util
from typing import get_args

from pydantic import ValidationError

from .answered import with_answers
from .errors import InputError, ToolError
from .facts import Method, Overrides, Spec, Target
from .gates import require
from .run import Run
from .settings import Settings
from .wording import one_line, without_secrets
from .words import Reading, read_words

EXAMPLE = 'ftagent "fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl"'
HUMAN_EVAL = "humaneval"
LLAMA_CPP_MODULES = ("xllamacpp", "cyllama")


def plan_run(
    run: Run,
    request: str,
    *,
    model: str | None = None,
    dataset: str | None = None,
    subset: str | None = None,
    split: str | None = None,
    offline: bool = False,
) -> Spec:
    """Read the user's request and find its model and dataset.

    Returns the plan: model, dataset, method, targets, every stated value under TRL's and PEFT's names, and the
    reason for everything that was inferred. `questions` is not empty when a person must decide first. By default the
    names come from the request, the method is sft, and the targets are evaluate and export.

    Args:
        run: The run that is planned.
        request: The user's own words, unchanged.
        model: The model's folder or id, when the request does not name it plainly.
        dataset: The dataset's file, folder or id, when the request does not name it plainly.
        subset: The dataset's subset (configuration).
        split: The split to train on.
        offline: Read the words only; names stay as said and unverified.

    Raises:
        InputError: No model or dataset is named, or it cannot be found; the message lists what was tried.
        GateClosed: A job of the run's plan was started: what it trains, spends and uploads was approved.
    """
    require("plan_run", run)
    request = without_secrets(request)  # journal and report keep it
    reading = with_answers(read_words(request), run.answers)
    for name, value in (("model", model), ("dataset", dataset), ("subset", subset), ("split", split)):
        if value is not None:
            _keep_stated(name, getattr(reading, name), value)
            setattr(reading, name, value)
    spec = _spec(request, reading, run.settings)
    if not offline:
        refuse_unbuilt(spec)
        spec = _resolve(spec, run)
    return spec


def refuse_unbuilt(spec: Spec) -> None:
    """Refuse what was asked for and cannot be done, before anything else is done.

    Raises:
        InputError: With what was asked for, and what can be had instead.
    """
    if "schedule" in spec.targets and spec.backend != "hf-jobs":
        raise InputError(
            "a schedule needs a machine that is always there, and this one is not.",
            hint="--backend hf-jobs: Hugging Face Jobs repeats what ran there",
        )
    if "publish" in spec.targets:
        from .publish import refuse_unpublishable

        refuse_unpublishable(spec)
    refuse_unanswerable(spec)


def refuse_unanswerable(spec: Spec) -> None:
    """Refuse what the trained model could not be asked: everything by a reward model, and tasks without their harness.

    Raises:
        InputError: With the reason, and what can be had instead.
    """
    benchmarks = spec.overrides.benchmarks or ()
    if spec.method == "reward" and benchmarks:
        raise InputError(
            f"a reward model answers nothing: {', '.join(benchmarks)} cannot be put to it.", hint="leave benchmarks out"
        )
    if spec.method == "reward" and "export" in spec.targets:
        raise InputError(
            "a reward model generates nothing, and GGUF is for models that do.", hint="leave the export out"
        )
    if spec.backend != "local":
        return  # a job brings along what it needs
    others = [name for name in benchmarks if name != HUMAN_EVAL]
    if others and importlib.util.find_spec("lm_eval") is None:
        raise InputError(f"{', '.join(others)} need lm-eval.", hint="pip install 'ftagent[eval]'")
    if missing := [m for m in LLAMA_CPP_MODULES if importlib.util.find_spec(m) is None and benchmarks]:
        raise InputError(f"benchmarks need {', '.join(missing)}.", hint="pip install 'ftagent[demo]'")


def plan_for(
    run: Run,
    *,
    model: str | None,
    dataset: str | None = None,
    method: str | None = None,
    subset: str | None = None,
    split: str | None = None,
) -> Spec:
    """Return the plan of named parts, for one tool that works without a run.

    Raises:
        InputError: No model is named, or a name cannot be found.
    """
    if model is None:
        raise InputError("no model is named.", hint="--model FOLDER or --model ORG/NAME")
    given = {"model": model, "dataset": dataset, "method": method, "subset": subset, "split": split}
    named = {name: value for name, value in given.items() if value is not None}
    try:
        spec = Spec.model_validate({"request": "", "dataset": "", **named, "stated": tuple(named)})
    except ValidationError as error:
        raise InputError(f"`{method}` is no method.", hint=f"one of {', '.join(get_args(Method))}") from error
    if run.settings.backend is not None:
        spec = spec.model_copy(update={"backend": run.settings.backend, "stated": (*spec.stated, "backend")})
    from .models import resolve_model

    # The dataset is left to the tool that reads it, which has something to do while its bytes are hashed.
    model_ref = resolve_model(spec.model, run.settings, run.journal.tell, sketch=True)
    return spec.model_copy(update={"model_ref": model_ref})


def _keep_stated(name: str, stated: str | None, given: str) -> None:
    """Let an argument complete what the person said (`Qwen3-0.6B` to `Qwen/Qwen3-0.6B`), never replace it."""
    if stated is not None and given.lower() != stated.lower() and not given.lower().endswith("/" + stated.lower()):
        raise ToolError(
            f"the person stated {name} `{stated}`; `{given}` is another one.", hint=f"leave `{name}` out, or ask them"
        )


def _spec(request: str, reading: Reading, settings: Settings) -> Spec:
    if not request.strip():
        raise InputError("there is no instruction.", hint=EXAMPLE)
    for what, name in (("model", reading.model), ("dataset", reading.dataset)):
        if name is None:
            raise InputError(f"`{one_line(request, 60)}` names no {what}.", hint=f"name both, as in {EXAMPLE}")
    stated = [name for name in ("model", "dataset", "subset", "split", "method") if getattr(reading, name)]
    stated += list(reading.overrides)
    inferred: dict[str, str] = {}
    if reading.method is None:
        inferred["method"] = "no method is named, and supervised fine-tuning is the usual first step"
    targets = _targets(reading, stated, inferred)
    backend = settings.backend or reading.backend
    if backend is None and reading.flavor is not None:
        backend = "hf-jobs"
        inferred["backend"] = f"{reading.flavor} is rented from Hugging Face Jobs"
    elif backend is None:
        backend = "local"
        inferred["backend"] = "neither the instruction nor the settings name one"
    else:
        stated.append("backend")
    stated += [name for name in ("budget_usd", "max_hours", "flavor", "trigger") if getattr(reading, name) is not None]
    assert reading.model is not None and reading.dataset is not None
    return Spec.model_validate(
        {
            "request": request,
            "model": reading.model,
            "dataset": reading.dataset,
            "subset": reading.subset,
            "split": reading.split,
            "method": reading.method or "sft",
            "targets": targets,
            "overrides": Overrides(**reading.overrides),
            "budget_usd": reading.budget_usd,
            "backend": backend,
            "max_hours": reading.max_hours,
            "flavor": reading.flavor,
            "plan_only": reading.plan_only,
            "unread": reading.unread,
            "trigger": reading.trigger,
            "stated": tuple(stated),
            "inferred": inferred,
            "questions": (*reading.questions, *_open_questions(reading)),
        }
    )


def _open_questions(reading: Reading) -> list[str]:
    """Return what a method needs and nobody named."""
    if reading.method == "distillation" and "teacher" not in reading.overrides:
        return ["which model is the teacher? Say: distil TEACHER into STUDENT"]
    return []


def _targets(reading: Reading, stated: list[str], inferred: dict[str, str]) -> tuple[Target, ...]:
    repeated: tuple[Target, ...] = tuple(target for target in reading.targets if target == "schedule")
    named = reading.targets != repeated  # a schedule says nothing of what is done with the model
    if named or reading.refused_targets:
        stated.append("targets")
    if named:
        return _with_files(reading, inferred)
    default: list[Target] = ["evaluate", "export"]
    reason = "no target is named: a model is compared with its base and exported to GGUF"
    if reading.method == "reward":
        default.remove("export")
        reason = "no target is named; a reward model generates nothing, so it is not exported to GGUF"
    elif missing := [m for m in LLAMA_CPP_MODULES if importlib.util.find_spec(m) is None]:
        default.remove("export")
        reason = f"no target is named; the export is left out because {', '.join(missing)} is not installed"
    inferred["targets"] = reason
    return (*(target for target in default if target not in reading.refused_targets), *repeated)


def _with_files(reading: Reading, inferred: dict[str, str]) -> tuple[Target, ...]:
    """Return what was asked for; who publishes a model that generates, publishes its GGUF files, too."""
    targets = reading.targets
    left_out = "export" in (*targets, *reading.refused_targets) or reading.method == "reward"
    if "publish" not in targets or left_out:
        return targets
    inferred["export"] = "what is published is published as GGUF files, too; say `no GGUF` for the model alone"
    return tuple(dict.fromkeys((*(t for t in targets if t == "evaluate"), "export", *targets)))


def _resolve(spec: Spec, run: Run) -> Spec:
    from .backends.hf_request import refuse_local_inputs
    from .data.reading.sources import resolve_dataset
    from .models import resolve_model

    # The dataset first: it is the cheaper of the two to look up, and the more often mistyped.
    dataset = resolve_dataset(spec.dataset, run.settings)
    model = resolve_model(spec.model, run.settings, run.journal.tell)
    named = spec.overrides.teacher
    teacher = resolve_model(named, run.settings, run.journal.tell) if named else None
    spec = spec.model_copy(update={"dataset_ref": dataset, "model_ref": model, "teacher_ref": teacher})
    if spec.backend == "hf-jobs":
        refuse_local_inputs(spec)
    return spec
