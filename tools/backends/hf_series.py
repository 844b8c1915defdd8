"""The results of a schedule that evaluates checkpoints, as its firings push them to the run's repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ToolError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RESULTS = "ftagent/series"
"""As `templates/series.py` has it."""


def fetch_results(api: HfApi, repository: str) -> Path | None:
    """Return a folder with the results, None where there are none; what was downloaded once is not again.

    Raises:
        ToolError: The connection broke in the middle.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        if not list(api.list_repo_tree(repository, RESULTS)):
            return None
    except EntryNotFoundError:
        return None
    try:
        return Path(api.snapshot_download(repository, allow_patterns=[f"{RESULTS}/*.json"])) / RESULTS
    except LocalEntryNotFoundError as error:
        raise ToolError(f"the Hub did not send the results in `{repository}`.", hint="try again") from error
