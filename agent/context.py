"""What the LLM reads: the instructions, what was done, then where the run stands, rebuilt every turn.

The system prompt never changes within a run, what was done is only added to, and what changes every turn stands last:
so a provider's prefix cache hits. When it grows too long, old observations are shortened first, many at once, so that
the beginning stays the same for the turns after; then they are left out. Request, stated values and state always stay.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tools.jobs import cost_cap
from ..tools.skills import load_skills
from ..tools.wording import cut
from .foreign import as_data, readable, safe
from .toolbox import Toolbox

if TYPE_CHECKING:
    from jinja2 import Template
    from smolagents.memory import ActionStep
    from smolagents.models import ChatMessage

HISTORY_TOKENS = 4000
"""However large the window is: what a step settled is in the state, and every turn pays for all of this again."""
FRESH_CHARS = 1500
"""Of an observation while there is room."""
OLD_CHARS = 160
"""Of one that was shortened."""
ARGUMENT_CHARS = 300
LINE_CHARS = 300
"""Of one line of the state; reasons come from logs."""
ERROR_CHARS = 1200
SYSTEM_TOKENS = 3000
SKILL_CHARS = (400, 150, 50)
"""Of a skill's description: as long as all of them fit."""
TINY_TOKENS = 2000
"""Below, the index of skills is left out."""

_PIECES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d|[^\sA-Za-z\d]|\s+")


@lru_cache(maxsize=4096)
def tokens_of(text: str) -> int:
    """Return no fewer tokens than common tokenizers make of a text, whatever it is made of.

    Three letters of one case, a digit or another sign count as one: with the tokenizers of SmolLM2 and GPT-4 that is
    above the truth on prose, code, base64 and foreign scripts (`tests/agent/test_context.py`).
    """
    return sum(_tokens(piece) for piece in _PIECES.findall(text))


def _tokens(piece: str) -> int:
    if piece[0].isspace():
        return (len(piece) + 3) // 4 if len(piece) > 1 or piece == "\n" else 0
    return (len(piece) + 2) // 3 if piece.isascii() else len(piece.encode())


def render_prompt(name: str, **values: Any) -> str:
    """Render `prompts/<name>.md`; a name that the template wants and does not get is an error."""
    return _template(name).render(values)


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return environment.from_string((files("ftagent.prompts") / f"{name}.md").read_text(encoding="utf-8"))


def system_prompt(*, tiny: bool = False) -> str:
    """Return the planner's instructions with the index of skills, or for a tiny window without it.

    Descriptions are shortened where many skills would make it longer than `SYSTEM_TOKENS`.
    """
    skills = () if tiny else load_skills()
    for most in SKILL_CHARS:
        index = [_Skill(skill.name, safe(skill.description, most)) for skill in skills]
        text = render_prompt("system", skills=index)
        if tokens_of(text) <= SYSTEM_TOKENS:
            return text
    return render_prompt("system", skills=[])


class _Skill(NamedTuple):
    """A skill as the index has it."""

    name: str
    description: str


def turn_prompt(toolbox: Toolbox, *, request_chars: int | None = None) -> str:
    """Return where the run stands: request, stated values, what is settled, money, time, the next expected step.

    Args:
        toolbox: Knows where the run stands.
        request_chars: Most characters of the request itself; what was read of it as stated is always whole.
    """
    run = toolbox.run
    cap = cost_cap(run)
    spec = run.spec
    request = readable(toolbox.request or (spec.request if spec else ""))
    return render_prompt(
        "turn",
        request=cut(request, request_chars) if request_chars is not None else request,
        stated=", ".join(_stated(toolbox)),
        unread=readable("; ".join(spec.unread)) if spec else "",
        answers=tuple(_Said(safe(a.question, LINE_CHARS), readable(a.answer)) for a in run.answers),
        done=tuple(as_data(line, LINE_CHARS) for line in _settled(toolbox)),
        money=f"${run.cost_usd:.2f} spent" + (f" of ${cap:.2f}" if cap is not None else ", no cap"),
        time=_time(toolbox),
        error=as_data(str(toolbox.last_error), ERROR_CHARS) if toolbox.last_error else "",
        expected=toolbox.expected() or "",
        questions=safe(" ".join(spec.questions), LINE_CHARS) if spec else "",
    )


class _Said(NamedTuple):
    """A question and its answer, as the prompt has them."""

    question: str
    answer: str


