"""A strong planner, scripted: it reads where it stands and calls what comes next, over the OpenAI protocol."""

from __future__ import annotations

import re
from typing import Any

from ..openai_server import Reply

STEPS = [
    "plan_run",
    "validate_dataset",
    "pick_hardware",
    "write_script",
    "preflight",
    "submit_job",
    "monitor_job",
    "evaluate_model",
    "export_gguf",
]


def offered_tools(body: dict[str, Any]) -> list[str]:
    """Return the names of the tools that a request offers."""
    return [tool["function"]["name"] for tool in body.get("tools", [])]


def expected_step(body: dict[str, Any]) -> str | None:
    """Return the step that the request's last message says comes next."""
    found = re.search(r"Next expected step: (\w+)", str(body["messages"][-1]["content"]))
    return found.group(1) if found else None


def strong(body: dict[str, Any]) -> Reply:
    """A planner that reads where it stands and calls what comes next."""
    if step := expected_step(body):
        return Reply(tool=step)
    return Reply(tool="final_answer", arguments={"answer": "All is done, and the tuned model is better."})
