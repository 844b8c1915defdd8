"""Where and how a run trains: flavor, adapter, precision, batch, memory, time and money, all from arithmetic.

Flavors are this machine and, for the `hf-jobs` backend, those of Hugging Face Jobs. Not covered: several machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from .candidates import Wish
from .catalog import Catalog, catalog
from .choice import Limits, Search, choose, refuse
from .chosen import chosen_hardware
from .errors import ToolError
from .facts import REWARDED_METHODS, Adapter, HardwareChoice, Precision, Spec
from .flavor import LOCAL, Flavor, local_flavor
from .gates import DATA, require
from .machine import probe_machine
from .run import Run
from .wording import one_line
from .work import work_of

TOOL = "pick_hardware"

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
    wish = _wish(spec, adapter=adapter, precision=precision, batch=batch, checkpointing=checkpointing)
    flavors, prices = _flavors(spec, flavor)
    flavors = _possible(wish, flavors)
    length = _length(spec, max_length)
    work = work_of(
        spec, run.dataset, tokens, length, on_gpu=any(flavor.gpu for flavor in flavors), settings=run.settings
    )
    limits = Limits(hours=max_hours if max_hours is not None else spec.max_hours, usd=spec.budget_usd)
    rented = prices.flavors if prices else ()
    search = Search(work=work, wish=wish, flavors=tuple(flavors), settings=run.settings, rented=rented)
    plans = search.plans()
    chosen = choose(plans, limits) or refuse(plans, search, limits)
    return chosen_hardware(chosen, plans, search, limits, prices)


def _wish(
    spec: Spec, *, adapter: Adapter | None, precision: Precision | None, batch: int | None, checkpointing: bool | None
) -> Wish:
    """Return what was asked for, in the plan or just now.

    Whoever states a batch and no accumulation, as TRL does, means that batch to be the step; but a step must hold all
    completions of a prompt.
    """
    stated = spec.overrides
    batch_is_step = stated.per_device_train_batch_size and spec.method not in REWARDED_METHODS
    return Wish(
        adapter=_agreed("adapter", stated.adapter, adapter),
        precision=_agreed("precision", stated.precision, precision),
        batch=_agreed("batch", stated.per_device_train_batch_size, batch),
        accumulation=stated.gradient_accumulation_steps or (1 if batch_is_step else None),
        checkpointing=_agreed("checkpointing", stated.gradient_checkpointing, checkpointing),
    )


def _length(spec: Spec, given: int | None) -> int | None:
    length = _agreed("max_length", spec.overrides.max_length, given)
    if length is not None and length < 1:
        raise ToolError(f"max_length {length} keeps no token.", hint="leave it out, and the data decides")
    return length


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
