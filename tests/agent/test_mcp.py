"""The tools over MCP, by the SDK's own client over stdio: the same gates, approvals through the client, progress."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.cli import main
from ftagent.agent.toolbox import TOOL_NAMES
from ftagent.tools.run import find_run
from mcp import Client, StdioServerParameters, types

from .instant import REQUEST
from .test_repl import COMMAND

WAY = ("validate_dataset", "pick_hardware", "write_script", "preflight")
Said = dict[str, Any]
MODES = ("auto", "legacy")


def _talk(
    workdir: Path,
    story: Callable[[Client], Awaitable[None]],
    *options: str,
    tools: str = "instant",
    **client: Any,
) -> None:
    """Start a server in `workdir`, and let a client tell its story."""
    server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], tools, "mcp", *options], cwd=workdir)

    async def run() -> None:
        async with Client(server, **client) as one:
            await story(one)

    asyncio.run(asyncio.wait_for(run(), 120))


async def _call(client: Client, name: str, /, **arguments: Any) -> Said:
    result = await client.call_tool(name, arguments)
    assert isinstance(result.content[0], types.TextContent)
    said = json.loads(result.content[0].text)
    assert said == result.structured_content and said["ok"] is not bool(result.is_error)
    return said


async def _proven(client: Client) -> str:
    run = (await _call(client, "plan_run", request=REQUEST))["result"]["run"]
    for name in WAY:
        assert (await _call(client, name, run=run))["ok"]
    return run


@pytest.mark.parametrize("mode", MODES)
def test_gates_hold_and_nobody_approves_where_nobody_can_be_asked(workdir: Path, mode: str) -> None:
    async def story(client: Client) -> None:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == set(TOOL_NAMES)
        schema = listed["validate_dataset"].input_schema
        assert schema["properties"]["max_length"] == {"description": "Longest row in tokens.", "type": "integer"}
        assert schema["required"] == [] and listed["preflight"].input_schema["required"] == ["run"]
        run = (await _call(client, "plan_run", request=REQUEST))["result"]["run"]
        refused = await _call(client, "submit_job", run=run)
        assert refused["error"]["code"] == "gate_closed" and refused["error"]["hint"] == "call write_script"
        for name in WAY:
            await _call(client, name, run=run)
        refused = await _call(client, "submit_job", run=run)
        assert refused["error"]["code"] == "needs_approval" and run in refused["error"]["hint"]
        for name, arguments, why in (
            ("nope", {}, "there is no tool `nope`"),
            ("preflight", {}, "works on a run"),
            ("preflight", {"run": "nope"}, "no run match"),
            ("preflight", {"run": run, "yes": True}, "has no argument `yes`"),
            ("pick_hardware", {"run": run, "batch": "many"}, "`batch`"),
        ):
            assert why in (await _call(client, name, **arguments))["error"]["message"]

    _talk(workdir, story, mode=mode)
    assert find_run(workdir).intent is None


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_can_ask_its_person_is_asked_with_the_quote(workdir: Path, mode: str) -> None:
    asked: list[str] = []
    answers = [
        types.ElicitResult(action="cancel"),
        types.ElicitResult(action="accept", content={"approve": False}),
        types.ElicitResult(action="decline", content={"approve": True}),
        types.ElicitResult(action="accept", content={"approve": True}),
    ]

    async def person(_: Any, question: Any) -> types.ElicitResult:
        asked.append(question.message)
        return answers[len(asked) - 1]

    async def story(client: Client) -> None:
        run = await _proven(client)
        for _ in answers[:-1]:
            assert (await _call(client, "submit_job", run=run))["error"]["code"] == "needs_approval"
            assert find_run(workdir).intent is None
        assert (await _call(client, "submit_job", run=run))["ok"]

    _talk(workdir, story, mode=mode, elicitation_callback=person)
    assert len(asked) == len(answers) and "no money · at most $0.00. Start this job?" in asked[0]
    run = find_run(workdir)
    assert run.job is not None and run.approval is not None and run.approval.by == "callable"


def test_started_with_yes_and_a_cap_the_whole_way_is_walked_and_told(workdir: Path) -> None:
    told: list[str] = []

    async def hears(progress: float, total: float | None, message: str | None) -> None:
        del total
        assert progress == len(told) + 1
        told.append(str(message))

    async def story(client: Client) -> None:
        run = await _proven(client)
        for name in ("submit_job", "monitor_job", "evaluate_model"):
            assert (await _call(client, name, run=run))["ok"]
        await client.call_tool("export_gguf", {"run": run}, progress_callback=hears)

    _talk(workdir, story, "--yes", "--max-cost", "1")
    run = find_run(workdir)
    assert run.export is not None and run.approval is not None and run.approval.by == "--yes"
    assert [line.split()[1] for line in told] == ["gguf", "export"]


def test_only_the_protocol_is_on_stdout(workdir: Path) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
    }
    call = {"name": "plan_run", "arguments": {"request": REQUEST}}
    lines = [
        hello,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ]
    server = subprocess.Popen(
        [*COMMAND, "instant", "mcp"], cwd=workdir, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
    server.stdin.flush()
    said = [json.loads(server.stdout.readline()) for _ in (1, 2)]
    server.stdin.close()
    assert [line["id"] for line in said] == [1, 2] and server.wait(30) == 0
    assert server.stdout.read() == ""


def test_yes_without_a_cap_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "--yes"]) == 2
    assert "--max-cost" in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_real_dry_run(workdir: Path, tiny_model: Path, rows: Path) -> None:
    told: list[str] = []

    async def hears(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        told.append(str(message))

    async def story(client: Client) -> None:
        plan = await _call(client, "plan_run", request=f"fine-tune {tiny_model} on {rows}, no export")
        for name in WAY:
            result = await client.call_tool(name, {"run": plan["result"]["run"]}, progress_callback=hears)
            assert not result.is_error, result
        refused = await _call(client, "submit_job", run=plan["result"]["run"])
        assert refused["error"]["code"] == "needs_approval"

    _talk(workdir, story, tools="real")
    assert any("two-layer twin" in line for line in told)
