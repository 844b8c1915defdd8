"""Making what costs money exactly once, whatever becomes of the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from ..errors import FtagentError, ToolError
from ..stopping import shielded
from .hf_client import NOT_DONE, PAUSES_S, explained, http_error, is_transient, patiently, status_of, told_pause_s

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo

T = TypeVar("T")
LOOKS, LOOK_PAUSE_S = 3, 2.0
"""How often, after an answer that was lost, the job is looked for before another one may be started."""


def post_once(post: Callable[[], T], find: Callable[[], T | None], what: str) -> T:
    """Make something that costs money exactly once: after an answer that is no clear refusal, look for it first.

    Args:
        post: Makes it.
        find: Returns it where it was made already.
        what: What it is for, after "to": `start a job`.

    Raises:
        UserError: The Hub refuses.
        ToolError: It was not made; or nobody knows, and then nothing may be made, either.
    """
    with shielded():
        return _posted(post, find, what)


def _posted(post: Callable[[], T], find: Callable[[], T | None], what: str) -> T:
    for pause in (*PAUSES_S, None):
        try:
            return post()
        except http_error() as error:
            if not is_transient(error):
                raise explained(error, what) from error
            if status_of(error) not in NOT_DONE and (found := _look_again(find, what)) is not None:
                return found
            if pause is None:
                raise explained(error, what) from error
            time.sleep(told_pause_s(error) or pause)
    raise AssertionError("the last try returns or raises")


def _look_again(find: Callable[[], T | None], what: str) -> T | None:
    """Return what may have been made, or None where several looks have not found it.

    Raises:
        ToolError: The Hub cannot be asked; then nothing may be started, either.
    """
    for _ in range(LOOKS):
        time.sleep(LOOK_PAUSE_S)
        try:
            found = find()
        except FtagentError as error:
            raise ToolError(
                f"what was asked for ({what}) may have been started, and the Hub cannot be asked: {error.message}",
                hint="call the same tool again: it looks for it first",
            ) from error
        if found is not None:
            return found
    return None


def oldest_job(api: HfApi, namespace: str, labels: dict[str, str]) -> JobInfo | None:
    """Return the oldest job with these labels, whatever its stage."""
    found = jobs_with(api, namespace, labels)
    oldest_first = sorted(found, key=lambda info: info.created_at or datetime.max.replace(tzinfo=UTC))
    return oldest_first[0] if oldest_first else None


def jobs_with(api: HfApi, namespace: str, labels: dict[str, str]) -> list[JobInfo]:
    """Return the jobs of a namespace that have these labels."""
    return patiently(lambda: list(api.list_jobs(namespace=namespace, labels=labels)), f"list the jobs of `{namespace}`")
