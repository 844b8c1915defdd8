"""The classes of failure, one entry each: what shows it, what a person should know, and the repairs in their order.

A class with a ladder can be mended without a person; each rung is one bounded change, tried once. A class without one
is for a person, and `advice` says what they should do.
"""

from __future__ import annotations

from .inputs import DATA, MODELS
from .kinds import FailureClass
from .machine import MEMORY, TIME
from .passing import CHECKPOINTS, PASSING
from .surroundings import ACCESS, SOFTWARE

CLASSES: tuple[FailureClass, ...] = (
    *MEMORY,
    *TIME,
    *PASSING,
    *CHECKPOINTS,
    *DATA,
    *MODELS,
    *ACCESS,
    *SOFTWARE,
)
"""In the order in which they are looked for: the first that a log shows is meant."""
BY_NAME = {entry.name: entry for entry in CLASSES}
