"""Where and how a run trains: adapter, precision, batch, memory and time, all from arithmetic over the model's shape.

Covers supervised fine-tuning on the machine that ftagent runs on. Not covered yet: flavors of Hugging Face Jobs,
several GPUs, other methods than SFT.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

from .architecture import Architecture, architecture_of
from .candidates import Plan, Wish, Work, candidates
from .errors import ToolError
from .facts import Adapter, Candidate, DatasetReport, HardwareChoice, Lengths, Precision, Range, Spec
from .gates import DATA, require
from .machine import Machine, probe_machine
from .run import Run

TOOL = "pick_hardware"
LOCAL = "local"
DEFAULT_RANK = 16
DEFAULT_MAX_LENGTH = 1024

# Three epochs as in Stanford Alpaca and by transformers' default; one where the data is large or a CPU does the work.
SMALL_DATA_ROWS = 20_000
SMALL_DATA_EPOCHS = 3.0

# How far a run strays from what is expected while nothing else happens on the machine.
LOW, HIGH = 0.8, 1.5
TIMEOUT_FLOOR_S = 1800
TIMEOUT_STEP_S = 300
# Among plans that take about as long, the one with the least memory is taken.
ABOUT_AS_LONG = 1.1
SHORTEST_ROWS = 64

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
    """Choose how this run trains on this machine, and predict its memory and time.

    Returns the adapter (LoRA unless something else was asked for), the precision, a batch that fits, the accumulation
    that makes an optimizer step of it, epochs, itemised peak memory in GiB, and a range of hours. What the person
    stated is kept; what is given here is kept too, and the rest is chosen around it.

    Args:
        run: The run, with its dataset validated.
        tokens: Tokens of the whole training; with it, the dataset need not be validated.
        flavor: The machine; `local` is the only one of the local backend.
        adapter: full, lora, or qlora (which needs a CUDA GPU).
        precision: fp32, fp16 or bf16.
        batch: Rows that are computed at once.
        max_length: Rows are cut at this many tokens; by default where the validated dataset is cut.
        checkpointing: Compute activations twice to save memory; unasked only where nothing else fits.
        max_hours: Wall-clock limit in hours; by default the plan's, if it has one.

    Raises:
        ToolError: Nothing fits the memory or the time; the message has the numbers, the hint what would fit.
    """
    require(TOOL, run, but=frozenset({DATA}) if tokens is not None else frozenset())
    spec = _local(run.spec, flavor)
    machine = probe_machine()
    stated = spec.overrides
    wish = Wish(
        adapter=_agreed("adapter", stated.adapter, adapter),
        precision=precision,
        batch=_agreed("batch", stated.per_device_train_batch_size, batch),
        # Whoever states a batch and no accumulation, as TRL does, means that batch to be the step.
        accumulation=stated.gradient_accumulation_steps or (1 if stated.per_device_train_batch_size else None),
        checkpointing=checkpointing,
    )
    _refuse_impossible(wish, machine)
    length = _agreed("max_length", stated.max_length, max_length)
    if length is not None and length < 1:
        raise ToolError(f"max_length {length} keeps no token.", hint="leave it out, and the data decides")
    work = _work(spec, run.dataset, tokens, length, machine)
    plans = candidates(work, wish, machine)
    limit = max_hours if max_hours is not None else spec.max_hours
    chosen = _choose(plans, limit) or _refuse(plans, work, wish, machine, limit)
    return _choice(chosen, plans, work, machine, limit)


def _local(spec: Spec | None, flavor: str | None) -> Spec:
    assert spec is not None  # the gate
    if spec.backend != "local":
        raise ToolError(
            f"backend `{spec.backend}` cannot be sized yet: its flavors and prices are not read.",
            hint="--backend local",
        )
    if flavor not in (None, LOCAL):
        raise ToolError(f"`{flavor}` is no flavor of the local backend.", hint=f"leave it out, or say `{LOCAL}`")
    if spec.method != "sft":
        raise ToolError(f"the memory of `{spec.method}` cannot be predicted yet.", hint="it can for sft")
    return spec


def _agreed(name: str, stated: T | None, given: T | None) -> T | None:
    """Return what was stated, else what was given; a stated value is never overruled."""
    if stated is not None and given is not None and stated != given:
        raise ToolError(f"{name} {given} goes against the {stated} that was stated.", hint=f"leave {name} out")
    return given if stated is None else stated


def _refuse_impossible(wish: Wish, machine: Machine) -> None:
    if machine.gpu is None and wish.adapter == "qlora":
        raise ToolError("qlora needs a CUDA GPU, and this machine has none.", hint="adapter lora trains on a CPU")
    if machine.gpu is None and wish.precision == "fp16":
        raise ToolError("fp16 needs a CUDA GPU, and this machine has none.", hint="precision fp32 trains on a CPU")
    if wish.batch is not None and wish.batch < 1:
        raise ToolError(f"batch {wish.batch} has no rows.", hint="1 is the smallest")


# --- the work ---------------------------------------------------------------------------------------------------------


def _work(spec: Spec, dataset: DatasetReport | None, tokens: int | None, length: int | None, machine: Machine) -> Work:
    if spec.model_ref is None:
        raise ToolError("the plan's model is not resolved.", hint="call plan_run without offline")
    shape = architecture_of(spec.model_ref)
    rank = spec.overrides.r or DEFAULT_RANK
    if tokens is not None or dataset is None:
        return _work_of_tokens(shape, rank, tokens or 0, length or min(DEFAULT_MAX_LENGTH, shape.context))
    work = _work_of_dataset(shape, rank, dataset, length or dataset.max_length, packed=bool(spec.overrides.packing))
    stated = spec.overrides.num_train_epochs
    return replace(work, epochs=stated or _epochs(work.rows, machine), max_steps=_positive(spec.overrides.max_steps))


def _work_of_tokens(shape: Architecture, rank: int, tokens: int, length: int) -> Work:
    if tokens < 1:
        raise ToolError(f"{tokens} tokens train nothing.", hint="give the tokens of all epochs together")
    return Work(
        shape=shape,
        rank=rank,
        rows=math.ceil(tokens / length),
        epoch_tokens=tokens,
        lengths=Lengths(p50=length, p95=length, p99=length, max=length),
        max_length=length,
        trained_share=1.0,
        epochs=1.0,
    )


def _work_of_dataset(shape: Architecture, rank: int, dataset: DatasetReport, length: int, *, packed: bool) -> Work:
    rows = max(1, dataset.rows - (dataset.holdout.rows if dataset.holdout else 0))
    tokens = max(1, min(dataset.train_tokens, rows * length))
    lengths = dataset.lengths
    if packed:
        rows, lengths = math.ceil(tokens / length), Lengths(p50=length, p95=length, p99=length, max=length)
    return Work(
        shape=shape,
        rank=rank,
        rows=rows,
        epoch_tokens=tokens,
        lengths=lengths,
        max_length=length,
        trained_share=min(1.0, dataset.trained_tokens / tokens) if dataset.trained_tokens else 1.0,
        epochs=1.0,
    )


def _epochs(rows: int, machine: Machine) -> float:
    return SMALL_DATA_EPOCHS if machine.gpu and rows <= SMALL_DATA_ROWS else 1.0


def _positive(steps: int | None) -> int | None:
    """Return `max_steps`, of which TRL's -1 means none."""
    return steps if steps is not None and steps > 0 else None


