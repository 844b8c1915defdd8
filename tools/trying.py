"""One prompt to base and tuned model, side by side: in llama.cpp, or in transformers where that is missing."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from .errors import GateClosed, InputError, ToolError
from .evaluation.models import QUANTISATION, base_folder
from .facts import GgufFile
from .gates import TRAINED
from .llama_cpp import ask, convert, serve, step_for
from .merging import chat_template, merged
from .run import Run
from .trained import Checkpoint, find_checkpoint
from .worker import run_worker

CONTEXT = 2048
"""Tokens that a prompt may have beside its answer."""
TIMEOUT_S = 1800


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What both models say to one prompt, decoded greedily."""

    run: str
    prompt: str
    base: str
    tuned: str
    engine: str
    """What answered: the engine, and the type of the weights."""


def try_run(run: Run, prompt: str, *, tokens: int = 256) -> Tried:
    """Ask base and tuned model the same, with the same engine, type of weights and greedy decoding.

    An exported file answers where there is one, and the base is brought into the same type; else both are converted.
    What was made of the base is kept in the cache.

    Args:
        run: The run, with its training completed.
        prompt: What to ask; a chat's user turn where the model has a chat template, else text to go on with.
        tokens: The longest answer.

    Raises:
        GateClosed: Nothing was trained yet.
        InputError: The prompt is empty, or the model generates nothing.
        ToolError: A model does not load or cannot be converted.
    """
    if not TRAINED.holds(run):
        raise GateClosed(f"there is nothing to try: {TRAINED.reason}.", hint=TRAINED.hint)
    if not prompt.strip():
        raise InputError("there is no prompt.", hint='ftagent try RUN "What is 2 plus 2?"')
    assert run.spec is not None
    if run.spec.method == "reward":
        raise InputError("a reward model answers nothing.", hint="the evaluation shows how it ranks")
    checkpoint = find_checkpoint(run)
    if importlib.util.find_spec("xllamacpp") is None:
        return _in_transformers(run, checkpoint, prompt, tokens)
    return _in_llama_cpp(run, checkpoint, prompt, tokens)


def _in_llama_cpp(run: Run, checkpoint: Checkpoint, prompt: str, tokens: int) -> Tried:
    exported = _exported(run)
    kind = exported.quantisation if exported else QUANTISATION
    base = base_folder(checkpoint)
    file = run.folder / exported.path if exported else _kept(run, merged(run, checkpoint), kind)
    return Tried(
        run=run.id,
        prompt=prompt,
        base=_answer(run, _kept(run, base, kind), base, prompt, tokens),
        tuned=_answer(run, file, checkpoint.folder, prompt, tokens),
        engine=f"llama.cpp, {kind}",
    )


def _exported(run: Run) -> GgufFile | None:
    """Return the file that was exported last and still lies there."""
    return next((file for file in reversed(run.files) if (run.folder / file.path).exists()), None)


def _kept(run: Run, folder: Path, kind: str) -> Path:
    """Return a model as a GGUF file of this type, made once for each state of its weights."""
    weights = sorted(folder.glob("*.safetensors"))
    states = [f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in weights]
    name = hashlib.sha256("\n".join([kind, *states]).encode()).hexdigest()[:16]
    home = run.settings.cache_dir / "gguf"
    home.mkdir(parents=True, exist_ok=True)
    gguf, draft = home / f"{name}-{kind}.gguf", home / f".{name}-{kind}.part"
    if not gguf.exists():
        try:
            _make(run, folder, draft, kind)
            draft.rename(gguf)
        finally:
            draft.unlink(missing_ok=True)
    return gguf


def _make(run: Run, folder: Path, out: Path, kind: str) -> None:
    log, step = run.log("try"), step_for(kind)
    run.journal.tell("progress", step="try", text=f"converting {folder.name} to {kind}")
    if step["convert"]:
        convert(run.settings, folder, out, kind, log=log)
        return
    sixteen = out.with_suffix(".f16")
    try:
        convert(run.settings, folder, sixteen, "F16", log=log)
        request = {"source": str(sixteen), "out": str(out), "ftype": step["ftype"], "importance": None}
        run_worker(run.settings, "quantise.py", request, log=log, timeout_s=TIMEOUT_S)
    finally:
        sixteen.unlink(missing_ok=True)


def _answer(run: Run, gguf: Path, folder: Path, prompt: str, tokens: int) -> str:
    """Serve one file, and ask it as its model is asked."""
    run.journal.tell("progress", step="try", text=f"asking {gguf.name}")
    asked = [{"role": "user", "content": prompt}] if chat_template(folder) else prompt
    with serve(run.settings, gguf, log=run.log("try"), context=CONTEXT + tokens) as url:
        return ask(url, asked, max_tokens=tokens).text


def _in_transformers(run: Run, checkpoint: Checkpoint, prompt: str, tokens: int) -> Tried:
    """Ask both in the worker that measures held-out rows, with no rows."""
    asked = [{"role": "user", "content": prompt}] if chat_template(checkpoint.folder) else prompt
    request = {
        "base": checkpoint.base,
        "revision": checkpoint.revision,
        "checkpoint": str(checkpoint.folder),
        "is_adapter": checkpoint.is_adapter,
        "sets": {},
        "questions": [asked],
        "max_new_tokens": tokens,
    }
    run.journal.tell("progress", step="try", text="asking both models in transformers")
    answer = run_worker(run.settings, "heldout.py", request, log=run.log("try"), timeout_s=TIMEOUT_S)
    if not answer["base_answers"] or not answer["tuned_answers"]:
        raise ToolError("the models said nothing.", hint=f"read {run.log('try')}")
    return Tried(
        run=run.id,
        prompt=prompt,
        base=answer["base_answers"][0],
        tuned=answer["tuned_answers"][0],
        engine=f"transformers {answer['transformers']}, {answer['dtype']}",
    )
