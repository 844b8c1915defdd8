"""Any LLM through litellm: patient with a busy server, plain about a wrong key, and with a price for each call.

litellm costs seconds to import and is imported only here and in `llm_errors.py`, when an LLM is asked for. Its versions
to avoid stand in `pyproject.toml`: 1.82.7, 1.82.8 and 1.107.0 were malicious, and the 1.106 line crashes on tool calls.
"""

from __future__ import annotations

import importlib.util
import os
import random
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from smolagents.models import ChatMessage, LiteLLMModel, MessageRole, TokenUsage

from ..tools.errors import UserError
from ..tools.settings import Settings
from ..tools.stopping import pause, unless_stopped
from .llm_errors import LlmDown, asked_to_wait_s, explain, is_passing, is_too_long

TRIES = 6
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
"""Of one wait; a server that asks for a longer one is told of, and the run can be resumed then."""
TIMEOUT_S = 120
MAX_TOKENS = 4096  # a call and the reasoning before it, where litellm knows the model
MAX_TOKENS_UNKNOWN = 1024  # a small model that never stops is cut here
WINDOW = 8192
"""Tokens of a model that litellm does not know."""


class TooLong(Exception):
    """The server says that the prompt is longer than the model's window."""


def connect(settings: Settings) -> Llm:
    """Return the LLM that the settings name; nothing is asked of it yet.

    Raises:
        UserError: litellm is not installed, or knows no provider for this id.
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
    try:
        provider = litellm.get_llm_provider(settings.llm, api_base=settings.llm_base_url)[1]
    except litellm.exceptions.BadRequestError as error:
        raise explain(error, settings) or error from error
    return Llm(settings, provider)


class Llm(LiteLLMModel):
    """A model of any provider, asked until it answers or until there is no hope that it will.

    Args:
        settings: Names the model, and where it is served.
        provider: litellm's name of the provider.
    """

    def __init__(self, settings: Settings, provider: str) -> None:
        import litellm

        self.settings = settings
        self.tell: Callable[[str], Any] = lambda _: None
        """Hears of every wait."""
        self.info: dict[str, Any] = _info(settings.llm)
        """What litellm knows of the model: window, prices, abilities. Empty for one that it does not know."""
        self.answer_tokens = min(MAX_TOKENS, self.info.get("max_output_tokens") or MAX_TOKENS_UNKNOWN)
        self.window: int = settings.llm_window or self.info.get("max_input_tokens") or WINDOW
        local: dict[str, Any] = {"api_base": settings.llm_base_url} if settings.llm_base_url else {}
        if settings.llm_base_url and litellm.validate_environment(settings.llm).get("missing_keys"):
            local["api_key"] = "none"
        if provider == "anthropic":  # others find the same beginning by themselves
            local["cache_control_injection_points"] = [{"location": "message", "role": "system"}]
        super().__init__(
            model_id=settings.llm,
            retry=False,  # smolagents waits a minute and more, and knows no Retry-After
            max_retries=0,
            num_retries=0,
            timeout=TIMEOUT_S,
            max_tokens=self.answer_tokens,
            drop_params=True,
            **local,
        )

    @property
    def is_here(self) -> bool:
        """Whether it is served by this very machine, and has no price that litellm knows: then it costs no money."""
        host = urlsplit(self.settings.llm_base_url or "").hostname
        return host in ("127.0.0.1", "::1", "localhost") and not self.is_priced

    @property
    def is_priced(self) -> bool:
        """Whether litellm's table has a price for it."""
        return bool(self.info.get("input_cost_per_token") or self.info.get("output_cost_per_token"))

    def generate(self, messages: list[Any], *args: Any, **options: Any) -> ChatMessage:
        """Ask once, and again while the server is busy; what it asks to wait is waited.

        Raises:
            UserError: The key, the model's id or the address is wrong, or nothing is left to spend.
            LlmDown: It did not answer, however often it was asked.
            TooLong: The prompt is longer than the model's window.
            litellm.exceptions.BadRequestError: The server does not take what was sent.
        """
        return self._patiently(partial(super().generate, messages, *args, **options))

    def stream(self, messages: list[ChatMessage], on_text: Callable[[str], None]) -> ChatMessage:
        """Ask for words and no calls, and show them as they come; as patient as `generate`, with the same errors.

        Args:
            messages: The prompt.
            on_text: Called with the whole answer so far, which begins anew where it had to be asked for again.
        """
        return self._patiently(partial(self._streamed, messages, on_text))

    def _streamed(self, messages: list[ChatMessage], on_text: Callable[[str], None]) -> ChatMessage:
        import litellm

        asked = self._prepare_completion_kwargs(
            messages=list(messages), model=self.model_id, api_base=self.api_base, api_key=self.api_key
        )
        chunks, text = [], ""
        for chunk in self.client.completion(**asked, stream=True, stream_options={"include_usage": True}):
            chunks.append(chunk)
            if more := chunk.choices[0].delta.content if chunk.choices else None:
                text += more
                on_text(text)
        whole: Any = litellm.stream_chunk_builder(chunks, messages=asked["messages"])
        if whole is None:
            raise litellm.exceptions.APIConnectionError("the answer was empty", "", str(self.model_id))
        usage = TokenUsage(whole.usage.prompt_tokens, whole.usage.completion_tokens)
        return ChatMessage(role=MessageRole.ASSISTANT, content=text, raw=whole, token_usage=usage)

    def _patiently(self, ask: Callable[[], ChatMessage]) -> ChatMessage:
        for tried in range(1, TRIES + 1):
            try:
                return unless_stopped(ask)
            except Exception as error:
                if is_too_long(error):
                    raise TooLong from error
                if not is_passing(error):
                    if plain := explain(error, self.settings):
                        raise plain from error
                    raise
                wait_s = asked_to_wait_s(error)
                if tried == TRIES or (wait_s or 0.0) > LONGEST_WAIT_S:
                    raise LlmDown.after(tried, error, self.settings, wait_s) from error
                self._wait(tried, wait_s, error)
        raise AssertionError("every try answers or raises")

    def _wait(self, tried: int, asked_s: float | None, error: BaseException) -> None:
        """Wait as long as was asked, else twice as long as before, with a random part: many must not come at once."""
        doubled = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tried - 1))
        wait_s = asked_s if asked_s is not None else doubled * random.uniform(0.5, 1.0)
        self.tell(f"{self.model_id}: {type(error).__name__}; try {tried + 1} of {TRIES} in {wait_s:.1f} s")
        pause(wait_s)

    def count(self, messages: list[Any], tools: list[Any]) -> int:
        """Return about how many tokens a prompt has, by a tokenizer of litellm's."""
        import litellm
        from smolagents.models import get_tool_json_schema

        text = "\n".join(str(message.content) for message in messages) + str([get_tool_json_schema(t) for t in tools])
        return litellm.token_counter(model=self.settings.llm, text=text)

    def worst_usd(self, prompt_tokens: int) -> float | None:
        """Return the most that a call of so many tokens can cost in US dollars; None where no price is known."""
        if self.is_here:
            return 0.0
        if not self.is_priced:
            return None
        each = (self.info.get("input_cost_per_token") or 0.0, self.info.get("output_cost_per_token") or 0.0)
        return prompt_tokens * each[0] + self.answer_tokens * each[1]

    def given_up(self, messages: list[Any], tools: list[Any]) -> str:
        """Say what a call may cost that was given up before its answer was there; empty where it costs nothing."""
        worst = self.worst_usd(self.count(messages, tools))
        return (
            f"A call of `{self.model_id}` was given up; its provider may charge up to ${worst:.4f} for it."
            if worst
            else ""
        )

    def cost_usd(self, message: ChatMessage) -> float | None:
        """Return what a call cost by litellm's table, cached tokens at their own price; None where it has none."""
        if self.is_here:
            return 0.0
        hidden = getattr(message.raw, "_hidden_params", None) or {}
        return hidden.get("response_cost") if self.is_priced else None


def cached_tokens(message: ChatMessage) -> int:
    """Return how many tokens of the prompt the provider had in its cache."""
    usage = getattr(message.raw, "usage", None)
    return getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None) or 0


def _info(model: str) -> dict[str, Any]:
    import litellm

    try:
        return dict(litellm.get_model_info(model))
    except Exception:  # noqa: BLE001 - litellm raises a bare Exception for a model that it does not know
        return {}