# --- the choice -------------------------------------------------------------------------------------------------------


def _choose(plans: list[Plan], limit: float | None) -> Plan | None:
    """Return the plan to take: the first adapter that has one which fits, and of its plans the fastest."""
    fitting = [plan for plan in plans if plan.fits and (limit is None or plan.hours <= limit)]
    if not fitting:
        return None
    same = [plan for plan in fitting if plan.adapter == fitting[0].adapter]
    fastest = min(plan.hours for plan in same)
    return min((p for p in same if p.hours <= ABOUT_AS_LONG * fastest), key=lambda p: p.memory.total)


def _choice(chosen: Plan, plans: list[Plan], work: Work, machine: Machine, limit: float | None) -> HardwareChoice:
    # Other programs take their share of the cores, and nobody knows for how long.
    crowd = 1.0 if machine.gpu else 1 + machine.load / machine.cores
    hours = Range(low=LOW * chosen.hours, expected=chosen.hours, high=HIGH * crowd * chosen.hours)
    timeout_s = max(TIMEOUT_FLOOR_S, math.ceil(2 * hours.high * 3600 / TIMEOUT_STEP_S) * TIMEOUT_STEP_S)
    return HardwareChoice(
        flavor=LOCAL,
        adapter=chosen.adapter,
        precision=chosen.precision,
        batch=chosen.batch,
        accumulation=chosen.accumulation,
        max_length=work.max_length,
        checkpointing=chosen.checkpointing,
        memory_gib=chosen.memory,
        hours=hours,
        cost_usd=Range(low=0, expected=0, high=0),
        timeout_s=timeout_s,
        tokens=chosen.tokens,
        tokens_per_s=chosen.tokens_per_s,
        epochs=chosen.epochs,
        machine=machine.words,
        reason=_reason(chosen, work, machine),
        candidates=tuple(_candidate(plan, limit) for plan in plans),
    )


