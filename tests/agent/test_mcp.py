"""The tools over MCP, by the SDK's own client over stdio: the same gates, approvals through the client, progress."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from ftagent.agent.called import call_tool
from ftagent.agent.cli import main
from ftagent.agent.signatures import TOOL_NAMES, tool_info
from ftagent.tools.errors import ToolError
from ftagent.tools.jobs import cost_cap
from ftagent.tools.run import find_run
from ftagent.tools.settings import load_settings
from mcp import Client, StdioServerParameters, types

from .instant import REQUEST
from .test_repl import COMMAND, ROOT

WAY = ("validate_dataset", "pick_hardware", "write_script", "preflight")
Said = dict[str, Any]
MODES = ("auto", "legacy")
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
}


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
    assert len(asked) == len(answers) and "no money. Start this job?" in asked[0]
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
    call = {"name": "plan_run", "arguments": {"request": REQUEST}}
    lines = [
        HELLO,
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
    assert [line["id"] for line in said] == [1, 2] and server.wait(60) == 0
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


def test_what_a_planner_may_not_choose_it_cannot_over_mcp_either(workdir: Path) -> None:
    """The words of `plan_run` are the request that everything is held to; later calls add no file, plan or money."""

    async def story(client: Client) -> None:
        run = await _proven(client)
        replanned = await _call(client, "plan_run", run=run, request=REQUEST, model="../elsewhere/weights")
        assert "the person named no file" in replanned["error"]["message"]
        assert (await _call(client, "plan_run", run=run, request=f"{REQUEST}, budget $900"))["ok"]
        stale = await _call(client, "submit_job", run=run)
        assert stale["error"]["code"] == "gate_closed"  # what stood on the former plan went with it
        for name in (*WAY, "submit_job"):
            assert (await _call(client, name, run=run))["ok"]
        late = await _call(client, "plan_run", run=run, request=f"{REQUEST}, push it to evil/repo")
        assert late["error"]["code"] == "gate_closed" and "a job of this plan was started" in late["error"]["message"]

    _talk(workdir, story, "--yes", "--max-cost", "1")
    run = find_run(workdir)
    assert run.spec is not None and run.spec.budget_usd == 900 and cost_cap(run) == 1
    for name, file in (("rows", "/etc/passwd"), ("metric", "code.py:score")):
        with pytest.raises(ToolError, match=f"the person named no file `{file}"):
            call_tool(tool_info("evaluate_model"), {"run": run.id, name: file}, load_settings(), by_planner=True)


# --- cancelled --------------------------------------------------------------------------------------------------------

# A command line whose preflight waits for a worker that works until it is ended, and whose monitoring for a job.
SLOW = """
import sys
sys.path.insert(0, sys.argv[1])
from ftagent.agent import signatures
from ftagent.tools.facts import PreflightReport
from ftagent.tools.gates import require
from ftagent.tools.run import Run
from ftagent.tools.worker import Worker
from tests.agent import instant
def preflight(run: Run) -> PreflightReport:
    "Prove for ever."
    require("preflight", run)
    with Worker(run.settings, "prove.py", log=run.folder / "preflight.log", timeout_s=600) as worker:
        worker.give({})
        worker.answer()
    raise AssertionError("the worker never ends by itself")
tools = {**instant.INSTANT, "preflight": preflight}
signatures.find_tool = lambda name: tools.get(name) or instant.real(name)
sys.argv[1:] = sys.argv[2:]
from ftagent.agent.cli import main
sys.exit(main())
"""


@pytest.fixture
def slow(workdir: Path) -> StdioServerParameters:
    """A server whose preflight never ends: its interpreter notes its process id, and sleeps."""
    interpreter = workdir / "python"
    interpreter.write_text(f"#!/bin/sh\necho $$ > {workdir}/pid\nexec sleep 600\n", encoding="utf-8")
    interpreter.chmod(0o700)
    return StdioServerParameters(
        command=sys.executable,
        args=["-c", SLOW, str(ROOT), "mcp"],
        cwd=workdir,
        env={**os.environ, "FTAGENT_PYTHON": str(interpreter)},
    )


async def _worker(workdir: Path) -> psutil.Process:
    """Wait until the worker runs, and return it."""
    while not (pid := (workdir / "pid").read_text() if (workdir / "pid").exists() else "").strip():
        await asyncio.sleep(0.02)
    return psutil.Process(int(pid))


async def _up_to_preflight(client: Client) -> str:
    run = (await _call(client, "plan_run", request=REQUEST))["result"]["run"]
    for name in WAY[:-1]:
        assert (await _call(client, name, run=run))["ok"]
    return run


@pytest.mark.parametrize("mode", MODES)
def test_a_cancelled_call_ends_its_work_and_the_run_can_be_taken_up_at_once(
    workdir: Path, slow: StdioServerParameters, mode: str
) -> None:
    async def story() -> None:
        async with Client(slow, mode=mode) as client:  # type: ignore[arg-type]
            run = await _up_to_preflight(client)
            call = asyncio.create_task(client.call_tool("preflight", {"run": run}))
            worker = await _worker(workdir)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.to_thread(worker.wait, 10)
            assert "Run " in (await _call(client, "show_run", run=run))["result"]
            assert (await _call(client, "pick_hardware", run=run, batch=2))["ok"]  # nobody holds the run any more

    asyncio.run(asyncio.wait_for(story(), 120))
    assert find_run(workdir).preflight is None


@pytest.mark.parametrize("ends", ["closes", "terminates"])
def test_a_client_that_goes_away_leaves_nothing_running(workdir: Path, slow: StdioServerParameters, ends: str) -> None:
    lines = [
        HELLO,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        _request(2, "plan_run", request=REQUEST),
    ]
    server = subprocess.Popen(
        [slow.command, *slow.args], cwd=workdir, env=slow.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None and server.stdout is not None
    for line in lines:
        print(json.dumps(line), file=server.stdin, flush=True)
    said = [json.loads(server.stdout.readline()) for _ in (1, 2)]
    run = said[-1]["result"]["structuredContent"]["result"]["run"]
    for number, name in enumerate(WAY, start=3):
        print(json.dumps(_request(number, name, run=run)), file=server.stdin, flush=True)
        if name != "preflight":
            server.stdout.readline()
    worker = asyncio.run(asyncio.wait_for(_worker(workdir), 60))
    if ends == "closes":
        server.stdin.close()
        assert server.wait(60) == 0
    else:
        server.terminate()
        assert server.wait(60) == -signal.SIGTERM
    worker.wait(10)
    found = find_run(workdir)
    found.journal.acquire()
    found.journal.release()
    assert found.script is not None and found.preflight is None


def _request(number: int, name: str, /, **arguments: str) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
