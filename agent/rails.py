"""The rails that carry a weak planner.

What an LLM says is read as what it meant. One whose replies are no calls is held to a JSON schema: of whole calls, of
bare ones, at last of the next step's alone. One that gets nowhere loses a step to the built-in planner, and the journal
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from smolagents import Tool
from smolagents.models import ChatMessage, MessageRole, Model

from ..tools.errors import FtagentError, Stopped, ToolError, UserError
from ..tools.facts import LlmCall, Note
from ..tools.jobs import cost_cap
from ..tools.run import Run
from ..tools.settings import Settings
from ..tools.told import PLANNER
from .calls import Tools, known_name, read_call
from .calls import fitted as fitted_arguments
from .constrained import legal_calls, response_format, without_free_text
from .llm import Llm, TooLong, cached_tokens
from .llm_errors import LlmDown, is_refused_format
from .planner import BuiltinPlanner, tool_call
from .progress import Progress
from .signatures import TOOL_NAMES, check_arguments, tool_info
from .toolbox import Toolbox

HELD_AFTER = 1
"""Replies without a valid call before decoding is held to a schema."""
HELD_AFTER_KNOWN = 2
"""The same for a model that litellm knows to call tools: it slips, and is told so first."""
SMALLEST_ROOM = 600
"""Tokens of a prompt: below, the request itself would not fit."""

LEVELS = ("", "schema", "bare", "next")
"""To what decoding is held: nothing, a schema of whole calls, of bare ones, or of the next step's alone."""

Rebuild = Callable[[int], list[ChatMessage]]
"""Returns the messages of this turn in at most so many tokens."""


@dataclass(kw_only=True)
class Reply:
    """What an LLM said, read as a call."""

    message: ChatMessage
    """With at most one tool call, under names that the toolbox knows."""
    call: str | None
    valid: bool
    mended: bool
    words: str = ""
    """What it said beside the call."""


