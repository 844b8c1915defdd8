"""SmolLM2-135M-Instruct, the model that a package index carries, served here by llama.cpp as a planner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..tools.llama_cpp import convert, serve
from ..tools.models import resolve_model
from ..tools.settings import load_settings

NAME = "SmolLM2-135M-Instruct"
QUANTISATION = "Q8_0"
CONTEXT = 8192
"""Tokens that it was trained for."""
ANSWER_TOKENS = 256
"""A call takes a tenth of them; this model often never ends by itself."""


@contextmanager
def served_smollm2(cache_dir: Path | None, *, log: Path, slots: int = 1) -> Iterator[str]:
    """Yield the base URL of an OpenAI-compatible server; weights and GGUF file are made at the first call.

    Args:
        cache_dir: Where they lie; None: where ftagent keeps models made from packages.
        log: Where the server's output goes.
        slots: Scenarios that ask at the same time; each keeps the beginning of its prompt in a slot of its own.
    """
    settings = load_settings({"cache_dir": cache_dir})
    found = resolve_model(NAME, settings, None).path
    assert found is not None
    gguf = Path(found).with_name(f"{NAME}-{QUANTISATION}.gguf")
    if not gguf.exists():
        part = gguf.with_suffix(".part")
        convert(settings, Path(found), part, QUANTISATION, log=log)
        part.rename(gguf)
    with serve(settings, gguf, log=log, context=CONTEXT, slots=slots) as url:
        yield f"{url}/v1"