def _candidate(plan: Plan, limit: float | None) -> Candidate:
    in_time = limit is None or plan.hours <= limit
    reason = "" if in_time else f"takes {_time(plan.hours)}"
    return Candidate(
        flavor=LOCAL,
        adapter=plan.adapter,
        precision=plan.precision,
        batch=plan.batch,
        memory_gib=plan.memory.total,
        usable_gib=plan.usable_gib,
        hours=plan.hours,
        cost_usd=0,
        fits=plan.fits and in_time,
        reason=reason if plan.fits else _shortage(plan),
    )


def _reason(plan: Plan, work: Work, machine: Machine) -> str:
    step_rows = plan.batch * plan.accumulation
    steps = math.ceil(plan.epochs * work.rows / step_rows)
    reasons = [f"batch {plan.batch} × {plan.accumulation} makes {steps} optimizer steps of {step_rows} rows"]
    if plan.adapter == "lora":
        # Schulman et al. 2025, "LoRA Without Regret", https://thinkingmachines.ai/blog/lora
        reasons.append("LoRA learns small data as well as training all weights does, with far less memory")
    if plan.adapter == "qlora":
        reasons.append("the weights fit in 4 bits only")
    if machine.gpu is None and work.max_steps is None and plan.epochs == 1:
        reasons.append("one epoch, as time is short on a CPU")
    if machine.gpu is None and plan.precision == "bf16" and not machine.native_bf16:
        reasons.append("this CPU emulates bf16, slowly")
    if plan.checkpointing:
        reasons.append("activations are computed twice to save memory")
    return "; ".join(reasons) + "."


# --- refusals ---------------------------------------------------------------------------------------------------------


def _refuse(plans: list[Plan], work: Work, wish: Wish, machine: Machine, limit: float | None) -> Plan:
    """Raise with the numbers of what came closest, and with what would fit."""
    smallest = min(plans, key=lambda plan: plan.memory.total)
    if not smallest.fits:
        raise ToolError(
            f"{smallest.words} at {work.longest} tokens does not fit this machine: {_shortage(smallest)}.",
            hint=_what_fits(work, wish, machine),
        )
    assert limit is not None  # else a plan that fits had been chosen
    fastest = min((plan for plan in plans if plan.fits), key=lambda plan: plan.hours)
    raise ToolError(
        f"{fastest.words} takes {_time(fastest.hours)} for {fastest.tokens:,} tokens, and the limit is {_time(limit)}.",
        hint=f"max_hours {math.ceil(100 * fastest.hours) / 100:g}, or fewer epochs",
    )


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def _shortage(plan: Plan) -> str:
    items = plan.memory.model_dump(exclude={"total"})
    largest = sorted(items, key=lambda name: items[name], reverse=True)[:2]
    listed = ", ".join(f"{name} {items[name]:.1f}" for name in largest)
    return f"{plan.memory.total:.1f} of {plan.usable_gib:.1f} GiB usable; {listed}"


def _what_fits(work: Work, wish: Wish, machine: Machine) -> str:
    """Name another setup that fits, else shorter rows, else the memory that it takes."""
    others = candidates(work, Wish(precision=wish.precision), machine)
    if fitting := _choose(others, None):
        return f"{fitting.words} takes {fitting.memory.total:.1f} GiB"
    length = work.longest // 2
    while length >= SHORTEST_ROWS:
        shorter = candidates(replace(work, max_length=length), Wish(), machine)
        if fitting := _choose(shorter, None):
            return f"max_length {length} fits: {fitting.words} takes {fitting.memory.total:.1f} GiB"
        length //= 2
    least = min(plan.memory.total for plan in others)
    return f"take a smaller model, or a machine with more than {least:.1f} GiB of free memory"
