"""Asks the person, where one is there; the asking itself is done by whoever stands between them and the planner."""

from __future__ import annotations

from .errors import ToolError


def ask_user(question: str) -> str:
    """Ask the person one question, and return the answer.

    Returns the person's own words, which hold from then on. Ask where only a person can decide: what contradicts
    itself, what does not fit what was stated, which of several is meant. Tools ask for approvals themselves.

    Args:
        question: The question, in one sentence, with the choices and their numbers.

    Raises:
        ToolError: Nobody is there.
    """
    raise ToolError(f"nobody is here to answer `{question}`.", hint="decide by the defaults, or end and say it")
