"""Talking with the Hub about jobs: with limits on waiting, retries where they are safe, refusals in plain words.

`huggingface_hub` sets no timeout on the calls about jobs, and repeats none of them. Everything here works with its
releases 1 and 2, which stand on httpx and on httpx2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from .. import stopping
from ..errors import FtagentError, ToolError, UserError
from ..wording import one_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT_S = 30.0
"""Longest silence in the middle of one answer."""
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"""Between the tries of a call that may be repeated."""
LONGEST_PAUSE_S = 60.0
"""However long `Retry-After` says."""
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
NOT_DONE = frozenset({429})
"""Of these, what the server surely did not act upon."""

T = TypeVar("T")


def hub() -> HfApi:
    """Return a client whose every call ends, with the token that this process has now.

    Raises:
        UserError: There is no token, or the Hub is switched off.
    """
    from huggingface_hub import constants, get_session, get_token
    from huggingface_hub.utils import disable_progress_bars

    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, and jobs run on the Hub.", hint="unset it, or use --backend local")
    token = get_token()
    if token is None:
        raise UserError(
            "there is no Hub token, and jobs run in somebody's name.",
            hint="`hf auth login`, or set HF_TOKEN; without one, --backend local",
        )
    disable_progress_bars()  # ftagent tells of progress itself
    get_session().timeout = TIMEOUT_S  # type: ignore[assignment]  # httpx takes seconds, and keeps a Timeout
    return _client(constants.ENDPOINT, token)


@lru_cache(maxsize=1)
def _client(endpoint: str, token: str) -> HfApi:
    """Return the client that remembers what `whoami`, which may not be asked often, has said."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token)


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of a refusal; None where no answer came at all."""
    response = getattr(error, "response", None)
    return response.status_code if response is not None else None


def is_transient(error: Exception) -> bool:
    """Tell whether the same call may well succeed later: no answer, or one that says so."""
    status = status_of(error)
    return status is None or status in TRANSIENT


def http_error() -> type[Exception]:
    """Return the root of everything that a call to the Hub raises: refusals and broken connections alike."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]


def patiently(call: Callable[[], T], what: str, *, changes: bool = False) -> T:
    """Return what an idempotent call returns; it is repeated while that may help.

    Args:
        call: What to do.
        what: What it is for, after "to": `read the job`.
        changes: Whether it changes something on the Hub: then it is not given up half way when the work is to stop.

    Raises:
        UserError: The Hub refuses; only a person can mend that.
        ToolError: It does not answer, or cannot do what is asked.
        Stopped: The work is to stop.
    """
    for pause in (*PAUSES_S, None):
        try:
            return call() if changes else stopping.unless_stopped(call)
        except http_error() as error:
            if pause is None or not is_transient(error):
                raise explained(error, what) from error
            stopping.pause(told_pause_s(error) or pause)
    raise AssertionError("the last try returns or raises")


def uploaded(call: Callable[[], T]) -> T:
    """Return what an upload returns; what broke it is raised as it was.

    `huggingface_hub` wraps whatever happens to a large file in a bare RuntimeError (`_upload_lfs_files`).
    """
    try:
        return call()
    except RuntimeError as error:
        if isinstance(error.__cause__, http_error()):
            raise error.__cause__ from error
        raise


def told_pause_s(error: Exception) -> float | None:
    """Return how long the server asks to wait, cut to what is sensible; None where it does not say, or in a date."""
    response = getattr(error, "response", None)
    said = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(said), LONGEST_PAUSE_S) if said.replace(".", "", 1).isdigit() else None


def explained(error: Exception, what: str) -> FtagentError:
    """Return what a person or the planner can do about a failed call, in one line.

    Args:
        error: What the client raised.
        what: What the call was for, after "to".
    """
    if not isinstance(error, http_error()):
        return ToolError(f"could not {what}: {one_line(str(error), 200)}", hint="try again")
    status, said = status_of(error), _said(error)
    match status:
        case None:
            return ToolError(f"the Hub did not answer when asked to {what} ({type(error).__name__}).", hint="try again")
        case 401:
            return UserError(f"the Hub does not accept the token to {what}: {said}", hint="`hf auth login`")
        case 402:
            return UserError(
                f"the Hub wants payment before it will {what}: {said}",
                hint="add credits at https://huggingface.co/settings/billing, then `ftagent resume`",
            )
        case 403:
            return UserError(
                f"the token may not {what}: {said}",
                hint="use one with the role write, or a fine-grained one with job.write and repo.write "
                "(https://huggingface.co/settings/tokens)",
            )
        case _ if status in TRANSIENT:
            return ToolError(f"the Hub could not {what} now: {status}, {said}", hint="try again in a while")
        case _:
            return ToolError(f"the Hub refuses to {what}: {status}, {said}", hint="change what it names")


def _said(error: Exception) -> str:
    """Return the server's own words in one line."""
    said = getattr(error, "server_message", None) or str(error).strip().splitlines()[-1]
    said = one_line(said, 300)
    return said if said.endswith(".") else f"{said}."
