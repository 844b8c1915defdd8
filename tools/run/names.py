"""What a run's folders and its report are called."""

from __future__ import annotations

import re
from pathlib import Path

from ..facts import Spec
from .state import Run

REPORTS = "training_reports"


def experiment_name(spec: Spec) -> str:
    """Return `<model>-<dataset>-<method>`, which names the report; two runs of one experiment share it."""
    model = spec.model.rstrip("/").split("/")[-1]
    dataset = Path(spec.dataset.rstrip("/").split("/")[-1])
    stem = dataset.name.removesuffix("".join(dataset.suffixes[-2:])) if dataset.suffix else dataset.name
    return "-".join(slug(part) for part in (model, stem or dataset.name, spec.method))


def home_of(run: Run, spec: Spec) -> Path:
    """Return the folder that a run of this plan takes."""
    return run.settings.workdir / REPORTS / experiment_name(spec) / run.id


def slug(text: str) -> str:
    """Return `text` in lower case with everything but letters, digits and dots as single hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "unnamed"


def report_path(run: Run) -> Path:
    """Return where this run's experiment is reported."""
    return run.folder.parent.with_name(run.folder.parent.name + ".md")