class RailedPlanner(Model):
    """An LLM that may decide, and the built-in planner that takes a step when the LLM gets nowhere.

    Args:
        toolbox: Knows where the run stands and what is legal.
        llm: The model that is asked first.
        rebuild: Returns the prompt of this turn again, shorter.
    """

    def __init__(self, toolbox: Toolbox, llm: Llm, rebuild: Rebuild) -> None:
        super().__init__(model_id=llm.model_id)
        self.toolbox = toolbox
        self.llm = llm
        self.rebuild = rebuild
        self.builtin = BuiltinPlanner(toolbox)
        self.progress = Progress(toolbox)
        self.room = max(SMALLEST_ROOM, llm.window - llm.answer_tokens)
        self.answered = 0
        """Replies so far; a model that never answered is wrongly named rather than out of order."""
        self._bad = self._level = 0
        self._takes_schema = llm.info.get("supports_response_schema") is not False
        self._over = ""
        """Why the LLM is not asked any more; empty while it is."""
        llm.tell = self._tell

    def generate(self, messages: list[Any], *_: Any, **options: Any) -> ChatMessage:
        """Return one tool call: the LLM's, or the built-in planner's when the LLM is stuck."""
        tools: Sequence[Tool] = options.get("tools_to_call_from") or ()
        if self.answered and not self._bad and self.toolbox.last_error is not None and not self._is_known:
            self._hold_harder()  # a call that looks right and is refused has arguments that are no good
        why = self.progress.look_back()
        if self._over or why:
            if not self._is_known:
                self._hold_harder()  # its calls may be valid and still lead nowhere
            return self._take_over(self._over or why)
        if self._level and not self._is_known and self.toolbox.expected() is None:
            return self._take_over("the last words of a model that has to be held are no help")
        if why := self._unaffordable(messages, tools):
            self._over = why
            return self._take_over(why)
        try:
            reply = self._ask(messages, tools)
        except LlmDown as error:
            if not self.answered:
                raise
            return self._take_over(error.message.rstrip("."))
        except Stopped:
            if said := self.llm.given_up(messages, list(tools)):
                self._note("price", said)
            raise
        self.answered += 1
        self._bad = 0 if reply.valid else self._bad + 1
        if self._bad >= (HELD_AFTER_KNOWN if self._is_known else HELD_AFTER):
            self._hold_harder()
        self.progress.called(reply.call, reply.message)
        if reply.words:
            self.toolbox.run.journal.tell("said", text=reply.words)
        return reply.message

    def parse_tool_calls(self, message: ChatMessage) -> ChatMessage:
        """Say how a call looks: this reply was none.

        Raises:
            ValueError: Always; smolagents tells it to the LLM.
        """
        step = self.toolbox.expected() or "final_answer"
        raise ValueError(f'that was no tool call. Answer with one, such as {{"name": "{step}", "arguments": {{}}}}')

    # --- asking -------------------------------------------------------------------------------------------------------

    def _ask(self, messages: list[Any], tools: Sequence[Tool]) -> Reply:
        """Ask, shorter where the prompt was too long, and with less where the server does not take it all."""
        self._tell(f"asking {self.model_id}")
        while True:
            held = LEVELS[self._level] if self._takes_schema else ""
            try:
                message = self._asked(messages, tools, held)
            except TooLong as error:
                if self.room <= SMALLEST_ROOM:
                    raise UserError(
                        f"the window of `{self.model_id}` is too small for this request.", hint="another --llm"
                    ) from error
                self.room = max(SMALLEST_ROOM, self.room // 2)
                messages = self.rebuild(self.room)
            except Exception as error:
                if not (held and is_refused_format(error)):
                    raise
                self._takes_schema = False
                self._note("rail", f"`{self.model_id}` takes no JSON schema; its replies are read as they are.")
            else:
                reply = read_reply(message, tools)
                self._book(reply)
                return reply

    def _asked(self, messages: list[Any], tools: Sequence[Tool], held: str) -> ChatMessage:
        if not held:
            return self.llm.generate(messages, stop_sequences=["Observation:"], tools_to_call_from=list(tools) or None)
        bare = held in ("bare", "next")
        tools = without_free_text(tools) if bare else tools
        if held == "next":
            tools = [tool for tool in tools if tool.name == self.toolbox.expected()] or tools
        words = [{"type": "text", "text": legal_calls(tools, bare=bare)}]
        told = [*messages, ChatMessage(role=MessageRole.USER, content=words)]
        return self.llm.generate(told, response_format=response_format(tools, bare=bare), temperature=0.0)

    @property
    def _is_known(self) -> bool:
        """Whether litellm knows the model to call tools."""
        return bool(self.llm.info.get("supports_function_calling"))

    def _hold_harder(self) -> None:
        self._level = min(self._level + 1, len(LEVELS) - 1)

    # --- money --------------------------------------------------------------------------------------------------------

    def _unaffordable(self, messages: list[Any], tools: Sequence[Tool]) -> str:
        """Say why the next call is not made: at its worst it would break the cap. Empty where it may be."""
        left = room_usd(self.toolbox.run)
        if left is None:
            return ""
        worst = self.llm.worst_usd(self.llm.count(messages, list(tools)))
        if worst is None or worst <= left:
            return ""
        return f"the next call of `{self.model_id}` could cost ${worst:.4f} and the cap leaves ${max(0.0, left):.4f}"

    def _book(self, reply: Reply) -> None:
        usage = reply.message.token_usage
        cost = self.llm.cost_usd(reply.message)
        if cost is None and not self.answered:
            self._note(
                "price", f"litellm has no price for `{self.model_id}`: what it costs is not in the figures here."
            )
        call = LlmCall(
            model=str(self.model_id),
            prompt_tokens=usage.input_tokens if usage else 0,
            completion_tokens=usage.output_tokens if usage else 0,
            cached_tokens=cached_tokens(reply.message),
            cost_usd=cost,
            call=reply.call,
            valid=reply.valid,
            mended=reply.mended,
        )
        self.toolbox.run = self.toolbox.run.record(call)

    # --- carrying -----------------------------------------------------------------------------------------------------

    def _take_over(self, why: str) -> ChatMessage:
        """Let the built-in planner take this one step.

        Raises:
            ToolError: It took this very step before, and was refused: nobody here can mend that.
        """
        step = self.toolbox.expected() or "final_answer"
        if refusal := self.progress.refused(step):
            raise refusal
        self._note("rail", f"The built-in planner took {step}: {why} ({self.model_id}).")
        self.toolbox.last_error = None
        self.progress.took(step)
        return self.builtin.generate([])

    def _tell(self, text: str) -> None:
        self.toolbox.run.journal.tell("progress", step=PLANNER, text=text)

    def _note(self, code: str, text: str) -> None:
        self.toolbox.run = self.toolbox.run.record(Note(code=code, text=text))


def read_reply(message: ChatMessage, tools: Sequence[Tool]) -> Reply:
    """Return the one call that a reply means: the first of its tool calls, else what its text plainly says.

    Args:
        message: What the LLM answered.
        tools: The tools that are legal now.
    """
    known = _known(tools)
    text = message.content if isinstance(message.content, str) else ""
    call = read_call(text, known)
    given: Any = call.arguments if call else None
    name = call.name if call else None
    mended = call is not None
    if message.tool_calls:
        # One call a turn: parallel calls would share one observation, and a paid tool must never run twice.
        said = message.tool_calls[0].function
        name = known_name(said.name, known) or said.name
        given, mended = _given(name, said.arguments, known)
        mended = mended or name != said.name
    if name is None:
        message.tool_calls = None
        return Reply(message=message, call=None, valid=False, mended=False)
    message.tool_calls = tool_call(name, given).tool_calls
    beside = text.strip() if call is None else ""  # text that the call was read from is no comment on it
    return Reply(message=message, call=name, valid=_is_valid(name, given, tools), mended=mended, words=beside)


def _given(name: str, arguments: Any, known: Tools) -> tuple[Any, bool]:
    """Return a native call's arguments as an object where they are one, and whether they had to be mended."""
    from .calls import as_arguments

    found = as_arguments(arguments)
    if found is None:
        return arguments, False
    fit = fitted_arguments(name, found, known)
    return fit, fit != {key: value for key, value in found.items() if value is not None}


def _known(tools: Sequence[Tool]) -> Tools:
    """Return every tool there is with its arguments: one that is not legal now is refused by name, not misread."""
    known = {name: frozenset(tool_info(name).arguments.model_fields) for name in TOOL_NAMES}
    return known | {tool.name: frozenset(tool.inputs) for tool in tools}


def _is_valid(name: str, given: Any, tools: Sequence[Tool]) -> bool:
    legal = {tool.name: tool for tool in tools}
    if name not in legal or not isinstance(given, dict):
        return False
    if name == "final_answer":
        return isinstance(given.get("answer"), str)
    try:
        check_arguments(tool_info(name), {"request": "", **given} if name == "plan_run" else given)
    except ToolError:
        return False
    return True


def room_usd(run: Run) -> float | None:
    """Return what may still be spent on LLM calls, in US dollars: what is reserved for a running job is not."""
    cap = cost_cap(run)
    if cap is None:
        return None
    reserved = run.approval.quote.reserve_usd if run.approval is not None and run.job_is_live else 0.0
    booked = run.report.cost_usd if run.report is not None and run.job_is_live else 0.0
    return cap - run.cost_usd - max(0.0, reserved - booked)


def planner_failure(error: BaseException, settings: Settings) -> BaseException:
    """Return what really went wrong inside a planner.

    Args:
        error: What smolagents raised; its cause is what the planner raised.
        settings: Name the planner.
    """
    cause = error.__cause__
    if cause is None or isinstance(cause, FtagentError) or settings.llm == "builtin":
        return cause or error  # an error of the built-in planner's is a bug, and shows itself
    return UserError(
        f"the planner `{settings.llm}` failed: {type(cause).__name__}: {' '.join(str(cause).split())}",
        hint="check the model id, the key and --llm-base-url; without --llm the built-in planner does the job",
    )
