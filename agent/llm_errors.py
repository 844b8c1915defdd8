"""What went wrong with an LLM, by who acts on it: time, the person, or our own prompt."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..tools.errors import UserError
from ..tools.settings import Settings
from ..tools.wording import one_line
from .foreign import redacted

PASSING = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))
"""HTTP statuses that pass; 529 is Anthropic's for overload. litellm gives 500 to answers that were cut or no JSON."""
SPENT = ("insufficient_quota", "credit balance")
"""What a 429 says that no waiting mends."""
MOST_CHARS = 200
BUILTIN = "without --llm the built-in planner does the job"


class LlmDown(UserError):
    """The LLM did not answer, though nothing is wrong with what it was asked."""

    @classmethod
    def after(cls, tries: int, error: BaseException, settings: Settings, wait_s: float | None) -> LlmDown:
        """Return the error that says how often it was asked, and when it would answer.

        Args:
            tries: How often it was asked.
            error: What came last.
            settings: Name the model.
            wait_s: How long it asks to wait, in seconds.
        """
        where = f" at {settings.llm_base_url}" if settings.llm_base_url else ""
        later = f"it asks to wait {wait_s:.0f} s; " if wait_s else ""
        return cls(
            f"`{settings.llm}`{where} did not answer in {tries} {'try' if tries == 1 else 'tries'}: {_said(error)}",
            hint=f"{later}`ftagent resume` goes on then; {BUILTIN}",
        )


def is_passing(error: BaseException) -> bool:
    """Whether asking again may help: a rate limit, an overload, a timeout, a cut answer."""
    text = str(error).lower()
    return _status(error) in PASSING and not any(word in text for word in SPENT)


def is_too_long(error: BaseException) -> bool:
    """Whether the prompt was longer than the model's window."""
    return type(error).__name__ == "ContextWindowExceededError" or _status(error) == 413


def is_refused_format(error: BaseException) -> bool:
    """Whether the server does not take what was sent beside the messages."""
    return _status(error) in (400, 422) and not is_too_long(error)


def asked_to_wait_s(error: BaseException) -> float | None:
    """Return the seconds of a `Retry-After` header, whether it has seconds or a date; None without one."""
    headers: Any = getattr(error, "litellm_response_headers", None) or {}
    said = str(headers.get("retry-after") or "").strip()
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def explain(error: BaseException, settings: Settings) -> UserError | None:
    """Return what a person can do about an error that no waiting mends; None where it is not for a person to mend.

    Args:
        error: What litellm raised.
        settings: Name the model, and where it is served.
    """
    where = f" at {settings.llm_base_url}" if settings.llm_base_url else ""
    status, text = _status(error), str(error)
    if "LLM Provider NOT provided" in text:
        return UserError(
            f"`{settings.llm}` names no provider that litellm knows.",
            hint="write PROVIDER/MODEL, such as anthropic/claude-sonnet-4-5 or openai/gpt-4o-mini; for a server of "
            "your own openai/NAME with --llm-base-url URL",
        )
    if status in (401, 403):
        return UserError(
            f"`{settings.llm}`{where} refuses the key: {_said(error)}",
            hint=f"{_set_key(settings.llm)}; {BUILTIN}",
        )
    if status == 404:
        return UserError(
            f"there is no model `{settings.llm}`{where}: {_said(error)}",
            hint=f"check the id with the provider, and --llm-base-url; {BUILTIN}",
        )
    if any(word in text.lower() for word in SPENT):
        return UserError(
            f"nothing is left to spend for `{settings.llm}`: {_said(error)}",
            hint=f"top up with the provider; {BUILTIN}",
        )
    return None


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return int(status) if isinstance(status, int | str) and str(status).isdigit() else None


def _said(error: BaseException) -> str:
    """Return what the server said, in one line and without the names that litellm puts before it."""
    text = str(error)
    for name in ("Exception - ", f"{type(error).__name__}: "):
        text = text.rpartition(name)[2] or text
    return one_line(redacted(text), MOST_CHARS).rstrip(".") + "."


def _set_key(model: str) -> str:
    import litellm

    missing = litellm.validate_environment(model).get("missing_keys") or []
    return f"set {' and '.join(missing)}" if missing else "check the key in the environment"
