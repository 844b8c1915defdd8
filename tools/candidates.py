"""The ways to do one training on one flavor, each with its memory, time and money."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .decoding import decoding_seconds, prefill_seconds
from .facts import GENERATING_METHODS, Adapter, MemoryGib, Precision, Sharding
from .flavor import Flavor
from .memory import training_memory
from .setups import BYTES, Setup
from .throughput import (
    achieved_flops,
    asked_flops,
    exchange_seconds,
    forward_flops,
    padding,
    seconds_per_token,
    training_flops,
)
from .work import Work

# What other programs and the system need while a training runs on the CPU. A GPU belongs to the training alone, and
# what CUDA itself takes is among the items.
USABLE_SHARE = 0.9

# Imports, tokenising, saving (measured: 10 to 20 s), and reading the weights from a plain disk.
STARTUP_S = 15.0
READ_BYTES_PER_S = 300e6
# A rented machine pulls its image and installs the script's packages first, and is billed for it; what was made goes
# back to the Hub (assumptions until jobs have been measured; the ledger keeps what happened).
RENTED_STARTUP_S = 240.0
UPLOAD_BYTES_PER_S = 50e6
# The scripts evaluate on up to a fifth as many rows as they train on.
EVALUATED_SHARE = 0.2
# Weights pass through the machine's own memory on their way to the GPU, beside Python and its libraries.
LOADING_GIB = 4.0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for; None means that the rules decide."""

    adapter: Adapter | None = None
    precision: Precision | None = None
    batch: int | None = None
    accumulation: int | None = None
    checkpointing: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One way to do the work, with what it takes."""

    flavor: Flavor
    adapter: Adapter
    precision: Precision
    batch: int
    """Rows that one GPU, or the CPU, computes at once."""
    accumulation: int
    checkpointing: bool
    sharding: Sharding | None
    """How several GPUs train together."""
    epochs: float
    memory: MemoryGib
    """Of one GPU, or of the CPU."""
    usable_gib: float
    tokens: int
    tokens_per_s: float
    correction: float
    hours: float
    shortage: str = ""
    """What else is too small: the machine's own memory, its disk."""

    @property
    def sharded(self) -> bool:
        """Whether weights, gradients and moments are spread over the GPUs."""
        return self.sharding not in (None, "ddp")

    @property
    def fits(self) -> bool:
        """Whether the room is there."""
        return self.memory.total <= self.usable_gib and not self.shortage

    @property
    def cost_usd(self) -> float:
        """What the expected hours cost."""
        return self.hours * self.flavor.usd_per_hour

    @property
    def step_rows(self) -> int:
        """Rows of one optimizer step."""
        return self.batch * self.accumulation * max(1, self.flavor.gpus)

    @property
    def words(self) -> str:
        """The plan in a few words."""
        how = f"{self.adapter} in {self.precision} with batch {self.batch}"
        how += " and checkpointing" if self.checkpointing else ""
        return f"{how}, sharded over {self.flavor.gpus} GPUs" if self.sharded else how


def candidates(work: Work, wish: Wish, flavor: Flavor, correction: float = 1.0) -> list[Plan]:
    """Return one plan for each adapter and batch that was not ruled out: the fastest that fits, else the smallest.

    Args:
        work: What is to be trained.
        wish: What was asked for.
        flavor: Where.
        correction: Actual over predicted speed of earlier trainings there.
    """
    found: list[Plan] = []
    for adapter in _adapters(wish, flavor):
        for batch, accumulation in _batches(work, wish, flavor):
            ways = list(_ways(work, wish, flavor, adapter, batch, accumulation, correction))
            fitting = [way for way in ways if way.fits]
            found.append(
                min(fitting, key=lambda way: way.hours) if fitting else min(ways, key=lambda way: way.memory.total)
            )
    return found


def _adapters(wish: Wish, flavor: Flavor) -> Sequence[Adapter]:
    if wish.adapter:
        return (wish.adapter,)
    return ("lora", "qlora", "full") if flavor.gpu else ("lora", "full")


