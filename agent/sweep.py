"""Several runs of one request under one budget, and what came out of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..tools.compare import comparison
from ..tools.errors import ApprovalNeeded, BudgetExceeded, ToolError, UserError

if TYPE_CHECKING:
    from ..tools.journal import Event
    from .loop import FineTuneAgent, RunResult


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """How a sweep ended."""

    results: dict[str, RunResult]
    """Each variant that was run, in order."""
    left_out: dict[str, str]
    """Each variant that was not, or not to its end, and why."""
    cost_usd: float
    """What all of them have spent, those that were stopped among them."""

    @property
    def table(self) -> str:
        """The runs side by side, as Markdown; what cannot be compared says so."""
        return comparison([result.run for result in self.results.values()]) if self.results else ""


class _Purse:
    """A listener that adds up what one run spends, also where it ends in an error."""

    def __init__(self) -> None:
        self._calls_usd = 0.0
        self._jobs_usd: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "llm_call":
            self._calls_usd += event.data["cost_usd"] or 0.0
        elif event.kind == "monitor_job":
            self._jobs_usd[event.data["job_id"]] = event.data["cost_usd"]

    @property
    def spent_usd(self) -> float:
        """GPU and LLM money."""
        return self._calls_usd + sum(self._jobs_usd.values())


def run_sweep(agent: FineTuneAgent, instruction: str, variants: Sequence[str], max_cost: float | None) -> Sweep:
    """Run each variant with what the ones before have left of the budget.

    Args:
        agent: Runs them; its settings, approval and listeners hold.
        instruction: The request.
        variants: What is added to it.
        max_cost: Cap in US dollars over all; None: the agent's own.

    Raises:
        UserError: There is no variant, or one cannot be used.
    """
    if not variants or len(set(variants)) != len(variants):
        raise UserError("a sweep needs variants, each one once.", hint='such as ["rank 8", "rank 64"]')
    cap = max_cost if max_cost is not None else agent.settings.max_cost_usd
    results: dict[str, RunResult] = {}
    left_out: dict[str, str] = {}
    spent = 0.0
    for variant in variants:
        if cap is not None and spent > cap:
            left_out[variant] = f"the budget of ${cap:.2f} is spent"
            continue
        if any(result.stopped for result in results.values()):
            left_out[variant] = "the work was stopped from outside"
            continue
        purse = _Purse()
        one = agent.with_cap(None if cap is None else cap - spent)
        one.listeners = (*one.listeners, purse)
        try:
            results[variant] = one.run(f"{instruction}, {variant}")
        except (ApprovalNeeded, BudgetExceeded, ToolError) as error:
            left_out[variant] = str(error)
        spent += purse.spent_usd
    return Sweep(results=results, left_out=left_out, cost_usd=spent)
