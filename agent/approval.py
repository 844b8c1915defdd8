"""Who may spend what: nothing is submitted before somebody said yes to its quote."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from ..tools.errors import ApprovalNeeded, UserError
from ..tools.facts import Approval, Quote, ScheduleApproval, ScheduleQuote
from ..tools.jobs import hold_to_cap
from ..tools.later_cost import NAMES
from ..tools.run import Run
from ..tools.wording import duration

Decide = Callable[[Any], bool]
"""Answers a `Quote` or a `ScheduleQuote`; one that has a person behind it says so in its `asks_a_person`."""

AsyncDecide = Callable[[Any], Awaitable[bool]]
"""The same as a coroutine, for `FineTuneAgent.arun` and its siblings."""


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
    if decide is False or not _says_yes(decide, quote):
        raise ApprovalNeeded(
            f"the job on `{quote.flavor}` ({words(quote)}) was declined.",
            hint=f"nothing was started; `ftagent resume {run.id}` asks again",
        )
    return Approval(quote=quote, by="person" if getattr(decide, "asks_a_person", False) else "callable")


def approve_schedule(run: Run, quote: ScheduleQuote, decide: Decide | bool | None) -> ScheduleApproval:
    """Ask a person about a schedule; `--yes` and a callable with nobody behind it are not enough.

    Args:
        run: The run that is to be repeated.
        quote: When, and what it may cost.
        decide: As for `approve`; only one that asks a person counts.

    Raises:
        ApprovalNeeded: No person was there, or the answer was no.
    """
    if not callable(decide) or not getattr(decide, "asks_a_person", False):
        raise ApprovalNeeded(
            f"a schedule ({schedule_words(quote)}) spends again and again: only a person can approve it.",
            hint=f"in a terminal: `ftagent tool schedule_run --run {run.id} --when {shlex.quote(quote.trigger.words)}`",
        )
    if not _says_yes(decide, quote):
        raise ApprovalNeeded(f"the schedule ({schedule_words(quote)}) was declined.", hint="nothing was scheduled")
    return ScheduleApproval(quote=quote, by="person")


def _says_yes(decide: Decide, quote: Quote | ScheduleQuote) -> bool:
    """Return the answer; a coroutine is none, though Python would take it for a yes."""
    answer: object = decide(quote)
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise UserError("the approval is a coroutine, and nobody awaits it here.", hint="arun, astream and aresume do")
    return bool(answer)


DOES = {"train": "", "evaluate": "evaluates new checkpoints"}
"""What a schedule does, in words; that it trains goes without saying."""


def schedule_words(quote: ScheduleQuote) -> str:
    """Say when a schedule fires and what it may cost, in one line."""
    if quote.trigger.cron is None or quote.month_usd is None:
        when = f"at each commit to the dataset {quote.trigger.watched}"
        return f"{when}, on {quote.flavor}: at most ${quote.once_usd:.2f} each time, however many commits come"
    does = DOES[quote.trigger.does]
    return (
        f"{does}{does and ', '}cron `{quote.trigger.cron}` in UTC, on {quote.flavor}: "
        f"at most ${quote.once_usd:.2f} each time, "
        f"${quote.month_usd:.2f} a month ({quote.firings_a_month:.1f} times)"
    )


def offer(quote: Quote) -> str:
    """Say where a job would run, how long, and what it may cost at most, as a person is asked about it."""
    where = quote.flavor if quote.flavor == quote.backend else f"{quote.backend} · {quote.flavor}"
    most = f" · at most ${quote.reserve_usd:.2f}" if quote.reserve_usd else ""
    return f"{where} · {words(quote)}{most}"


def words(quote: Quote) -> str:
    """Say a quote in one line."""
    low, high = (duration(3600 * hours) for hours in (quote.hours.low, quote.hours.high))
    took = f"{low} to {high}" if low != high else f"about {low}"
    cost = "no money" if quote.reserve_usd == 0 else f"${quote.cost_usd.low:.2f}–${quote.cost_usd.high:.2f}"
    parts = [f"{NAMES[p.purpose]} on {p.flavor} at most ${p.reserve_usd:.2f}" for p in quote.parts]
    with_parts = f" (with {', '.join(parts)})" if parts else ""
    return f"{took}, {cost}{with_parts}" + (f"; uploads {quote.uploads}" if quote.uploads else "")
