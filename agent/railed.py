"""One turn after another: smolagents' `ToolCallingAgent`, offered only what is legal now."""

from __future__ import annotations

from typing import Any

from smolagents import LogLevel, Tool, ToolCallingAgent
from smolagents.agents import FinalAnswerPromptTemplate, ManagedAgentPromptTemplate, PlanningPromptTemplate
from smolagents.memory import ActionStep
from smolagents.models import get_tool_json_schema
from smolagents.utils import AgentToolExecutionError

from ..tools.errors import ToolError
from .context import build_messages, system_prompt, tokens_of
from .signatures import ToolInfo, input_schema, tool_info
from .switch import Planner
from .toolbox import Toolbox


class RailedAgent(ToolCallingAgent):
    """A `ToolCallingAgent` that is offered only what is legal now and reads the state anew every turn."""

    def __init__(self, toolbox: Toolbox) -> None:
        self.toolbox = toolbox
        self.planner = Planner(toolbox)
        self.planner.rebuild = self._messages
        self._prompt = system_prompt()
        super().__init__(
            tools=[],
            model=self.planner,
            prompt_templates=_templates(self._prompt),
            verbosity_level=LogLevel.OFF,
        )

    @property
    def tools_and_managed_agents(self) -> list[Tool]:
        """The tools that are legal now; the end only when the way is at its end."""
        legal: list[Tool] = [OfferedTool(tool_info(name)) for name in self.toolbox.legal()]
        return legal if self.toolbox.expected() else [*legal, self.tools["final_answer"]]

    def write_memory_to_messages(self, summary_mode: bool = False) -> list[Any]:
        """Rebuild what the planner reads from the run itself."""
        return self._messages(self.planner.room)

    def _messages(self, room: int | None) -> list[Any]:
        """Return the prompt of this turn, in at most so many tokens, those of the offered tools among them."""
        if room is None:
            return []  # the built-in planner reads none
        steps = [step for step in self.memory.steps if isinstance(step, ActionStep)]
        offered = tokens_of(str([get_tool_json_schema(tool) for tool in self.tools_and_managed_agents]))
        return build_messages(self.toolbox, steps, room - offered, self._prompt)

    def execute_tool_call(self, tool_name: str, arguments: dict[str, Any] | str) -> Any:
        """Call a tool; only what the planner can mend becomes an observation, all else ends the run."""
        if tool_name == "final_answer" and self.toolbox.expected() is None:
            return super().execute_tool_call(tool_name, arguments)
        try:
            return self.toolbox.call(tool_name, arguments)
        except ToolError as error:
            raise AgentToolExecutionError(str(error), self.logger) from error


class OfferedTool(Tool):
    """A tool as a model's API wants it; it is called through the toolbox, never here."""

    skip_forward_signature_validation = True
    output_type = "string"

    def __init__(self, info: ToolInfo) -> None:
        self.name, self.description, self.inputs = info.name, info.description, _for_planners(info)
        super().__init__()

    def forward(self, **arguments: Any) -> Any:
        raise AssertionError(f"{self.name} is called through the toolbox")


def _for_planners(info: ToolInfo) -> dict[str, dict[str, Any]]:
    """Leave out what a planner has no say in: the user's own words."""
    hidden = ("request", "offline") if info.name == "plan_run" else ()
    return {name: entry for name, entry in input_schema(info).items() if name not in hidden}


def _templates(system: str) -> Any:
    """Return smolagents' prompt templates: ours for the system, empty ones for what this loop never does."""
    return {
        "system_prompt": system,
        "planning": PlanningPromptTemplate(initial_plan="", update_plan_pre_messages="", update_plan_post_messages=""),
        "managed_agent": ManagedAgentPromptTemplate(task="", report=""),
        "final_answer": FinalAnswerPromptTemplate(
            pre_messages="", post_messages="Say in two sentences where the run stands."
        ),
    }
