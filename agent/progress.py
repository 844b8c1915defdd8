"""Whether a planner gets on: what its turns settled and told, how often it came to nothing, and what was refused.

A turn counts when it settles a fact that is new, or tells something that was not told since. Three others in a row, the
same call with the same result twice, or too many that only look, and the planner is stuck.
"""

from __future__ import annotations

import json
from typing import Any

from smolagents.models import ChatMessage

from ..tools.errors import ToolError
from .toolbox import Toolbox

USELESS_TURNS = 3
MOST_LOOKS = 8
"""Turns in a row that tell something new and settle nothing: every skill once, and the run itself."""
MOST_TURNS = 200
"""Turns of an LLM in one run; the built-in planner walks the rest."""
NOT_SETTLED = frozenset(("llm_call", "note", "settings", "answer", "reopened"))
"""Journal kinds that are bookkeeping."""
VOLATILE = frozenset(("seconds", "submitted_at", "tokens_per_s", "peak_memory_gib"))
"""Fields that differ each time a thing is done again."""


class Progress:
    """Remembers what an LLM's turns brought.

    Args:
        toolbox: Knows where the run stands, and what the last call told.
    """

    def __init__(self, toolbox: Toolbox) -> None:
        self.toolbox = toolbox
        self._read = 0
        self._facts: set[str] = set()
        self._told: set[str] = set()
        self._turns: list[tuple[str, str]] = []
        self._last: str | None = None
        self._useless = self._looks = self._count = 0
        self._taken: str | None = None
        self._refusals: dict[str, ToolError] = {}
        self._settled_now()  # what stood before is nobody's merit

    def called(self, name: str | None, message: ChatMessage) -> None:
        """Remember what the LLM has just called, or said where it called nothing."""
        call = message.tool_calls[0].function if message.tool_calls else None
        self._last = (
            f"{name} {json.dumps(call.arguments, default=str, sort_keys=True)}" if call else str(message.content)
        )
        self._count += 1
        self.toolbox.last_result = ""  # a reply that is no call tells nothing

    def took(self, step: str) -> None:
        """Remember that the built-in planner takes a step; the LLM begins anew after it."""
        self._taken, self._last = step, None
        self._useless = self._looks = 0
        self._turns.clear()

    def refused(self, step: str) -> ToolError | None:
        """Return how the built-in planner was refused at this step, if it was and nothing was settled since."""
        return self._refusals.get(step)

    def look_back(self) -> str:
        """Take in what the last call brought, and say why the LLM is stuck; empty where it is not."""
        settled = self._settled_now()
        if self._taken is not None and self.toolbox.last_error is not None:
            self._refusals[self._taken] = self.toolbox.last_error
        self._taken = None
        if settled:
            self._refusals.clear()
            self._told.clear()
            self._turns.clear()
            self._useless = self._looks = 0
        elif self._last is not None:
            self._count_idle(self._last)
        self._last = None
        return self._why_stuck()

    def _count_idle(self, call: str) -> None:
        result = self.toolbox.last_result or ""
        self._turns.append((call, result))
        is_news = self.toolbox.last_error is None and bool(result) and result not in self._told
        self._told.add(result)
        self._useless = 0 if is_news else self._useless + 1
        self._looks += 1

    def _why_stuck(self) -> str:
        if len(self._turns) >= 2 and self._turns[-1] == self._turns[-2]:
            return "the same call twice, with the same result"
        if self._useless >= USELESS_TURNS:
            return f"{self._useless} turns that settled nothing"
        if self._looks >= MOST_LOOKS:
            return f"{self._looks} turns that only looked"
        return f"{MOST_TURNS} turns are enough" if self._count >= MOST_TURNS else ""

    def _settled_now(self) -> bool:
        """Whether a fact was settled since the last look that was not settled before in the same words."""
        events = self.toolbox.run.journal.events
        new, self._read = events[self._read :], len(events)
        facts = {f"{event.kind} {json.dumps(_lasting(event.data))}" for event in new if event.kind not in NOT_SETTLED}
        is_new = not facts <= self._facts
        self._facts |= facts
        return is_new


def _lasting(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _lasting(value) for key, value in data.items() if key not in VOLATILE}
    return [_lasting(value) for value in data] if isinstance(data, list) else data
