"""Where and how a run trains: flavor, adapter, precision, batch, memory, time and money, all from arithmetic.

Flavors are this machine and, for the `hf-jobs` backend, those of Hugging Face Jobs. Not covered: several machines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from .candidates import Plan, Wish
from .catalog import Catalog, catalog
from .choice import Limits, Search, choose, refuse, shortage, time_words, unique_flavors
from .errors import ToolError
from .facts import REWARDED_METHODS, Adapter, Candidate, HardwareChoice, Precision, Range, Spec
from .flavor import LOCAL, Flavor, local_flavor
from .gates import DATA, require
from .ledger import correction
from .machine import probe_machine
from .run import Run
from .wording import one_line
from .work import Work, work_of

TOOL = "pick_hardware"

# How far a run strays from what is expected while nothing else happens on the machine; and on a GPU that no training
# was finished on: of public measurements, most lie within a third of the tables, and one (full fine-tuning of
# Qwen3-4B by stock transformers on an A100, https://www.neural-nova.com/blog/accelerating-qwen3-4b-fine-tuning-by-56)
# took 2.2 times as long.
LOW, HIGH, HIGH_UNSEEN = 0.8, 1.5, 2.2
TIMEOUT_FLOOR_S = 1800
TIMEOUT_STEP_S = 300
# The timeout over the high estimate; on a rented machine its whole price is reserved against the cap.
TIMEOUT_MARGIN, RENTED_TIMEOUT_MARGIN = 2.0, 1.25

T = TypeVar("T")


def pick_hardware(
    run: Run,
    *,
    tokens: int | None = None,
    flavor: str | None = None,
    adapter: Adapter | None = None,
    precision: Precision | None = None,
    batch: int | None = None,
    max_length: int | None = None,
    checkpointing: bool | None = None,
    max_hours: float | None = None,
) -> HardwareChoice:
    """Choose where and how this run trains, and predict its memory, time and cost.

    Returns the flavor, the adapter (LoRA unless something else was asked for), the precision, a batch that fits, the
    accumulation that makes an optimizer step of it, epochs, itemised peak memory in GiB, a range of hours and of US
    dollars, and what else would fit, the cheapest first. The cheapest that fits wins, however slow; `max_hours` and
    the budget rule others out. What the person stated is kept; what is given here is kept too, and the rest is chosen
    around it.

    Args:
        run: The run, with its dataset validated.
        tokens: Tokens of the whole training; with it, the dataset need not be validated.
        flavor: The machine: `local`, or a flavor of Hugging Face Jobs such as l4x1.
        adapter: full, lora, or qlora (which needs a CUDA GPU).
        precision: fp32, fp16 or bf16.
        batch: Rows that are computed at once.
        max_length: Rows are cut at this many tokens; by default where the validated dataset is cut.
        checkpointing: Compute activations twice to save memory; unasked only where nothing else fits.
        max_hours: Wall-clock limit in hours; by default the plan's, if it has one.

    Raises:
        ToolError: Nothing fits memory, time or budget; the message has the numbers, the hint what would fit.
    """
    require(TOOL, run, but=frozenset({DATA}) if tokens is not None else frozenset())
    spec = run.spec
    assert spec is not None  # the gate
    stated = spec.overrides
    wish = Wish(
        adapter=_agreed("adapter", stated.adapter, adapter),
        precision=precision,
        batch=_agreed("batch", stated.per_device_train_batch_size, batch),
        # Whoever states a batch and no accumulation, as TRL does, means that batch to be the step; but a step must hold
        # all completions of a prompt.
        accumulation=stated.gradient_accumulation_steps
        or (1 if stated.per_device_train_batch_size and spec.method not in REWARDED_METHODS else None),
        checkpointing=_agreed("checkpointing", stated.gradient_checkpointing, checkpointing),
    )
    flavors, prices = _flavors(spec, flavor)
    flavors = _possible(wish, flavors)
    length = _agreed("max_length", stated.max_length, max_length)
    if length is not None and length < 1:
        raise ToolError(f"max_length {length} keeps no token.", hint="leave it out, and the data decides")
    work = work_of(
        spec, run.dataset, tokens, length, on_gpu=any(flavor.gpu for flavor in flavors), settings=run.settings
    )
    limits = Limits(hours=max_hours if max_hours is not None else spec.max_hours, usd=spec.budget_usd)
    rented = prices.flavors if prices else ()
    search = Search(work=work, wish=wish, flavors=tuple(flavors), settings=run.settings, rented=rented)
    plans = search.plans()
    chosen = choose(plans, limits) or refuse(plans, search, limits)
    return _choice(chosen, plans, search, limits, prices)


def _flavors(spec: Spec, wanted: str | None) -> tuple[list[Flavor], Catalog | None]:
    """Return the flavors that the run may train on, and the catalog behind them where they are rented.

    Raises:
        ToolError: There is no such flavor, it belongs to another backend than the one that was stated, or it is
            another one than the person stated.
    """
    rented = spec.backend == "hf-jobs" if wanted is None else wanted != LOCAL
    if "backend" in spec.stated and rented != (spec.backend == "hf-jobs"):
        raise ToolError(f"`{one_line(str(wanted))}` is no flavor of {spec.backend}.", hint="leave flavor out")
    prices = catalog() if rented else None
    flavors = list(prices.flavors) if prices else [local_flavor(probe_machine())]
    if spec.flavor is not None:
        flavors = _named(spec.flavor, flavors)
    if wanted is None or not rented:
        return flavors, prices
    named = _named(wanted, flavors)
    return named, prices


def _named(name: str, flavors: Sequence[Flavor]) -> list[Flavor]:
    """Return the flavor of this name, or those with the GPU of this name.

    Raises:
        ToolError: There is none.
    """
    said = name.casefold()
    named = [flavor for flavor in flavors if said in (flavor.name, flavor.gpu.name.casefold() if flavor.gpu else None)]
    if named:
        return named
    if flavors[0].is_local:
        raise ToolError(f"this machine is no `{one_line(name)}`.", hint="--backend hf-jobs rents one")
    known = ", ".join([LOCAL, *(flavor.name for flavor in flavors)])
    raise ToolError(f"`{one_line(name)}` is no flavor.", hint=f"one of {known}")


def _agreed(name: str, stated: T | None, given: T | None) -> T | None:
    """Return what was stated, else what was given; a stated value is never overruled."""
    if stated is not None and given is not None and stated != given:
        raise ToolError(f"{name} {given} goes against the {stated} that was stated.", hint=f"leave {name} out")
    return given if stated is None else stated


def _possible(wish: Wish, flavors: Sequence[Flavor]) -> list[Flavor]:
    """Return the flavors that can do what was asked for.

    Raises:
        ToolError: None can.
    """
    if wish.batch is not None and wish.batch < 1:
        raise ToolError(f"batch {wish.batch} has no rows.", hint="1 is the smallest")
    needs_gpu = wish.adapter == "qlora" or wish.precision == "fp16"
    possible = [flavor for flavor in flavors if flavor.gpu or not needs_gpu]
    if not possible:
        what = "qlora" if wish.adapter == "qlora" else "fp16"
        where = "this machine" if flavors[0].is_local else f"`{flavors[0].name}`"
        instead = "adapter lora" if what == "qlora" else "precision fp32"
        raise ToolError(f"{what} needs a CUDA GPU, and {where} has none.", hint=f"{instead} trains on a CPU")
    return possible


# --- the choice -------------------------------------------------------------------------------------------------------


def _choice(
    chosen: Plan, plans: Sequence[Plan], search: Search, limits: Limits, prices: Catalog | None
) -> HardwareChoice:
    flavor, work = chosen.flavor, search.work
    # Other programs take their share of the cores, and nobody knows for how long.
    crowd = 1.0 if flavor.gpu else 1 + flavor.load / flavor.cores
    known = flavor.gpu is None or correction(flavor.device, search.settings).trainings > 0
    high = (HIGH if known else HIGH_UNSEEN) * crowd
    hours = Range(low=LOW * chosen.hours, expected=chosen.hours, high=high * chosen.hours)
    margin = TIMEOUT_MARGIN if flavor.is_local else RENTED_TIMEOUT_MARGIN
    timeout_s = max(TIMEOUT_FLOOR_S, math.ceil(margin * hours.high * 3600 / TIMEOUT_STEP_S) * TIMEOUT_STEP_S)
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
        timeout_s=timeout_s,
        tokens=chosen.tokens,
        tokens_per_s=chosen.tokens_per_s,
        device=flavor.device,
        correction=chosen.correction,
        epochs=chosen.epochs,
        machine=flavor.words,
        reason=_reason(chosen, plans, work, limits),
        candidates=_table(plans, limits),
    )


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
    return (
        f"the cheapest; the fastest is {fastest.flavor.name}, {time_words(fastest.hours)} for ${fastest.cost_usd:.2f}"
    )
