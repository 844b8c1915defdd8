"""Cards for the Hub, written from the run: what the model is, how it was trained, what was measured, what it cost."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .facts import Comparison, Range, Spec
from .rendering import source_of
from .report import cell, unfounded
from .run import Run, experiment_name
from .statistics import in_words
from .templates.upload import MADE_BY, TABLE

if TYPE_CHECKING:
    from huggingface_hub import EvalResult
    from jinja2 import Template

UNKNOWN = "unknown"
"""What the Hub's list of licences has for those that nobody stated (https://huggingface.co/docs/hub/repositories-licenses)."""
METRIC = re.compile(r"[^a-z0-9]+")


def model_card(run: Run, repo_id: str, gguf_id: str | None) -> str:
    """Return the card of the model: data, parameters, versions, evaluation as `model-index`, limits and cost.

    Args:
        run: The run, as far as it is.
        repo_id: The repository of the model.
        gguf_id: That of its GGUF files; None where there are none.
    """
    assert run.spec is not None
    adapter = _is_adapter(run)
    front = _front(
        run.spec,
        library_name="peft" if adapter else "transformers",
        base=run.spec.model_ref.id if _is_on_hub(run.spec) and run.spec.model_ref else None,
        relation="adapter" if adapter else "finetune",
        results=_results(run),
        tags=[run.spec.method],
    )
    return _render("card_model.md", run, front, repo_id=repo_id, gguf_id=gguf_id, adapter=adapter)


def gguf_card(run: Run, repo_id: str, model_id: str) -> str:
    """Return the card of the GGUF files; where their table goes stands `upload.TABLE`.

    Args:
        run: The run, as far as it is.
        repo_id: The repository of the files.
        model_id: That of the model.
    """
    assert run.spec is not None
    front = _front(
        run.spec,
        library_name="gguf",
        base=model_id,
        relation="quantized",
        results=None,
        tags=["gguf", "llama.cpp", run.spec.method],
    )
    return _render("card_gguf.md", run, front, repo_id=repo_id, gguf_id=repo_id, model_id=model_id, table=TABLE)


def licence_of(spec: Spec) -> str:
    """Return the base model's licence as its metadata has it, else `unknown`."""
    stated = spec.model_ref.licence if spec.model_ref else None
    return (stated or UNKNOWN).lower()


def _is_adapter(run: Run) -> bool:
    """Whether an adapter is published, and not the whole model: where others can get its base."""
    assert run.spec is not None and run.spec.model_ref is not None
    return _is_on_hub(run.spec) and (run.folder / "checkpoint" / "adapter_config.json").exists()


def _is_on_hub(spec: Spec) -> bool:
    """Whether others can get the base model under its id."""
    return spec.model_ref is not None and spec.model_ref.source in ("hub", "cache")


def _front(
    spec: Spec,
    *,
    library_name: str,
    base: str | None,
    relation: str,
    results: list[EvalResult] | None,
    tags: list[str],
) -> str:
    """Return what stands at the head of a card, in YAML, as huggingface_hub writes it."""
    from huggingface_hub import ModelCardData

    data: dict[str, Any] = {
        "license": licence_of(spec),
        "library_name": library_name,
        "pipeline_tag": "text-classification" if spec.method == "reward" else "text-generation",
        "tags": [MADE_BY, *tags],
    }
    if base is not None:
        data |= {"base_model": base, "base_model_relation": relation}
    if spec.dataset_ref is not None and spec.dataset_ref.source == "hub":
        data["datasets"] = [spec.dataset_ref.id]
    if results:
        data |= {"model_name": experiment_name(spec), "eval_results": results}
    return ModelCardData(**data).to_yaml()


def _results(run: Run) -> list[EvalResult]:
    """Return the tuned model's scores, those that stand on a file, as the Hub's `model-index` has them."""
    from huggingface_hub import EvalResult

    assert run.spec is not None
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=_data_type(run.spec, comparison),
            dataset_name=_items(run.spec, comparison),
            metric_type=METRIC.sub("_", comparison.metric.lower()).strip("_"),
            metric_name=comparison.metric,
            metric_value=comparison.tuned,
        )
        for comparison in _founded(run)
    ]


def _data_type(spec: Spec, comparison: Comparison) -> str:
    """Return the Hub's id of what was measured on, where it has one."""
    if _is_human_eval(comparison):
        return "openai/openai_humaneval"
    return spec.dataset_ref.id if spec.dataset_ref and spec.dataset_ref.source == "hub" else "held-out-rows"


def _is_human_eval(comparison: Comparison) -> bool:
    return "humaneval" in comparison.metric.lower()


def _items(spec: Spec, comparison: Comparison) -> str:
    where = "HumanEval" if _is_human_eval(comparison) else f"held-out rows of {data_name(spec)}"
    return f"{where} ({comparison.items} items)"


def _founded(run: Run) -> list[Comparison]:
    evaluation = run.evaluation
    if evaluation is None:
        return []
    return [c for c in (*evaluation.comparisons, *evaluation.general) if not unfounded(run, c)]


def data_name(spec: Spec) -> str:
    """Return the dataset's name as others may read it: an id on the Hub, else the file's name without its folders."""
    if spec.dataset_ref is not None and spec.dataset_ref.source == "hub":
        return spec.dataset_ref.id
    return Path(spec.dataset).name


def base_name(spec: Spec) -> str:
    """Return the base model's name as others may read it."""
    ref = spec.model_ref
    return ref.id if ref is not None and ref.source != "folder" else Path(spec.model).name


def _render(template: str, run: Run, front: str, **given: Any) -> str:
    from huggingface_hub import constants

    text = _template(template).render(
        hub=constants.ENDPOINT,
        front=front.strip(),
        run=run,
        spec=run.spec,
        name=experiment_name(run.spec) if run.spec else run.id,
        base=base_name(run.spec) if run.spec else "",
        data=data_name(run.spec) if run.spec else "",
        licence=licence_of(run.spec) if run.spec else UNKNOWN,
        unknown=UNKNOWN,
        scores=_founded(run),
        in_words=in_words,
        caveats=run.evaluation.caveats if run.evaluation else (),
        parameters=[p for p in run.script.parameters if _is_plain(p.value)] if run.script else (),
        version=version("ftagent"),
        **given,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _is_plain(value: Any) -> bool:
    """Whether a value is a number or a short word, and no path or table."""
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 60 and "/" not in value)


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, keep_trailing_newline=True
    )
    environment.filters.update(cell=cell, number=_number, cost=_cost)
    return environment.from_string(source_of(name))


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cost(value: Range | float) -> str:
    return f"${value.expected if isinstance(value, Range) else value:.2f}"
