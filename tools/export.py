"""From a checkpoint to GGUF files that were proven in llama.cpp: merge, convert, quantise, prove."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import InputError, ToolError
from .facts import Export, GgufFile, GgufProof
from .gates import require
from .llama_cpp import (
    CONVERTED,
    Reply,
    ask,
    convert,
    known_quantisation,
    quantise,
    serve,
    served_template,
    write_modelfile,
)
from .merging import chat_template, merged, merged_path
from .run import Run, experiment_name
from .trained import Checkpoint, find_checkpoint, heldout_rows, spread, trained_with

FOLDER = "gguf"
DEFAULT = ("Q4_K_M",)

QUESTIONS = 3
ANSWER_TOKENS = 256
LEAST_CONTEXT = 4096
# Asked where nothing was held out. Small quantised models ramble on broader questions: of seven files of
# SmolLM2-135M all ended this answer, and four that on the capital of France.
SMALL_TALK = [{"role": "user", "content": "What is 2 plus 2?"}]


def export_gguf(run: Run, *, quantisations: list[str] | None = None) -> Export:
    """Turn the trained checkpoint into GGUF files for llama.cpp and Ollama, each proven in a real llama.cpp server.

    Returns the files with size, hash and proof: the file loads, answers a held-out question, stops at EOS by itself and
    has the tokenizer's chat template. Files that were finished by an earlier call are kept. Without `quantisations` the
    ones that the person stated are made, else Q4_K_M.

    Args:
        run: The run, with its training completed.
        quantisations: Names of llama.cpp's, such as Q4_K_M, Q5_K_M, Q6_K, Q8_0 and F16.

    Raises:
        InputError: A quantisation is not known (the message lists those that are), or the model generates nothing.
        ToolError: A step failed, or a file failed its proof.
    """
    require("export_gguf", run)
    assert run.spec is not None
    if run.spec.method == "reward":
        raise InputError("a reward model generates nothing, and GGUF is for models that do.", hint="use checkpoint/")
    started = time.monotonic()
    stated = quantisations or run.spec.overrides.quantisations or DEFAULT
    wanted = list(dict.fromkeys(known_quantisation(name) for name in stated))
    checkpoint = find_checkpoint(run)
    if missing := [name for name in wanted if not _is_finished(run, checkpoint, name)]:
        run = _make(run, checkpoint, missing)
    return Export(
        files=tuple(file for name in wanted for file in run.files if file.quantisation == name),
        merged=merged_path(checkpoint),
        seconds=time.monotonic() - started,
    )


def _is_finished(run: Run, checkpoint: Checkpoint, quantisation: str) -> bool:
    """Whether the file was recorded, is still the same, and was not made from an earlier checkpoint."""
    for file in run.files:
        path = run.folder / file.path
        if file.quantisation == quantisation and path.exists() and _sha256(path) == file.sha256:
            trained = max(part.stat().st_mtime for part in checkpoint.folder.glob("*.safetensors"))
            return path.stat().st_mtime >= trained
    return False


def _make(run: Run, checkpoint: Checkpoint, quantisations: Sequence[str]) -> Run:
    """Make one file after the other, and record each as soon as it is proven."""
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    model = merged(run, checkpoint)
    f16 = folder / "intermediate-F16.gguf"
    f16.unlink(missing_ok=True)
    try:
        for quantisation in quantisations:
            run = run.record(_make_file(run, model, f16, quantisation))
    finally:
        f16.unlink(missing_ok=True)
    return run


def _make_file(run: Run, model: Path, f16: Path, quantisation: str) -> GgufFile:
    """Write and prove one file; it gets its name when it is proven, so that nobody takes another for a good one."""
    assert run.spec is not None
    gguf = f16.with_name(f"{experiment_name(run.spec)}-{quantisation}.gguf")
    unproven = gguf.with_suffix(".unproven.gguf")
    try:
        _write(run, model, f16, unproven, quantisation)
        proof = _prove(run, model, unproven)
        unproven.rename(gguf)
    finally:
        unproven.unlink(missing_ok=True)
    write_modelfile(gguf, _eos_token(model))
    return GgufFile(
        quantisation=quantisation,
        path=f"{FOLDER}/{gguf.name}",
        size_bytes=gguf.stat().st_size,
        sha256=_sha256(gguf),
        proof=proof,
    )


def _write(run: Run, model: Path, f16: Path, out: Path, quantisation: str) -> None:
    """Write one file: by the converter alone, or by the quantiser from 16-bit weights."""
    if quantisation in CONVERTED:
        _tell(run, "convert", f"to {quantisation}")
        convert(run.settings, model, out, quantisation, log=run.log("export"))
        return
    if not f16.exists():
        _tell(run, "convert", "to F16")
        convert(run.settings, model, f16, "F16", log=run.log("export"))
    _tell(run, "quantise", f"to {quantisation}")
    quantise(run.settings, f16, out, quantisation, log=run.log("export"))


def _prove(run: Run, model: Path, gguf: Path) -> GgufProof:
    """Load the file in a real server and ask it held-out questions until it ends an answer by itself.

    Raises:
        ToolError: It does not load, says nothing, does not stop, or has lost its chat template.
    """
    _tell(run, "prove", gguf.name)
    prompts = [row.prompt for row in spread(heldout_rows(run), QUESTIONS)] or [SMALL_TALK]
    context = max(LEAST_CONTEXT, trained_with(run)["max_length"] + ANSWER_TOKENS)
    with serve(run.settings, gguf, log=run.log("export"), context=context) as url:
        served = served_template(url)
        replies = _replies(url, prompts)
    template = chat_template(model)
    _require_good(gguf.name, replies, template is None or template == served)
    last = replies[-1]
    return GgufProof(
        loads=True, answer=last.text, stops_at_eos=True, template_matches=True, tokens_per_s=last.tokens_per_s
    )


def _replies(url: str, prompts: Sequence[Any]) -> list[Reply]:
    """Ask until an answer is whole."""
    replies: list[Reply] = []
    for prompt in prompts:
        replies.append(ask(url, prompt, max_tokens=ANSWER_TOKENS))
        if replies[-1].text and replies[-1].stopped:
            break
    return replies


def _require_good(name: str, replies: Sequence[Reply], template_matches: bool) -> None:
    last = replies[-1]
    if not template_matches:
        failure = "its chat template is not the tokenizer's"
    elif not last.text:
        failure = f"it answered {len(replies)} questions with nothing"
    elif not last.stopped:
        failure = (
            f"it did not stop within {ANSWER_TOKENS} tokens on {len(replies)} questions; the last: {last.text[:80]!r}"
        )
    else:
        return
    raise ToolError(
        f"`{name}` failed its proof in llama.cpp: {failure}.",
        hint="train longer, or try a finer quantisation, such as Q8_0",
    )


def _eos_token(folder: Path) -> str:
    return json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["eos_token"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tell(run: Run, step: str, text: str) -> None:
    run.journal.tell("progress", step=step, text=text)
