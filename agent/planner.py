"""The built-in planner: a smolagents `Model` with no LLM inside.

It follows `skills/fine-tuning/SKILL.md`: the next step of the way, with the defaults of the run. What a tool refused
it cannot mend, so it stops there and hands the refusal on; a person, or an LLM, can do better.
"""

from __future__ import annotations

from typing import Any

from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    Model,
    TokenUsage,
)

from ..tools.errors import InputError, ToolError
from ..tools.run import Run
from .toolbox import Toolbox

MOST_TIMES = 3


class BuiltinPlanner(Model):
    """Calls the next expected tool, bare.

    Args:
        toolbox: Knows where the run stands.
    """

    def __init__(self, toolbox: Toolbox) -> None:
        super().__init__(model_id="builtin")
        self.toolbox = toolbox
        self._last_step: str | None = None
        self._times = 0

    def generate(self, messages: list[Any], *_: Any, **__: Any) -> ChatMessage:
        """Return the call that comes next.

        Raises:
            InputError: The instruction leaves something open that a person must decide.
            ToolError: The last call was refused, or a step was done again and again and settled nothing.
        """
        if self.toolbox.last_error is not None:
            raise self.toolbox.last_error
        if question := self.toolbox.open_question():
            asked = {answer.question for answer in self.toolbox.run.answers}
            if "ask_user" not in self.toolbox.legal() or question in asked:
                raise undecided(question)
            return tool_call("ask_user", {"question": question})
        step = self.toolbox.expected()
        if step is None:
            return tool_call("final_answer", {"answer": summary(self.toolbox.run)})
        self._times = self._times + 1 if step == self._last_step else 1
        self._last_step = step
        if self._times > MOST_TIMES:
            raise ToolError(f"{step} was done {MOST_TIMES} times and is still the next step.", hint="this is a bug")
        return tool_call(step, {})


def undecided(question: str) -> InputError:
    """Return the error that ends a run which a person must decide something of first."""
    return InputError(question, hint="say it in the instruction")


def tool_call(name: str, arguments: dict[str, Any]) -> ChatMessage:
    """Return the message that calls one tool."""
    call = ChatMessageToolCall(
        id="call_1", type="function", function=ChatMessageToolCallFunction(name=name, arguments=arguments)
    )
    return ChatMessage(role=MessageRole.ASSISTANT, content=None, tool_calls=[call], token_usage=TokenUsage(0, 0))


def summary(run: Run) -> str:
    """Say in plain sentences how the run ended."""
    sentences = []
    if run.preflight is not None and not run.preflight.ok:
        red = next(check for check in run.preflight.checks if not check.ok)
        sentences.append(f"Preflight stopped the script: {red.name}: {red.detail}")
    elif run.report is None:
        sentences.append(f"Everything that is free is done; nothing was submitted: `ftagent resume {run.id}` goes on.")
    elif run.report.health != "done":
        sentences.append(f"The training ended as {run.report.health.replace('_', ' ')}: {run.report.reason}")
        if run.report.failure:
            sentences.append(f"Decide: {run.report.failure.advice}.")
    if run.evaluation:
        first = run.evaluation.comparisons[0]
        sentences.append(
            f"{first.metric} over {first.items} items: base {first.base:.3f}, tuned {first.tuned:.3f} "
            f"(p = {first.p_value:.2g}): {first.verdict}."
        )
    if run.export:
        sentences.append(f"GGUF: {', '.join(file.path for file in run.export.files)}.")
    return " ".join(sentences) or "The training is done."
