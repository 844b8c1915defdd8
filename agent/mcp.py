"""`ftagent mcp`: the tools over the Model Context Protocol on stdio, with the same gates as everywhere.

A server has no terminal to ask in. What costs something is asked through the client, where that can ask its person
(elicitation); else it is refused, unless the server was started with `--yes --max-cost USD`. Schedules stay with the
terminal: what a client says of its person is not proven. Long tools report progress.

A call that is cancelled, a client that goes away and a SIGTERM all stop the work at its next safe place, and end what
it computes with. A job that was started goes on: `cancel_job` ends it, and monitor_job takes it up.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from .. import __version__
from ..tools.errors import FtagentError, ToolError
from ..tools.journal import Event
from ..tools.settings import Settings
from .approval import offer
from .asynchronous import awaited, stream_async
from .called import WITHOUT_A_RUN, call_tool, error_object, outer_options
from .console import STEP_WORDS, fact_line, progress_line
from .signatures import TOOL_NAMES, ToolInfo, input_schema, tool_info

INSTRUCTIONS = (
    "Fine-tuning, step by step: plan_run starts a run and returns its id; then validate_dataset, pick_hardware, "
    "write_script, preflight, submit_job, monitor_job, evaluate_model, export_gguf, each with that `run`. A tool that "
    "is called too early refuses and names the step that is missing. read_skill `fine-tuning` says more."
)
QUESTION = "approval"
ANSWER = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Start this job?"}},
    "required": ["approve"],
}
ASKS_BY_RESULT = "2026-07-28"
"""From this revision of the protocol on, a server asks by its result, and the client calls again with the answer."""


class Calls:
    """The calls under way, so that a signal can end them all."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._ended = anyio.Event()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Be one of them."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
                self._ended.set()

    async def end(self) -> None:
        """Cancel all of them, and wait until each has stopped its work."""
        while self._scopes:
            self._ended = anyio.Event()
            for scope in self._scopes:
                scope.cancel()
            await self._ended.wait()


class Asks(Exception):
    """The call must be made again with an answer to this quote."""

    def __init__(self, quote: Any) -> None:
        super().__init__()
        self.quote = quote


def serve(settings: Settings, *, yes: bool = False) -> None:
    """Serve the tools on stdin and stdout until the client leaves.

    Args:
        settings: Where runs lie, and the cap.
        yes: Approve what stays under the cap.
    """

    async def list_tools(*_: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(tool_info(name)) for name in TOOL_NAMES])

    async def call(context: Any, params: types.CallToolRequestParams) -> Any:
        with calls.one():
            return await _call(context, params, settings, yes)

    calls = Calls()
    server = Server(
        "ftagent", version=__version__, instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call
    )

    async def run() -> None:
        async with anyio.create_task_group() as beside:
            beside.start_soon(_heed_sigterm, calls)
            async with stdio_server() as (received, sent):
                await server.run(received, sent, server.create_initialization_options())
            beside.cancel_scope.cancel()

    anyio.run(run)


async def _heed_sigterm(calls: Calls) -> None:
    """Stop the work at a SIGTERM, then end by it: reading from stdin cannot be given up any other way."""
    with anyio.open_signal_receiver(signal.SIGTERM) as received:
        async for _ in received:
            await calls.end()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)


def _tool(info: ToolInfo) -> types.Tool:
    """Return a tool as the protocol shows it: the schema that every face has, and the run beside it."""
    inputs = input_schema(info)
    required = [name for name, entry in inputs.items() if not entry.get("nullable")]
    properties = {
        name: {key: value for key, value in entry.items() if key != "nullable" and (key, value) != ("type", "any")}
        for name, entry in inputs.items()
    }
    outer = outer_options(info)
    properties |= {name: {"type": "string", "description": text} for name, text in outer.items()}
    required += ["run"] if outer and info.name not in WITHOUT_A_RUN else []
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return types.Tool(name=info.name, description=info.description, input_schema=schema)


async def _call(context: Any, params: types.CallToolRequestParams, settings: Settings, yes: bool) -> Any:
    """Call one tool in a thread, telling the client how it goes, and return its result or what it must be asked."""
    results: list[Any] = []
    decide: Any = True if yes else awaited(_asking(context, params))
    try:
        if params.name not in TOOL_NAMES:
            raise ToolError(f"there is no tool `{params.name}`.", hint=f"tools: {', '.join(TOOL_NAMES)}")
        info, given = tool_info(params.name), params.arguments or {}

        def work(listener: Callable[[Event], None]) -> None:
            results.append(call_tool(info, given, settings, decide=decide, listeners=[listener], by_planner=True))

        events = stream_async(work)
        try:
            await _report(context, info, events)
        finally:
            with anyio.CancelScope(shield=True):  # no call is over before its work is
                await events.aclose()
    except Asks as asks:
        asked = types.ElicitRequestFormParams(message=_question(asks.quote), requested_schema=ANSWER)
        return types.InputRequiredResult(
            input_requests={QUESTION: types.ElicitRequest(params=asked)}, request_state=_state(asks.quote)
        )
    except FtagentError as error:
        said = {"ok": False, "error": error_object(error)}
        return types.CallToolResult(content=[_text(said)], structured_content=said, is_error=True)
    said = {"ok": True, "result": results[0]}
    return types.CallToolResult(content=[_text(said)], structured_content=said)


async def _report(context: Any, info: ToolInfo, events: Any) -> None:
    """Report each event that says something; a client that wants no progress gets none."""
    step, told = STEP_WORDS.get(info.name, info.name), 0
    async for event in events:
        line = fact_line(event) if event.seq is not None else None
        if event.kind == "progress":
            line = progress_line(step, event.data)
        if line is not None:
            told += 1
            await context.session.report_progress(told, None, line.plain)


# --- approvals --------------------------------------------------------------------------------------------------------


def _asking(context: Any, params: types.CallToolRequestParams) -> Callable[[Any], Awaitable[bool]] | None:
    """Return what asks the client's person about a quote, or None for a client that cannot."""
    capabilities = context.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return None

    async def ask(quote: Any) -> bool:
        if context.protocol_version < ASKS_BY_RESULT:
            answer = await context.session.elicit_form(_question(quote), ANSWER)
        else:
            answer = (params.input_responses or {}).get(QUESTION)
            if answer is None or params.request_state != _state(quote):  # not asked yet, or about another quote
                raise Asks(quote)
        content = getattr(answer, "content", None) or {}
        return getattr(answer, "action", "") == "accept" and content.get("approve") is True

    return ask


def _question(quote: Any) -> str:
    return f"{offer(quote)}. Start this job?"


def _state(quote: Any) -> str:
    """Return what tells this quote from another one, so that an answer counts for what was shown."""
    return f"{quote.script_sha256} {quote.flavor} {quote.reserve_usd:.6f}"


def _text(said: dict[str, Any]) -> types.TextContent:
    return types.TextContent(text=json.dumps(said, ensure_ascii=False))
