"""Who may spend what: nothing is submitted before somebody said yes to its quote."""

from __future__ import annotations

from collections.abc import Callable

from ..tools.errors import ApprovalNeeded
from ..tools.facts import Approval, Quote
from ..tools.jobs import hold_to_cap
from ..tools.run import Run

Decide = Callable[[Quote], bool]


def approve(run: Run, quote: Quote, decide: Decide | bool | None) -> Approval:
    """Ask `decide` about `quote`, after the cap was held against it.

    Args:
        run: The run that wants to spend.
        quote: What it would take.
        decide: True approves what stays under the cap (`--yes`), a callable is asked, None means nobody is there.

    Raises:
        BudgetExceeded: What is spent and what would be reserved are more than the cap, whoever approves.
        ApprovalNeeded: Nobody was there, or the answer was no.
    """
    hold_to_cap(run, quote)
    if decide is None:
        raise ApprovalNeeded(
            f"the job on `{quote.flavor}` ({words(quote)}) needs an approval, and nobody is here to give it.",
            hint=f"go on with `ftagent resume {run.id} --yes`",
        )
    if decide is True:
        return Approval(quote=quote, by="--yes")
    run.journal.tell("asks", text=f"the job on `{quote.flavor}` ({words(quote)}) waits for an approval")
    if decide is False or not decide(quote):
        raise ApprovalNeeded(
            f"the job on `{quote.flavor}` ({words(quote)}) was declined.",
            hint=f"nothing was started; `ftagent resume {run.id}` asks again",
        )
    return Approval(quote=quote, by="person" if getattr(decide, "asks_a_person", False) else "callable")


def words(quote: Quote) -> str:
    """Say a quote in one line."""
    minutes = [60 * hours for hours in (quote.hours.low, quote.hours.high)]
    took = (
        f"{minutes[0]:.0f}–{minutes[1]:.0f} min"
        if minutes[1] < 120
        else f"{minutes[0] / 60:.1f}–{minutes[1] / 60:.1f} h"
    )
    cost = "no money" if quote.reserve_usd == 0 else f"${quote.cost_usd.low:.2f}–${quote.cost_usd.high:.2f}"
    return f"{took}, {cost}"
