"""What a tool looks like from outside, read off its function: a face cannot drift from its tool."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from ..tools.errors import ToolError

_HOMES = {
    "plan_run": "plan",
    "validate_dataset": "dataset",
    "pick_hardware": "hardware",
    "write_script": "script",
    "preflight": "preflight",
    "submit_job": "jobs",
    "monitor_job": "monitor",
    "repair_run": "repair",
    "cancel_job": "jobs",
    "evaluate_model": "evaluate",
    "export_gguf": "export",
    "schedule_run": "schedule",
    "show_run": "report",
    "show_metrics": "curves",
    "compare_runs": "compare",
    "read_skill": "skills",
    "ask_user": "asking",
}
TOOL_NAMES = tuple(name for name in _HOMES if name != "ask_user")  # which only a planner can call


@dataclass(frozen=True, kw_only=True)
class ToolInfo:
    """One tool, as its function tells it."""

    name: str
    function: Callable[..., Any]
    description: str
    """The docstring before `Args:`."""
    arguments: type[BaseModel]
    """One field a parameter, without the run; each with its default and its line of the docstring."""
    takes_run: bool


def find_tool(name: str) -> Callable[..., Any]:
    """Return the function behind a tool, imported now."""
    return getattr(import_module(f"ftagent.tools.{_HOMES[name]}"), name)


@cache
def tool_info(name: str) -> ToolInfo:
    """Return the tool called `name`, imported now.

    Raises:
        ToolError: There is no such tool.
    """
    if name not in _HOMES:
        raise ToolError(f"there is no tool `{name}`.", hint=f"tools: {', '.join(TOOL_NAMES)}")
    function = find_tool(name)
    documentation = inspect.getdoc(function) or ""
    described = dict(re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", documentation, re.MULTILINE))
    hints = get_type_hints(function)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name != "run":
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            text = re.sub(r"\s+", " ", described[parameter.name])
            fields[parameter.name] = (hints[parameter.name], Field(default=default, description=text))
    return ToolInfo(
        name=name,
        function=function,
        description=documentation.split("\nArgs:")[0].strip(),
        arguments=create_model(name, __config__=ConfigDict(extra="forbid"), **fields),
        takes_run="run" in hints,
    )


def input_schema(info: ToolInfo) -> dict[str, dict[str, Any]]:
    """Return the arguments in the form that smolagents and JSON-schema function calling share."""
    schema = info.arguments.model_json_schema()
    required = schema.get("required", [])
    inputs: dict[str, dict[str, Any]] = {}
    for name, entry in schema.get("properties", {}).items():
        choices = [c for c in entry.get("anyOf", [entry]) if c.get("type") != "null"]
        one = {key: value for key, value in choices[0].items() if key not in ("default", "title", "description")}
        inputs[name] = {"description": entry["description"], "type": "any", **one}
        if name not in required:
            inputs[name]["nullable"] = True
    return inputs


def check_arguments(info: ToolInfo, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with their types; None counts as not given.

    Raises:
        ToolError: An argument is unknown, missing or of the wrong type.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        checked = info.arguments.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = ", ".join(info.arguments.model_fields) or "none"
        raise ToolError(f"{info.name}: `{where}`: {first['msg'].lower()}.", hint=f"arguments: {known}") from error
    return {name: getattr(checked, name) for name in given}
