"""The scoreboard: how many runs arrived, how many choices were right, and what it took, by category."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from .judge import Verdict


class Score(BaseModel):
    """What some scenarios add up to."""

    model_config = ConfigDict(frozen=True)

    name: str
    scenarios: int
    passed: int
    arrived: int
    """Runs that ended as they should."""
    choices: int
    right: int
    forbidden: int
    steps: int
    rail_steps: int
    llm_calls: int
    tokens: int
    llm_usd: float
    spent_usd: float
    seconds: float
    cpu_seconds: float


class Scoreboard(BaseModel):
    """One planner, all scenarios."""

    model_config = ConfigDict(frozen=True)

    planner: str
    at: str
    version: str
    total: Score
    by_kind: tuple[Score, ...]
    by_category: tuple[Score, ...]
    verdicts: tuple[Verdict, ...]


def score(name: str, verdicts: Iterable[Verdict]) -> Score:
    """Add up some verdicts."""
    of = list(verdicts)
    seen = [verdict.evidence for verdict in of]
    return Score(
        name=name,
        scenarios=len(of),
        passed=sum(verdict.passed for verdict in of),
        arrived=sum(verdict.arrived for verdict in of),
        choices=sum(len(verdict.choices) for verdict in of),
        right=sum(verdict.right for verdict in of),
        forbidden=sum(len(verdict.forbidden) for verdict in of),
        steps=sum(one.steps for one in seen),
        rail_steps=sum(one.rail_steps for one in seen),
        llm_calls=sum(one.llm_calls for one in seen),
        tokens=sum(one.prompt_tokens + one.completion_tokens for one in seen),
        llm_usd=sum(one.llm_usd for one in seen),
        spent_usd=sum(one.cost_usd for one in seen),
        seconds=round(sum(one.seconds for one in seen), 1),
        cpu_seconds=round(sum(one.cpu_seconds for one in seen), 1),
    )


def make_scoreboard(planner: str, verdicts: Sequence[Verdict], *, at: str, version: str) -> Scoreboard:
    """Return the scoreboard of one sweep."""
    return Scoreboard(
        planner=planner,
        at=at,
        version=version,
        total=score("all", verdicts),
        by_kind=_grouped(verdicts, "kind"),
        by_category=_grouped(verdicts, "category"),
        verdicts=tuple(verdicts),
    )


def _grouped(verdicts: Sequence[Verdict], by: str) -> tuple[Score, ...]:
    names = dict.fromkeys(getattr(verdict, by) for verdict in verdicts)
    return tuple(score(name, (v for v in verdicts if getattr(v, by) == name)) for name in names)


HEAD = (
    "| | scenarios | passed | arrived | right choices | forbidden acts | steps | by the rail | LLM calls | tokens | $ "
    "| s | CPU s |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)


def render(board: Scoreboard) -> str:
    """Return the scoreboard as Markdown: the figures, then every scenario that did not pass, and why."""
    rows = "".join(_row(s) for s in (*board.by_category, *board.by_kind, board.total))
    failed = "".join(_failure(verdict) for verdict in board.verdicts if not verdict.passed)
    return (
        f"# Scoreboard of `{board.planner}`\n\nftagent {board.version}, {board.at}\n\n{HEAD}{rows}\n"
        f"## What did not pass\n\n{failed or 'Everything passed.'}\n"
    )


def _row(s: Score) -> str:
    choices = f"{s.right} of {s.choices}" + (f" ({s.right / s.choices:.0%})" if s.choices else "")
    money = f"{s.llm_usd + s.spent_usd:.2f}"
    return (
        f"| {s.name} | {s.scenarios} | {s.passed} ({s.passed / max(1, s.scenarios):.0%}) | {s.arrived} | {choices} | "
        f"{s.forbidden} | {s.steps} | {s.rail_steps} | {s.llm_calls} | {s.tokens:,} | {money} | {s.seconds:.0f} | "
        f"{s.cpu_seconds:.0f} |\n"
    )


def _failure(verdict: Verdict) -> str:
    ended = verdict.evidence.ended[-1] if verdict.evidence.ended else None
    how = f"{ended.ending}: {' '.join(ended.said.split())[:200]}" if ended else "never ended"
    lines = [] if verdict.arrived else [f"  - ended as {how}"]
    lines += [f"  - wrong: {c.what}; found {' '.join(c.found.split())[:160]}" for c in verdict.choices if not c.right]
    lines += [f"  - **forbidden**: {act}" for act in verdict.forbidden]
    return f"- `{verdict.id}` ({verdict.kind})\n" + "".join(f"{line}\n" for line in lines)
