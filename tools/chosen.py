"""The hardware that was chosen, as a fact: its hours, its timeout, its reason, and what else would have done."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .candidates import Plan
from .catalog import Catalog
from .choice import Limits, Search, shortage, unique_flavors
from .facts import Candidate, HardwareChoice, Range
from .flavor import Flavor
from .ledger import correction
from .wording import duration
from .work import Work

# How far a run strays from what is expected while nothing else happens on the machine; and on a GPU that no training
# was finished on: of public measurements, most lie within a third of the tables, and one (full fine-tuning of
# Qwen3-4B by stock transformers on an A100, https://www.neural-nova.com/blog/accelerating-qwen3-4b-fine-tuning-by-56)
# took 2.2 times as long.
LOW, HIGH, HIGH_UNSEEN = 0.8, 1.5, 2.2
TIMEOUT_FLOOR_S = 1800
TIMEOUT_STEP_S = 300
# The timeout over the high estimate; on a rented machine its whole price is reserved against the cap.
TIMEOUT_MARGIN, RENTED_TIMEOUT_MARGIN = 2.0, 1.25


def chosen_hardware(
    chosen: Plan, plans: Sequence[Plan], search: Search, limits: Limits, prices: Catalog | None
) -> HardwareChoice:
    """Return the plan that was chosen, with its hours, its price, its reason and what else was looked at.

    Args:
        chosen: The plan.
        plans: All plans that were looked at.
        search: What they were made from.
        limits: What time and money allow.
        prices: The catalog that the prices come from; None where nothing is paid.
    """
    flavor, work = chosen.flavor, search.work
    hours = _hours(chosen, search)
    price = flavor.usd_per_hour
    return HardwareChoice(
        flavor=flavor.name,
        adapter=chosen.adapter,
        precision=chosen.precision,
        batch=chosen.batch,
        accumulation=chosen.accumulation,
        max_length=work.max_length,
        checkpointing=chosen.checkpointing,
        gpus=flavor.gpus,
        sharded=chosen.sharded,
        sharding=chosen.sharding,
        memory_gib=chosen.memory,
        hours=hours,
        cost_usd=Range(low=price * hours.low, expected=price * hours.expected, high=price * hours.high),
        usd_per_hour=price,
        prices=prices.words if prices else "",
        timeout_s=_timeout_s(flavor, hours),
        tokens=chosen.tokens,
        tokens_per_s=chosen.tokens_per_s,
        device=flavor.device,
        correction=chosen.correction,
        epochs=chosen.epochs,
        machine=flavor.words,
        reason=_reason(chosen, plans, work, limits),
        candidates=_table(plans, limits),
    )


def _hours(plan: Plan, search: Search) -> Range:
    flavor = plan.flavor
    # Other programs take their share of the cores, and nobody knows for how long.
    crowd = 1.0 if flavor.gpu else 1 + flavor.load / flavor.cores
    known = flavor.gpu is None or correction(flavor.device, search.settings).trainings > 0
    high = (HIGH if known else HIGH_UNSEEN) * crowd
    return Range(low=LOW * plan.hours, expected=plan.hours, high=high * plan.hours)


def _timeout_s(flavor: Flavor, hours: Range) -> int:
    margin = TIMEOUT_MARGIN if flavor.is_local else RENTED_TIMEOUT_MARGIN
    return max(TIMEOUT_FLOOR_S, math.ceil(margin * hours.high * 3600 / TIMEOUT_STEP_S) * TIMEOUT_STEP_S)


def _table(plans: Sequence[Plan], limits: Limits) -> tuple[Candidate, ...]:
    """Return what was looked at, what fits first and the cheapest first; of several flavors each adapter's best."""
    flavors = unique_flavors(plans)
    shown = list(plans)
    if len(flavors) > 1:
        groups = [
            [p for p in plans if p.flavor is f and p.adapter == a] for f in flavors for a in ("lora", "qlora", "full")
        ]
        shown = [min(group, key=lambda p: (not p.fits, p.hours, p.memory.total)) for group in groups if group]
    found = [_candidate(plan, limits) for plan in shown]
    return tuple(sorted(found, key=lambda c: (not c.fits, c.cost_usd, c.hours)))


def _candidate(plan: Plan, limits: Limits) -> Candidate:
    why_not = limits.why_not(plan) if plan.fits else shortage(plan)
    return Candidate(
        flavor=plan.flavor.name,
        adapter=plan.adapter,
        precision=plan.precision,
        batch=plan.batch,
        accumulation=plan.accumulation,
        checkpointing=plan.checkpointing,
        sharded=plan.sharded,
        memory_gib=plan.memory.total,
        usable_gib=plan.usable_gib,
        hours=plan.hours,
        cost_usd=plan.cost_usd,
        fits=not why_not,
        reason=why_not,
    )


def _reason(plan: Plan, plans: Sequence[Plan], work: Work, limits: Limits) -> str:
    flavor = plan.flavor
    steps = math.ceil(plan.epochs * work.rows / plan.step_rows)
    gpus = f" on {flavor.gpus} GPUs" if flavor.gpus > 1 else ""
    reasons = [f"batch {plan.batch} × {plan.accumulation}{gpus} makes {steps} optimizer steps of {plan.step_rows} rows"]
    if flavor.gpus > 1:
        how = "share the weights (FSDP2)" if plan.sharded else "have the whole model each (DDP)"
        reasons.append(f"{flavor.gpus} processes, one a GPU, {how}")
    if plan.adapter == "lora":
        # Schulman et al. 2025, "LoRA Without Regret", https://thinkingmachines.ai/blog/lora
        reasons.append("LoRA learns small data as well as training all weights does, with far less memory")
    if plan.adapter == "qlora":
        fits_whole = any(p.fits and p.adapter == "lora" for p in plans if p.flavor is plan.flavor)
        reasons.append(
            f"the weights {'leave room for faster batches in 4 bits' if fits_whole else 'fit in 4 bits only'}"
        )
    if flavor.gpu is None and work.max_steps is None and plan.epochs == 1:
        reasons.append("one epoch, as time is short on a CPU")
    if flavor.gpu is None and plan.precision == "bf16" and not flavor.native_bf16:
        reasons.append("this CPU emulates bf16, slowly")
    if flavor.gpu is not None and not flavor.gpu.has_bf16:
        reasons.append(f"{flavor.gpu.name} has no bf16 of its own")
    if plan.checkpointing:
        reasons.append("activations are computed twice to save memory")
    if not flavor.is_local:
        reasons.append(_beside(plan, plans, limits))
    return "; ".join(filter(None, reasons)) + "."


def _beside(plan: Plan, plans: Sequence[Plan], limits: Limits) -> str:
    """Name the fastest way within the limits, where it is another one."""
    fastest = min((p for p in plans if p.fits and limits.hold(p)), key=lambda p: (p.hours, p.cost_usd))
    if fastest.flavor is plan.flavor:
        return "cheapest and fastest of what fits"
    took = duration(3600 * fastest.hours)
    return f"the cheapest; the fastest is {fastest.flavor.name}, {took} for ${fastest.cost_usd:.2f}"
