"""The planner of a run, and the switch from one to another while the run is under way."""

from __future__ import annotations

import threading
from typing import Any

from smolagents.models import ChatMessage, Model

from ..tools.errors import UserError
from ..tools.facts import Note
from ..tools.settings import Settings
from .llm import connect
from .planner import BuiltinPlanner
from .rails import RailedPlanner, Rebuild
from .toolbox import Toolbox


class Planner(Model):
    """The planner of a run: the one that the settings name, until a person switches it.

    Args:
        toolbox: Knows where the run stands.
    """

    def __init__(self, toolbox: Toolbox) -> None:
        super().__init__(model_id=toolbox.run.settings.llm)
        self.toolbox = toolbox
        self.rebuild: Rebuild | None = None
        self._lock = threading.Lock()
        self._next: Settings | None = None
        self._former: Settings | None = None
        self._now = self._made(toolbox.run.settings)

    def switch(self, settings: Settings) -> None:
        """Let another planner take the next turn; safe to call from any thread.

        Args:
            settings: Name the LLM; only that part of them is taken over.
        """
        with self._lock:
            self._next = settings

    @property
    def room(self) -> int | None:
        """How many tokens a prompt may have; None for a planner that reads none."""
        return self._now.room if isinstance(self._now, RailedPlanner) else None

    def generate(self, messages: list[Any], *args: Any, **options: Any) -> ChatMessage:
        """Return the next call, after a switch that was asked for."""
        with self._lock:
            wanted, self._next = self._next, None
        if wanted is not None and self._change(wanted, "a person switched it"):
            messages = self.rebuild(self.room or 0) if self.rebuild else messages
        try:
            return self._now.generate(messages, *args, **options)
        except UserError as error:
            if self._former is None or getattr(self._now, "answered", 0):
                raise
            former, self._former = self._former, None
            self._change(former, error.message)
            return self._now.generate(messages, *args, **options)

    def parse_tool_calls(self, message: ChatMessage) -> ChatMessage:
        """Refuse: what could be read as a call was."""
        return self._now.parse_tool_calls(message)

    def _change(self, wanted: Settings, why: str) -> bool:
        run = self.toolbox.run
        named = {name: getattr(wanted, name) for name in ("llm", "llm_base_url", "llm_window")}
        if all(getattr(run.settings, name) == value for name, value in named.items()):
            return False
        self._former = run.settings
        settings = run.settings.model_copy(update=named)
        self._now = self._made(settings)
        note = Note(code="planner", text=f"The planner is now `{wanted.llm}`, and was `{run.settings.llm}`: {why}.")
        self.toolbox.run = run.record(settings).record(note)
        self.model_id = wanted.llm
        return True

    def _made(self, settings: Settings) -> Model:
        if settings.llm == "builtin":
            return BuiltinPlanner(self.toolbox)
        return RailedPlanner(self.toolbox, connect(settings), lambda room: self.rebuild(room) if self.rebuild else [])
