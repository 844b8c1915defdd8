"""Text from outside, before an LLM reads it: marked as data, cut, and without secrets or anything that hides.

None of this makes an LLM obey; the gates do that. It makes plain to an LLM where its instructions end, and keeps from
it what it could give away.
"""

from __future__ import annotations

import os
import re
from functools import cache

from ..tools.wording import cut, without_secrets

SECRET_NAMES = re.compile(r"(?:_|^)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$", re.IGNORECASE)
"""Names of environment variables whose values no LLM may read: of litellm's providers, of the Hub, of a person."""
SHORTEST_SECRET = 8
"""A shorter value would be found everywhere."""
KINDS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bhttps?://[^\s/:@]+:[^\s/@]+@"
    r"|\b(?:ASIA|AIza|xox[abprs]-|npm_|pypi-AgEI|glpat-|SG\.|sk_live_|rk_live_)[\w.-]{16,}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
    r"|(?<=[Bb]earer )[\w.~+/-]{16,}=*",
    re.DOTALL,
)
"""Private keys, passwords in URLs, tokens beside those of `tools.wording`, JSON web tokens, bearer headers."""

# Unicode 15: controls but for line and tab, formats (Cf), surrogates, private use, variation selectors, tags.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\ud800-\uf8ff\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_TAG = re.compile(r"[<＜‹﹤]\s*([/／]?)\s*data\b[^>＞›﹥]{0,40}[>＞›﹥]?", re.IGNORECASE)


def as_data(text: str, limit: int) -> str:
    """Return text from outside between `<data>` and `</data>`, safe as `safe` makes it, of at most `limit` characters.

    Args:
        text: From a dataset, a log, the Hub, a file: from anybody but the person.
        limit: Most characters, both ends kept.
    """
    return f"<data>{safe(text, limit)}</data>"


def safe(text: str, limit: int) -> str:
    """Return text without secrets, without invisible characters and without tags that end what is data."""
    return cut(_TAG.sub(r"(\1data)", readable(text)), limit)


def readable(text: str) -> str:
    """Return text, a person's own too, without secrets and without what nobody sees."""
    return redacted(visible(text))


def redacted(text: str) -> str:
    """Return text with every secret that is known here, or looks like one, replaced by what it is."""
    for name, value in _secrets_here():
        text = text.replace(value, f"[{name}]")
    return without_secrets(KINDS.sub("[secret]", text))


def visible(text: str) -> str:
    """Return text without characters that a person does not see and an LLM does."""
    return _UNSEEN.sub("", text)


def _secrets_here() -> tuple[tuple[str, str], ...]:
    """Return names and values of the secrets that this process holds.

    The environment is read here and by no setting: which of its variables are secret is what this is about.
    """
    held = [(name, value) for name, value in os.environ.items() if SECRET_NAMES.search(name)]
    held += [
        ("Hugging Face token", token)
        for token in (_hub_token(os.environ.get("HF_TOKEN"), os.environ.get("HF_HOME")),)
        if token
    ]
    return tuple(sorted((pair for pair in held if len(pair[1]) >= SHORTEST_SECRET), key=lambda pair: -len(pair[1])))


@cache
def _hub_token(_variable: str | None, _home: str | None) -> str | None:
    """Return the token that the Hub's own library would send: of the environment, or of `hf auth login`."""
    from huggingface_hub import get_token

    return get_token()
