"""What was made of the tuned model: quantised files with their proof, and repositories on the Hub."""

from __future__ import annotations

from typing import Literal

from .base import Fact


class GgufProof(Fact):
    """What llama.cpp did with the file, beside what the merged model does in transformers."""

    loads: bool
    answer: str
    stops_at_eos: bool
    template_matches: bool
    tokens_per_s: float | None = None
    special_tokens: bool | None = None
    """Whether the special tokens of all held-out rows came out as themselves; None where an earlier version proved."""
    same_tokens: float | None = None
    """Share of the rows that are cut into the very tokens of the tokenizer."""
    perplexity: float | None = None
    reference_perplexity: float | None = None
    """Of the merged model, over the same tokens."""
    perplexity_error: float | None = None
    """Standard error of the logarithm of their ratio, over rows."""
    measured_tokens: int | None = None
    agreement: float | None = None
    """Share of the tokens of the merged model's greedy answers that the file, too, holds for the likeliest."""


class GgufFile(Fact):
    """One quantised file that was proven."""

    quantisation: str
    path: str
    size_bytes: int
    sha256: str
    proof: GgufProof
    importance: bool = False
    """Whether an importance matrix weighed in the quantisation."""


class Published(Fact):
    """What one repository on the Hub holds of this run."""

    kind: Literal["gguf", "model"]
    repo_id: str
    url: str
    private: bool
    files: dict[str, str]
    """Names of the large files in it, and their SHA-256."""
    kept: str = ""
    """What of its card a person wrote where ftagent would have written, and which therefore stayed."""


class Export(Fact):
    """All files that were asked for."""

    files: tuple[GgufFile, ...]
    merged: str
    job_id: str | None = None
    """The job that made them; None where this machine did."""
    seconds: float
    failed: dict[str, str] = {}
    """Quantisations whose file failed its proof, and why; such a file is neither kept nor published."""
    published: tuple[Published, ...] = ()
