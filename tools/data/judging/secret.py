"""Credentials in a text, by kind; the values themselves never leave this module.

Prefixes and lengths are those that the issuers give their tokens, as in the rules of gitleaks
(https://github.com/gitleaks/gitleaks, MIT). Not covered: passwords, and whatever else has no form of its own.

The scanners that exist were measured on 2 MB of library code and left out: detect-secrets takes 17 s and finds 34,000
"secrets" in the first sixth, datafog-core takes `A@sps.diags` for an e-mail address and numbers for post codes,
betterleaks finds nothing wrongly, but runs Go in our process, weighs 24 MB and has no wheel for Linux on ARM.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import NamedTuple


class Token(NamedTuple):
    """What a credential looks like: any of the beginnings, searched first since that is fast, and the whole."""

    kind: str
    beginnings: tuple[str, ...]
    pattern: re.Pattern[str]


TOKENS = (
    Token("AWS access key", ("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)([A-Z2-7]{16})\b")),
    Token(
        "GitHub token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"\b(?:gh[pousr]_([A-Za-z0-9]{36})|github_pat_(\w{82}))\b"),
    ),
    Token("GitLab token", ("glpat-",), re.compile(r"\bglpat-([\w-]{20})(?![\w-])")),
    Token("Hugging Face token", ("hf_",), re.compile(r"\bhf_([A-Za-z]{34})\b")),
    Token(
        "OpenAI key", ("T3BlbkFJ",), re.compile(r"\bsk-[\w-]{0,120}?([A-Za-z0-9_-]{20,74}T3BlbkFJ[A-Za-z0-9_-]{20})")
    ),
    Token("Anthropic key", ("sk-ant-",), re.compile(r"\bsk-ant-(?:api|admin)\d\d-([\w-]{93}AA)\b")),
    Token("Google API key", ("AIza",), re.compile(r"\bAIza([\w-]{35})(?![\w-])")),
    Token("Stripe live key", ("k_live_",), re.compile(r"\b[sr]k_live_([0-9a-zA-Z]{24,99})\b")),
    Token("Slack token", ("xox",), re.compile(r"\bxox[abprs]-\d{10,13}-((?:\d{10,13}-)?[a-zA-Z0-9-]{20,40})")),
    Token("npm token", ("npm_",), re.compile(r"\bnpm_([A-Za-z0-9]{36})\b")),
    Token("PyPI token", ("pypi-AgEIcHlwaS5vcmc",), re.compile(r"\bpypi-AgEIcHlwaS5vcmc([\w-]{50,999})")),
    Token("SendGrid key", ("SG.",), re.compile(r"\bSG\.([\w-]{22}\.[\w-]{43})(?![\w-])")),
    # A mere mention of the header is no key: 64 characters of base64, one line of it, have to follow.
    Token(
        "private key",
        ("PRIVATE KEY",),
        re.compile(r"-----BEGIN (?:[A-Z]{2,9} ){0,2}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[rn])+([A-Za-z0-9+/=]{64})"),
    ),
)

# gitleaks asks most of its tokens for 3 bits a character; a placeholder has fewer, or is typed along the keyboard.
ENTROPY_BITS = 3.0
PLACEHOLDERS = ("example", "xxxx", "12345", "abcde", "your", "0000", "qwert", "redacted")


def secret_kinds(text: str) -> list[str]:
    """Return the kinds of credentials in a text."""
    return [
        token.kind
        for token in TOKENS
        if any(beginning in text for beginning in token.beginnings)
        and any(_is_random(body) for found in token.pattern.finditer(text) for body in found.groups() if body)
    ]


def _is_random(body: str) -> bool:
    shares = [count / len(body) for count in Counter(body).values()]
    return -sum(p * math.log2(p) for p in shares) >= ENTROPY_BITS and not any(p in body.lower() for p in PLACEHOLDERS)
