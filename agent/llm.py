"""Any LLM through litellm, with the cost of each call booked at the call; and the rail that carries a weak one.

litellm costs seconds to import and is imported only here, when an LLM is asked for. Its versions to avoid stand in
`pyproject.toml`: 1.82.7, 1.82.8 and 1.107.0 were malicious, and the 1.106 line crashes on tool calls.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections import deque
from typing import Any

from smolagents.models import ChatMessage, LiteLLMModel, Model

from ..tools.errors import UserError
from ..tools.facts import LlmCall, Note
from ..tools.settings import Settings
from .planner import BuiltinPlanner
from .toolbox import Toolbox

USELESS_TURNS = 3
RETRIES = 4
TIMEOUT_S = 120
MAX_TOKENS = 2048  # a call and the reasoning before it; a small model that never stops is cut here


def make_planner(settings: Settings, toolbox: Toolbox) -> Model:
    """Return the planner that the settings name."""
    if settings.llm == "builtin":
        return BuiltinPlanner(toolbox)
    return RailedPlanner(toolbox, connect(settings))


def connect(settings: Settings) -> Model:
    """Return a litellm model for `settings.llm`.

    Raises:
        UserError: litellm is not installed.
    """
    if importlib.util.find_spec("litellm") is None:
        raise UserError(
            f"`{settings.llm}` is reached through litellm, which is not installed.",
            hint="pip install 'ftagent[llm]', or leave --llm out: the built-in planner needs no LLM",
        )
    # Read by litellm at import: without it, every start asks the network for a price list.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info = True
    local: dict[str, Any] = {"api_base": settings.llm_base_url, "api_key": "none"} if settings.llm_base_url else {}
    return LiteLLMModel(
        model_id=settings.llm,
        retry=False,  # smolagents waits a minute and more; litellm's own retries back off in seconds
        num_retries=RETRIES,
        timeout=TIMEOUT_S,
        max_tokens=MAX_TOKENS,
        drop_params=True,
        **local,
    )


class RailedPlanner(Model):
    """An LLM that may decide, and the built-in planner that takes a step when the LLM gets nowhere.

    Three useless turns in a row, or the same call with the same result twice, and the built-in planner takes that
    one step; the journal says so.

    Args:
        toolbox: Knows where the run stands and what is legal.
        llm: The model that is asked first.
    """

    def __init__(self, toolbox: Toolbox, llm: Model) -> None:
        super().__init__(model_id=llm.model_id)
        self.toolbox = toolbox
        self.llm = llm
        self.builtin = BuiltinPlanner(toolbox)
        self._settled = -1
        self._useless = 0
        self._last_calls: deque[str] = deque(maxlen=2)

    def generate(self, messages: list[Any], *args: Any, **options: Any) -> ChatMessage:
        """Return one tool call: the LLM's, or the built-in planner's when the LLM is stuck."""
        self._count_useless()
        if self._useless >= USELESS_TURNS or self._repeats():
            self._take_over()
            return self.builtin.generate(messages)
        message = self.llm.generate(messages, *args, **options)
        self._book(message)
        if message.tool_calls:
            # One call a turn: parallel calls would share one observation, and a paid tool must never run twice.
            message.tool_calls = message.tool_calls[:1]
            call = message.tool_calls[0].function
            self._last_calls.append(f"{call.name} {json.dumps(call.arguments, default=str)}")
        else:
            self._last_calls.append(str(message.content))
        return message

    def _count_useless(self) -> None:
        """A turn was useful when it settled a fact; the LLM's own bookkeeping does not count."""
        settled = sum(event.kind not in ("llm_call", "note") for event in self.toolbox.run.journal.events)
        self._useless = 0 if settled != self._settled else self._useless + 1
        if settled != self._settled:
            self._last_calls.clear()
        self._settled = settled

    def _repeats(self) -> bool:
        return len(self._last_calls) == 2 and self._last_calls[0] == self._last_calls[1]

    def _take_over(self) -> None:
        step = self.toolbox.expected() or "final_answer"
        why = "the same call twice" if self._repeats() else f"{self._useless} turns that settled nothing"
        self.toolbox.run = self.toolbox.run.record(
            Note(code="rail", text=f"The built-in planner took {step}, after {why} by {self.model_id}.")
        )
        self._useless = 0
        self._last_calls.clear()
        self.toolbox.last_error = None

    def _book(self, message: ChatMessage) -> None:
        usage = message.token_usage
        self.toolbox.run = self.toolbox.run.record(
            LlmCall(
                model=str(self.model_id),
                prompt_tokens=usage.input_tokens if usage else 0,
                completion_tokens=usage.output_tokens if usage else 0,
                cost_usd=_price(message.raw),
            )
        )


def _price(response: Any) -> float | None:
    """Return what a call cost in US dollars, or None where litellm has no price (it answers 0.0 there)."""
    hidden = getattr(response, "_hidden_params", None) or {}
    return hidden.get("response_cost") or None