def build_messages(
    toolbox: Toolbox, steps: list[ActionStep], room: int | None = None, system: str | None = None
) -> list[ChatMessage]:
    """Return the whole conversation for the next turn: system, what was done, then the state.

    Args:
        toolbox: Knows where the run stands.
        steps: The turns so far, oldest first.
        room: Most tokens of all messages together, by `tokens_of`; None for a planner that has no window.
        system: The system prompt as the run began with it; skills may have changed since.
    """
    from smolagents.models import ChatMessage, MessageRole

    def message(role: MessageRole, text: str) -> ChatMessage:
        return ChatMessage(role=role, content=[{"type": "text", "text": text}])

    tiny = room is not None and room < TINY_TOKENS
    system = system_prompt(tiny=True) if tiny else system or system_prompt()
    state = turn_prompt(toolbox)
    left = (HISTORY_TOKENS * 100 if room is None else room) - tokens_of(system)
    if tokens_of(state) > left:  # a request that is longer than the window
        rest = max(0, left - tokens_of(turn_prompt(toolbox, request_chars=0)))
        state = _fitting_state(toolbox, rest, left)
    past = [message(MessageRole.USER, text) for text in history(steps, min(HISTORY_TOKENS, left - tokens_of(state)))]
    return [message(MessageRole.SYSTEM, system), *past, message(MessageRole.USER, state)]


def _fitting_state(toolbox: Toolbox, rest: int, left: int) -> str:
    """Return the state with as much of the request as fits, both ends of it kept."""
    chars = rest * 3
    while tokens_of(state := turn_prompt(toolbox, request_chars=chars)) > left and chars > 0:
        chars = chars * 2 // 3
    return state


def history(steps: list[ActionStep], room: int) -> list[str]:
    """Return what was done, a text a turn; the oldest observations shortened, or left out, to fit into `room` tokens.

    Where all would be too long, half is made free at once: so the turns after add to the same beginning.
    """
    kept: list[tuple[str, str]] = []
    total = 0
    for step in steps:
        long, short = _exchange(step, FRESH_CHARS), _exchange(step, OLD_CHARS)
        kept.append((long, short))
        total += tokens_of(long)
        if total > room:
            kept = _halved(kept, room // 2)
            total = sum(tokens_of(long) for long, _ in kept)
    return [long for long, _ in kept]


def _halved(kept: list[tuple[str, str]], room: int) -> list[tuple[str, str]]:
    """Shorten from the oldest on, then leave out from the oldest on, until all fits into `room` tokens."""
    total = sum(tokens_of(long) for long, _ in kept)
    for number, (long, short) in enumerate(kept):
        if total <= room:
            break
        total += tokens_of(short) - tokens_of(long)
        kept[number] = (short, short)
    while kept and total > room:
        total -= tokens_of(kept.pop(0)[0])
    return kept


def _exchange(step: ActionStep, most_chars: int) -> str:
    """Return one turn as text: what was called, and what came of it."""
    result = str(step.error) if step.error else (step.observations or "")
    calls = step.tool_calls or ()
    called = f"You called {_safe(f'{calls[0].name} with {calls[0].arguments}', ARGUMENT_CHARS)}. " if calls else ""
    return f"{called}Result: <data>{_safe(result, most_chars)}</data>"


_safe = lru_cache(maxsize=4096)(safe)  # every turn has the text of all turns before it


def _stated(toolbox: Toolbox) -> list[str]:
    """Return every field that the person stated, with its value."""
    spec = toolbox.run.spec
    if spec is None:
        return []
    values = spec.model_dump(mode="json") | spec.overrides.given()
    return [readable(f"{name} {_value(values.get(name))}") for name in spec.stated]


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " and ".join(map(str, value))
    return str(value.get("words") if isinstance(value, dict) else value)


def _time(toolbox: Toolbox) -> str:
    run = toolbox.run
    hours = (datetime.now(UTC) - run.created).total_seconds() / 3600
    limit = run.spec.max_hours if run.spec else None
    if limit is None:
        return ""
    return f"{hours:.1f} h since the start; the job may take {limit:g} h"


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
    lines += [
        f"schedule_run: {s.trigger.does} at {s.trigger.cron or s.trigger.watched}, {s.state}" for s in run.schedules
    ]
    if run.export:
        lines.append(f"export_gguf: {', '.join(f.quantisation for f in run.export.files)}")
    return lines
