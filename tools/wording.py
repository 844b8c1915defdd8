"""Foreign text, made fit to stand in a message; and time as people say it."""

from __future__ import annotations

import re

# What tokens of the services look like whose libraries a training script may use.
SECRETS = {
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "GitHub token": r"\b(ghp|gho|ghs|github_pat)_[A-Za-z0-9_]{20,}",
    "AWS key": r"\bAKIA[A-Z0-9]{16}\b",
}


def one_line(text: str, limit: int = 40) -> str:
    """Return foreign text in one line of at most `limit` characters, without those that steer a terminal."""
    line = "".join(mark if mark.isprintable() else "�" for mark in " ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def without_secrets(text: str) -> str:
    """Return foreign text with everything that looks like a token replaced by what it is."""
    for what, pattern in SECRETS.items():
        text = re.sub(pattern, f"[{what}]", text)
    return text


def duration(seconds: float) -> str:
    """Say seconds as people do: `45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def cut(text: str, limit: int) -> str:
    """Return `text` with its middle replaced by a count when it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]} … [{len(text) - head - tail} characters cut] … {text[len(text) - tail :]}"
