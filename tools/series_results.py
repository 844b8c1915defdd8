"""What the firings of a schedule have found: each checkpoint beside the base model, on the rows that it did not see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .backends.hf_client import hub, patiently
from .backends.hf_series import fetch_results
from .evaluation.heldout import COMPARE, FEWEST_ROWS
from .facts import CheckpointSeries, SeriesPoint

Result = dict[str, Any]


def read_series(repository: str) -> CheckpointSeries:
    """Return what was found of a repository's checkpoints, oldest first.

    Args:
        repository: That of the run, to which the firings push their results.

    Raises:
        UserError: The Hub refuses.
        ToolError: It does not answer.
    """
    folder = patiently(lambda: fetch_results(hub(), repository), f"read the results in `{repository}`")
    results = [json.loads(file.read_text(encoding="utf-8")) for file in _files(folder)]
    bases = {result["rows_sha256"]: result for result in results if "weights" not in result}
    own = [result for result in results if "weights" in result]
    points = (_point(result, bases.get(result["rows_sha256"])) for result in sorted(own, key=_order))
    return CheckpointSeries(repository=repository, points=tuple(points))


def _files(folder: Path | None) -> Iterator[Path]:
    yield from sorted(folder.glob("*.json")) if folder else ()


def _order(result: Result) -> tuple[str, int]:
    return result["at"], result["step"] or 0


def _point(result: Result, base: Result | None) -> SeriesPoint:
    items = _joined(result, base)
    found = COMPARE[result["method"]](items)[0] if len(items) >= FEWEST_ROWS else None
    return SeriesPoint(
        label=result["label"],
        step=result["step"],
        repository=result["repository"],
        revision=result["revision"],
        folder=result["folder"],
        at=result["at"],
        job=result["job"],
        rows_sha256=result["rows_sha256"],
        comparison=found,
        broken=result.get("broken") or "",
    )


def _joined(result: Result, base: Result | None) -> list[dict[str, Any]]:
    """Return the checkpoint's items with the base's columns; a reward model has no base that could be asked."""
    if "items" not in result or (base is None and result["method"] != "reward"):
        return []
    others = {item["row"]: item for item in base["items"]} if base else {}
    return [others.get(item["row"], {}) | item for item in result["items"] if base is None or item["row"] in others]


def point_words(point: SeriesPoint) -> str:
    """Say in one line what was found of a checkpoint."""
    name = f"step {point.step}" if point.step is not None else point.label
    where = f"{point.at[:16].replace('T', ' ')}  {name}"
    if point.broken:
        return f"{where}  broken: {point.broken}"
    if (found := point.comparison) is None:
        return f"{where}  not compared: the base model was not measured on the same rows yet"
    return f"{where}  {found.metric} {found.tuned:.4g} (base {found.base:.4g}): {found.verdict}"
