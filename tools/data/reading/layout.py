"""What is known of a dataset before a row of it is read: its splits, and the files of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One subset of a dataset."""

    loader: dict[str, Any]
    """Keyword arguments for `datasets.load_dataset`, the subset among them."""
    format: str
    """`json`, `csv`, `text`, `parquet` or `arrow`: the reader of `datasets`."""
    options: dict[str, Any] = field(default_factory=dict)
    """What that reader is told beside the files, such as `sep`."""
    splits: dict[str, tuple[str, ...]]
    """Split to its files: local paths, or hf:// addresses."""
    totals: dict[str, int] = field(default_factory=dict)
    """Split to its rows, where the dataset's card says so."""
    subset: str | None = None
    why_subset: str = ""
    """The rule that chose the subset; empty when it was stated or there was nothing to choose."""
