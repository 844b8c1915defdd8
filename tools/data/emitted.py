"""The functions that are emitted into a training script, which applies them in this order: hold out, filter, map."""

from __future__ import annotations

import inspect

from .filters import FILTERS
from .holdouts import HOLDOUTS
from .mappings import MAPPINGS


def source_of(name: str) -> str:
    """Return the source of an emitted function, with its docstring and without blank lines around it.

    Raises:
        KeyError: No mapping, filter or holdout has this name.
    """
    return inspect.getsource({**MAPPINGS, **FILTERS, **HOLDOUTS}[name]).strip()