def _batches(work: Work, wish: Wish, flavor: Flavor) -> list[tuple[int, int]]:
    """Return batch and accumulation; over all GPUs they keep the rows of a step, unless both were asked for."""
    smallest = work.smallest_batch
    step_rows = max(smallest, work.step_rows // max(1, flavor.gpus))
    if wish.batch is not None:
        return [(wish.batch, wish.accumulation or work.accumulation(wish.batch, flavor.gpus))]
    sizes = [size for power in range(int(math.log2(step_rows)) + 1) if (size := 2**power) >= smallest]
    if wish.accumulation is None:
        return [(size, work.accumulation(size, flavor.gpus)) for size in sizes]
    return [(size, wish.accumulation) for size in sizes if size * wish.accumulation <= step_rows or size == smallest]


def _ways(
    work: Work, wish: Wish, flavor: Flavor, adapter: Adapter, batch: int, accumulation: int, correction: float
) -> Iterator[Plan]:
    """Yield the plans that differ in sharding, precision and checkpointing, the plainest first."""
    checkpointings = (False, True) if wish.checkpointing is None else (wish.checkpointing,)
    shardings = (False, True) if flavor.gpus > 1 and adapter != "qlora" else (False,)
    for sharded in shardings:
        for checkpointing in checkpointings:
            for precision in (wish.precision,) if wish.precision else precisions(flavor):
                setup = Setup(
                    method=work.method,
                    adapter=adapter,
                    precision=precision,
                    batch=batch,
                    length=work.longest,
                    checkpointing=checkpointing,
                    rank=work.rank,
                    trained_share=work.trained_share,
                    on_gpu=flavor.gpu is not None,
                    accumulates=accumulation > 1,
                    padded=not work.packed,
                    # TRL generates for all batches of a step at once (`steps_per_generation` in grpo_config.py)
                    rollouts=batch * accumulation if work.method in GENERATING_METHODS else 0,
                    teacher=work.teacher,
                    gpus=max(1, flavor.gpus),
                    sharding="fsdp2" if sharded else "ddp",
                )
                yield _plan(work, flavor, setup, accumulation, correction)


def precisions(flavor: Flavor) -> Sequence[Precision]:
    """Return what this flavor computes well, best first.

    On a CPU that multiplies bf16 by itself, matrices are cast as they are multiplied, and weights and sums stay in
    fp32. On a GPU the compute capability decides.
    """
    if flavor.gpu is not None:
        return ("bf16",) if flavor.gpu.has_bf16 else ("fp16",)
    return ("bf16", "fp32") if flavor.native_bf16 else ("fp32",)


def _plan(work: Work, flavor: Flavor, setup: Setup, accumulation: int, correction: float) -> Plan:
    epochs = work.epochs_of(setup.batch * accumulation * max(1, flavor.gpus))
    tokens = round(epochs * work.epoch_tokens)
    per_token_s, evaluation_s = (seconds / correction for seconds in _seconds(work, flavor, setup, accumulation))
    generating_s = epochs * _generating_seconds(work, flavor, setup) / correction
    seconds = _startup_seconds(work, flavor) + tokens * (per_token_s + EVALUATED_SHARE * evaluation_s) + generating_s
    memory = training_memory(work.shape, setup)
    return Plan(
        flavor=flavor,
        adapter=setup.adapter,
        precision=setup.precision,
        batch=setup.batch,
        accumulation=accumulation,
        checkpointing=setup.checkpointing,
        sharding=setup.sharding if setup.gpus > 1 else None,
        epochs=epochs,
        memory=memory,
        usable_gib=flavor.gpu.memory_gib if flavor.gpu else USABLE_SHARE * flavor.memory_gib,
        tokens=tokens,
        tokens_per_s=1 / per_token_s,
        correction=correction,
        hours=seconds / 3600,
        shortage="" if flavor.is_local else _shortage(work, flavor, setup),
    )


def _seconds(work: Work, flavor: Flavor, setup: Setup, accumulation: int) -> tuple[float, float]:
    """Return the seconds that training and evaluating take per token, on all GPUs together."""
    length, share = work.mean_length, work.trained_share
    batch_tokens = setup.batch * length
    # TRL's distillation is not under autocast: weights that are trained in full are multiplied in full
    precision = "fp32" if setup.number == BYTES["fp32"] else setup.precision
    flops_per_s = achieved_flops(flavor, adapter=setup.adapter, precision=precision, batch_tokens=batch_tokens)
    train = training_flops(
        work.shape,
        adapter=setup.adapter,
        rank=work.rank,
        checkpointing=setup.checkpointing,
        length=length,
        trained_share=share,
        method=work.method,
        teacher=work.teacher,
    )
    evaluate = forward_flops(work.shape, length=length, trained_share=share)
    evaluate += asked_flops(work.shape, work.method, work.teacher, length=length, trained_share=share)
    speed = {"flops_per_s": flops_per_s, "batch_tokens": batch_tokens}
    passes = 4 if setup.checkpointing else 3
    trained = seconds_per_token(work.shape, flavor, flops=train, passes=passes, **speed)
    exchanged = exchange_seconds(work.shape, flavor, setup, accumulation=accumulation) / (
        batch_tokens * max(1, flavor.gpus)
    )
    evaluated = seconds_per_token(work.shape, flavor, flops=evaluate, passes=1, **speed)
    padded = padding(work.lengths, batch=setup.batch, rows=work.rows)
    return max(padded * trained, exchanged), padded * evaluated


def _generating_seconds(work: Work, flavor: Flavor, setup: Setup) -> float:
    """Return the seconds in which the model generates what it learns from in one epoch, and is evaluated on."""
    if work.method not in GENERATING_METHODS:
        return 0.0
    answer = work.generated_tokens / work.rows
    prompt = work.mean_length - answer
    together = {"sequences": setup.rollouts}
    step_s = decoding_seconds(work.shape, flavor, setup, length=prompt + answer / 2, **together)
    prompts_s = prefill_seconds(work.shape, flavor, setup, length=prompt, **together)
    rounds = (1 + EVALUATED_SHARE) * work.rows / (setup.rollouts * max(1, flavor.gpus))
    return rounds * (answer * step_s + prompts_s)


def _startup_seconds(work: Work, flavor: Flavor) -> float:
    startup_s = STARTUP_S + 4 * work.shape.parameters / READ_BYTES_PER_S
    if flavor.is_local:
        return startup_s
    return startup_s + RENTED_STARTUP_S + 2 * work.shape.parameters / UPLOAD_BYTES_PER_S


def _shortage(work: Work, flavor: Flavor, setup: Setup) -> str:
    """Say what a rented machine lacks beside the memory that the training itself takes."""
    weights_gb = work.shape.parameters * (4 if setup.adapter == "full" else 2) / 1e9
    if flavor.gpu and weights_gb + LOADING_GIB > flavor.memory_gib:
        return f"{weights_gb:.0f} GB of weights pass through {flavor.memory_gib:.0f} GB of memory"
    # The download, two checkpoints with AdamW's moments where all weights are trained, and what is saved at the end.
    disk_gb = weights_gb * (1 + (2 * 3 + 1 if setup.adapter == "full" else 1))
    if flavor.disk_gib is not None and disk_gb > flavor.disk_gib:
        return f"{disk_gb:.0f} GB of checkpoints do not fit its disk of {flavor.disk_gib:.0f} GB"
    return ""
