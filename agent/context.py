"""What the LLM reads: the instructions, then where the run stands, rebuilt every turn.

The system prompt never changes within a run, so that a provider's prefix cache hits. History is short: what a step
settled is in the state, so only the last few exchanges are repeated, each cut to size.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..tools.jobs import cost_cap
from ..tools.skills import load_skills
from .toolbox import Toolbox, cut

if TYPE_CHECKING:
    from smolagents.memory import ActionStep
    from smolagents.models import ChatMessage

HISTORY_STEPS = 3
HISTORY_CHARS = 1500


@cache
def render_prompt(name: str, **values: Any) -> str:
    """Render `prompts/<name>.md`; a name that the template wants and does not get is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return environment.from_string((files("ftagent.prompts") / f"{name}.md").read_text(encoding="utf-8")).render(values)


def system_prompt() -> str:
    """Return the planner's instructions with the index of skills."""
    return render_prompt("system", skills=load_skills())


def turn_prompt(toolbox: Toolbox) -> str:
    """Return where the run stands: request, stated values, what is settled, money, the next expected step."""
    run = toolbox.run
    cap = cost_cap(run)
    spec = run.spec
    return render_prompt(
        "turn",
        request=toolbox.request or (spec.request if spec else ""),
        stated=", ".join(spec.stated) if spec else "",
        done=tuple(_settled(toolbox)),
        money=f"${run.cost_usd:.2f} spent" + (f" of ${cap:.2f}" if cap is not None else ", no cap"),
        error=str(toolbox.last_error) if toolbox.last_error else "",
        expected=toolbox.expected() or "",
    )


def build_messages(toolbox: Toolbox, steps: list[ActionStep]) -> list[ChatMessage]:
    """Return the whole conversation for the next turn: system, the last few exchanges, then the state."""
    from smolagents.models import ChatMessage, MessageRole

    def message(role: MessageRole, text: str) -> ChatMessage:
        return ChatMessage(role=role, content=[{"type": "text", "text": text}])

    messages = [message(MessageRole.SYSTEM, system_prompt())]
    for step in steps[-HISTORY_STEPS:]:
        if step.tool_calls:
            call = step.tool_calls[0]
            messages.append(message(MessageRole.USER, f"You called {call.name} with {call.arguments}."))
        result = str(step.error) if step.error else (step.observations or "")
        messages.append(message(MessageRole.USER, f"Result: <data>{cut(result, HISTORY_CHARS)}</data>"))
    messages.append(message(MessageRole.USER, turn_prompt(toolbox)))
    return messages


def _settled(toolbox: Toolbox) -> list[str]:
    """Say in one line each what stands, for the planner and for nobody else."""
    run = toolbox.run
    lines = []
    if run.spec:
        spec = run.spec
        lines.append(f"plan_run: {spec.method} of {spec.model} on {spec.dataset}; targets {', '.join(spec.targets)}")
    if run.dataset:
        data = run.dataset
        lines.append(f"validate_dataset: {data.verdict}, {data.rows} rows, p95 {data.lengths.p95} tokens")
    if run.hardware:
        hardware = run.hardware
        lines.append(f"pick_hardware: {hardware.flavor}, {hardware.adapter}, {60 * hardware.hours.expected:.0f} min")
    if run.script:
        lines.append(f"write_script: {run.script.path} {run.script.sha256[:12]}")
    if run.preflight:
        lines.append(f"preflight: {'green' if run.preflight.ok else 'red'}")
    if run.job:
        lines.append(f"submit_job: {run.job.id} on {run.job.backend}")
    if run.report:
        lines.append(f"monitor_job: {run.report.stage}, {run.report.health}: {run.report.reason}")
    lines += [f"repair_run: {repair.failure.name}: {repair.words}" for repair in run.repairs]
    if run.evaluation:
        lines.append(f"evaluate_model: {run.evaluation.verdict}")
    lines += [f"schedule_run: {s.trigger.cron or s.trigger.watched}, {s.state}" for s in run.schedules]
    if run.export:
        lines.append(f"export_gguf: {', '.join(f.quantisation for f in run.export.files)}")
    return lines
