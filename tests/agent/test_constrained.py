"""What decoding is held to: whatever a model may write there has an end."""

from __future__ import annotations

from typing import Any

from ftagent.agent.constrained import response_format
from ftagent.agent.railed import OfferedTool
from ftagent.agent.signatures import TOOL_NAMES, tool_info
from smolagents import FinalAnswerTool


def test_whatever_a_schema_lets_a_model_write_has_an_end() -> None:
    tools = [*(OfferedTool(tool_info(name)) for name in TOOL_NAMES), FinalAnswerTool()]
    calls = response_format(tools, bare=False)["json_schema"]["schema"]["anyOf"]
    ends = {
        f"{call['properties']['name']['const']}.{name}": _ends(value)
        for call in calls
        for name, value in call["properties"]["arguments"]["properties"].items()
    }
    assert [name for name, does in ends.items() if not does] == ["write_script.overrides"]  # values of any trainer
    assert "final_answer.answer" in ends and "export_gguf.quantisations" in ends


def _ends(value: dict[str, Any]) -> bool:
    match value.get("type"):
        case "string":
            return "enum" in value or "maxLength" in value
        case "array":
            return "maxItems" in value and _ends(value["items"])
        case kind:
            return kind in ("integer", "number", "boolean")
