"""What a class of failure is, and what several of them share.

Patterns are as narrow as the libraries' own words allow, since a log holds foreign text. They were taken from the logs
in `tests/failures/corpus`, each of which says where its shape comes from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..facts import Health, Rung

Where = Literal["raised", "frames", "said", "reason"]
"""The exception that ended it with its message, its whole traceback, a line beside tracebacks, the backend's reason."""


@dataclass(frozen=True, kw_only=True)
class FailureClass:
    """One way for a job to end."""

    name: str
    words: str
    """What happened, as a sentence without its full stop."""
    advice: str
    """What a person should do when no repair is left."""
    ladder: tuple[Rung, ...] = ()
    raised: str = ""
    """Searched in `Type: message` of the exceptions that ended the script."""
    frames: str = ""
    """Where it is set, the traceback must show this, too."""
    said: str = ""
    """Matched from the start of a line beside tracebacks."""
    reason: str = ""
    """Searched in the backend's own reason."""
    exits: frozenset[int] = frozenset()
    """Exit codes that say it all."""
    weak: bool = False
    """Whether it tends to follow from what another process died of, which is looked for before it."""
    wraps: bool = False
    """Whether it tends to wrap what happened, which is looked for inside its chain."""
    health: Health = "failed"

    def matches(self, where: Where, text: str) -> bool:
        """Whether `text`, found at `where`, shows this class."""
        pattern = getattr(self, where)
        return bool(pattern) and re.search(f"^(?:{pattern})" if where == "said" else pattern, text) is not None


HTTP_ERROR = r"^(\S+\.)?(HfHubHTTPError|HTTPStatusError|HTTPError|BadRequestError)"
LAST_FRAME = r"(?![\s\S]*\n  File )"
"""Of a traceback's frames, the last."""
LESS_MEMORY: tuple[Rung, ...] = ("smaller_batch", "checkpointing", "larger_flavor")
WAIT = "wait a little, then `ftagent resume`"
