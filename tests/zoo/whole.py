"""What the whole of ftagent says about a set of the zoo: `validate_dataset`, with its proof in this very process.

A worker imports TRL anew for every dataset, which takes longer than all the rest. Here it is imported once.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from ftagent.tools.data.reading.sources import resolve_dataset
from ftagent.tools.dataset import validate_dataset
from ftagent.tools.errors import InputError
from ftagent.tools.facts import DatasetReport, ModelRef, Spec
from ftagent.tools.run import new_run
from ftagent.tools.settings import Settings

from .judged import Judge, Judgement
from .truth import write_tokenizer
from .zoo_set import Method, ZooSet

CONFIG = {"model_type": "llama", "max_position_embeddings": 8192}


@contextlib.contextmanager
def whole_tool() -> Iterator[Judge]:
    """Give a judge that uses the whole tool."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        patch("datasets.config.HF_DATASETS_CACHE", scratch),
        patch("ftagent.tools.dataset.Worker", ProofHere),
    ):
        folder = Path(scratch)
        write_tokenizer(folder / "model")
        (folder / "model" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        yield lambda zoo_set, method: _judged(zoo_set, method, folder)


def _judged(zoo_set: ZooSet, method: Method, folder: Path) -> Judgement:
    try:
        report = _report(zoo_set, method, folder)
    except InputError as error:
        return Judgement(verdict="refused", why=str(error))
    why = (report.mapping, report.filter, f"left out: {list(report.left_out)}" if report.left_out else "")
    return Judgement(verdict=report.verdict, why=", ".join(filter(None, why)))


def _report(zoo_set: ZooSet, method: Method, folder: Path) -> DatasetReport:
    settings = Settings(workdir=folder)
    file = str(zoo_set.write(folder))
    spec = Spec(
        request="zoo",
        model="tiny",
        dataset=file,
        method=method,
        dataset_ref=resolve_dataset(file, settings),
        model_ref=ModelRef(id="tiny", source="folder", path=str(folder / "model"), revision="sha256:0"),
    )
    return validate_dataset(new_run(settings).record(spec))


class ProofHere:
    """Stands in for `Worker`, and answers in this process."""

    def __init__(self, *_: object, **__: object) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.scratch = Path(self._folder.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def give(self, request: dict[str, Any]) -> None:
        """Take the request as it would arrive in another process."""
        self._request = json.loads(json.dumps(request))

    def answer(self) -> dict[str, Any]:
        """Prove, and keep quiet about it."""
        with (self.scratch / "log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            return json.loads(json.dumps(_prove().main(self._request, self.scratch)))


@cache
def _prove() -> Any:
    """Import the worker's script, whose neighbours must be importable while it is."""
    import torch

    torch.set_num_threads(1)  # as in `truth.run_worker`
    templates = str(files("ftagent.tools.templates"))
    sys.path.insert(0, templates)
    try:
        return importlib.import_module("prove")
    finally:
        sys.path.remove(templates)
        gc.enable()  # which the script turns off until it runs
