"""One way to write quotes, commas and spaces, so that the patterns need to know one alone."""

from __future__ import annotations

import re

_SIGNS = str.maketrans(
    dict(zip("，、。；：！？", (", ", ", ", ". ", "; ", ": ", "! ", "? "), strict=True))
    | dict(zip("\u3000（）＝～‘’", " ()=~''", strict=True))
    | dict.fromkeys("「」『』“”„«»", '"')
)
"""Chinese and Japanese punctuation, which has its space within, and quotes of every country, as ASCII has them."""

_NO_SPACES = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Kana, Chinese characters and Hangul: scripts that are written up to a Latin name with no space between."""
_SEAM = re.compile(rf"(?<=[{_NO_SPACES}])(?=[A-Za-z0-9$])|(?<=[A-Za-z0-9%])(?=[{_NO_SPACES}])")
_QUOTED = re.compile(r"(\"[^\"]*\"|`[^`]*`)")


def unified(text: str) -> str:
    """Return the text with ASCII punctuation, and with a space where a Latin word or a number meets another script.

    What stands in quotes keeps its spaces: it is a name.
    """
    parts = _QUOTED.split(text.translate(_SIGNS))
    return "".join(part if number % 2 else _SEAM.sub(" ", part) for number, part in enumerate(parts))
