"""What was left of an instruction: parts with a number, a repository or a matter of training that no pattern has read.

They are seldom said for nothing. Who wrote `hold out 5%` must hear that nobody took note of it.
"""

from __future__ import annotations

import re

from .choices import BENCHMARK, FLAVOR, QUANTISATION

LONGEST = 60
"""Characters of a part that are told."""

_READ = (QUANTISATION, BENCHMARK, FLAVOR)
_CLAUSE = re.compile(
    r"[,;:!?()\n]|\.(?!\d)|\b(?:and|but|then|on|with|using|of(?=  )|to|from|und|auf|mit|von|et|sur|avec|de|y|con|e)\b"
)
_REPOSITORY = re.compile(r"(?<![\w/.])[a-z0-9][\w.-]+/[\w.-]*[-\d][\w.-]*(?![\w/])")
"""A name of the Hub: with a hyphen or a digit in it, since `input/output` is no repository."""
_MATTER = re.compile(
    r"\b(?:[a-z]+_proj|target[_ ]modules|attention layers|mlp layers|adam\w*|adafactor|lion|muon|sgd|unsloth|axolotl|"
    r"deepspeed|zero-?[123]|fsdp|liger|flash[- ]?attention|neftune|dora|rslora|pissa|early stopping|label smoothing|"
    r"output[_ ](?:dir|folder)|(?:save|write) (?:it |the model |everything )?(?:to|in|under))\b"
)
"""What a training can have, and no pattern here reads."""
_NUMBER = re.compile(r"(?<![\w.-])[$€£~]?\d[\d.,]*(?:e-?\d+)?(?:%|[a-z]{0,2}\b)?")


def unread_in(text: str) -> tuple[str, ...]:
    """Return the clauses that have a number or a repository in them.

    Args:
        text: What is left of an instruction, in lower case, with spaces where something was read.
    """
    for pattern in _READ:
        text = pattern.sub(" ", text)
    clauses = (" ".join(clause.split()) for clause in _CLAUSE.split(text))
    telling = (_NUMBER, _REPOSITORY, _MATTER)
    return tuple(clause[:LONGEST] for clause in clauses if any(pattern.search(clause) for pattern in telling))
