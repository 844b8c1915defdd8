"""The functions that are emitted into a training script, which applies them in this order: hold out, filter, map."""

from __future__ import annotations

import inspect
from functools import cache

from ...emitting import closure, definitions
from . import filters, holdouts, mappings, turns


def source_of(*names: str) -> str:
    """Return the source of emitted functions, after that of the constants and helpers that they use, each once.

    Raises:
        KeyError: No mapping, filter or holdout has such a name.
    """
    if unknown := set(names) - {*mappings.MAPPINGS, *filters.FILTERS, *holdouts.HOLDOUTS}:
        raise KeyError(*unknown)
    return closure(names, _sources())


@cache
def _sources() -> dict[str, str]:
    """Return name to source of all that can be emitted, in an order in which it can stand."""
    return {
        name: source
        for module in (turns, holdouts, filters, mappings)
        for name, source in definitions(inspect.getsource(module))
    }
