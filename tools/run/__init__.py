"""One fine-tuning run and its truth: the state folded from its journal.

`Run` is what the lines of `journal.jsonl` add up to; nothing is remembered elsewhere, so a killed process loses at
most the line it was writing.

    state.py      what a run is, and what follows from its facts at once
    later.py      the jobs of a step after the training
    folding.py    how one more fact changes a run
    names.py      what its folders and its report are called
    finding.py    runs on disk: begun, read back, listed, found
"""

from __future__ import annotations

from .finding import find_run, has_other_runs, list_runs, new_run, open_run, read_runs, refold
from .folding import STANDS_ON, fold
from .later import Later
from .names import REPORTS, experiment_name, home_of, report_path, slug
from .state import Run, llm_words

__all__ = [
    "REPORTS",
    "STANDS_ON",
    "Later",
    "Run",
    "experiment_name",
    "find_run",
    "fold",
    "has_other_runs",
    "home_of",
    "list_runs",
    "llm_words",
    "new_run",
    "open_run",
    "read_runs",
    "refold",
    "report_path",
    "slug",
]
