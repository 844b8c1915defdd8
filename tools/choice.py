"""Which of all ways to train is taken, and what is said where none can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from .candidates import Plan, Wish, candidates
from .errors import ToolError
from .flavor import Flavor
from .ledger import correction
from .settings import Settings
from .wording import duration
from .work import Work

# Among plans that take about as long, the one with the least memory is taken.
ABOUT_AS_LONG = 1.1
SHORTEST_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the person set; None where they set nothing."""

    hours: float | None
    usd: float | None

    def hold(self, plan: Plan) -> bool:
        """Whether the plan, as it is expected, stays within them."""
        return self.why_not(plan) == ""

    def why_not(self, plan: Plan) -> str:
        """Say which limit the plan breaks, or nothing."""
        if self.hours is not None and plan.hours > self.hours:
            return f"takes {duration(3600 * plan.hours)}"
        if self.usd is not None and plan.cost_usd > self.usd:
            return f"costs ${plan.cost_usd:.2f}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Search:
    """All ways that are looked at."""

    work: Work
    wish: Wish
    flavors: tuple[Flavor, ...]
    settings: Settings
    rented: tuple[Flavor, ...] = ()
    """All that can be rented, where renting was asked for."""

    def plans(self) -> list[Plan]:
        """Return the plans on every flavor."""
        return [
            plan
            for flavor in self.flavors
            for plan in candidates(self.work, self.wish, flavor, correction(flavor.device, self.settings).factor)
        ]


def choose(plans: Sequence[Plan], limits: Limits) -> Plan | None:
    """Return the cheapest of what each flavor does best within the limits; of equally cheap ones the fastest."""
    fitting = [plan for plan in plans if plan.fits and limits.hold(plan)]
    best = [_best([plan for plan in fitting if plan.flavor is flavor]) for flavor in unique_flavors(fitting)]
    return min(best, key=lambda plan: (plan.cost_usd, plan.hours), default=None)


def unique_flavors(plans: Sequence[Plan]) -> list[Flavor]:
    """Return the flavors of the plans, each once."""
    return list({plan.flavor.name: plan.flavor for plan in plans}.values())


def _best(plans: Sequence[Plan]) -> Plan:
    """Return the plan to take on one flavor: the first adapter that fits, and of its plans the fastest.

    Where minutes are paid for, QLoRA counts as LoRA does, and no tenth is given away for memory that nobody needs.
    """
    paid = not plans[0].flavor.is_local
    first = ("lora", "qlora") if paid and plans[0].adapter != "full" else (plans[0].adapter,)
    same = [plan for plan in plans if plan.adapter in first]
    fastest = min(plan.hours for plan in same)
    slack = 1.0 if paid else ABOUT_AS_LONG
    return min((p for p in same if p.hours <= slack * fastest), key=lambda p: p.memory.total)


# --- refusals ---------------------------------------------------------------------------------------------------------


def refuse(plans: Sequence[Plan], search: Search, limits: Limits) -> NoReturn:
    """Raise with the numbers of what came closest, and with what would fit.

    Raises:
        ToolError: Always.
    """
    work = search.work
    fitting = [plan for plan in plans if plan.fits]
    if not fitting:
        closest = min(plans, key=lambda plan: plan.memory.total / plan.usable_gib)
        where = "this machine" if closest.flavor.is_local else closest.flavor.name
        raise ToolError(
            f"{closest.words} at {work.longest} tokens does not fit {where}: {shortage(closest)}.",
            hint=_what_fits(search),
        )
    if limits.hours is not None and all(plan.hours > limits.hours for plan in fitting):
        fastest = min(fitting, key=lambda plan: plan.hours)
        raise ToolError(
            f"{fastest.words} takes {duration(3600 * fastest.hours)} for {fastest.tokens:,} tokens, and the limit is "
            f"{duration(3600 * limits.hours)}.",
            hint=f"max_hours {math.ceil(100 * fastest.hours) / 100:g}, or fewer epochs",
        )
    in_time = [plan for plan in fitting if limits.hours is None or plan.hours <= limits.hours]
    cheapest = min(in_time, key=lambda plan: plan.cost_usd)
    raise ToolError(
        f"the cheapest way, {cheapest.words} on {cheapest.flavor.name}, costs ${cheapest.cost_usd:.2f} for "
        f"{cheapest.tokens:,} tokens, and the budget is ${limits.usd:.2f}.",
        hint=f"a budget of ${math.ceil(100 * cheapest.cost_usd) / 100:.2f}, or fewer epochs",
    )


def shortage(plan: Plan) -> str:
    """Say what is too small for the plan, with the largest items."""
    if plan.memory.total <= plan.usable_gib:
        return plan.shortage
    items = plan.memory.model_dump(exclude={"total"})
    largest = sorted(items, key=lambda name: items[name], reverse=True)[:2]
    listed = ", ".join(f"{name} {items[name]:.1f}" for name in largest)
    return f"{plan.memory.total:.1f} of {plan.usable_gib:.1f} GiB usable; {listed}"


def _what_fits(search: Search) -> str:
    """Name another setup that fits, else shorter rows, else a larger flavor, else the memory that it takes."""
    no_limits = Limits(hours=None, usd=None)
    others = replace(search, wish=Wish(precision=search.wish.precision)).plans()
    if fitting := choose(others, no_limits):
        return f"{fitting.words} takes {fitting.memory.total:.1f} GiB"
    length = search.work.longest // 2
    while length >= SHORTEST_ROWS:
        shorter = replace(search, work=replace(search.work, max_length=length), wish=Wish())
        if fitting := choose(shorter.plans(), no_limits):
            return f"max_length {length} fits: {fitting.words} takes {fitting.memory.total:.1f} GiB"
        length //= 2
    if search.rented:
        larger = replace(search, flavors=search.rented)
        if fitting := choose(larger.plans(), no_limits):
            return f"{fitting.flavor.name} fits: {fitting.words} takes {fitting.memory.total:.1f} GiB"
    least = min(plan.memory.total for plan in others)
    return f"take a smaller model, or a machine with more than {least:.1f} GiB of free memory"
