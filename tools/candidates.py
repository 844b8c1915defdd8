"""The ways to do one training on one machine, each with its memory and time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .architecture import Architecture
from .facts import Adapter, Lengths, MemoryGib, Precision
from .machine import BF16_CAPABILITY, Machine
from .memory import Setup, training_memory
from .throughput import achieved_flops, forward_flops, padding, training_flops

# What other programs and the system need while a training runs.
USABLE_SHARE = 0.9

# Rows of one optimizer step: QLoRA's 16 (arXiv 2305.14314, table 9) where the data is large enough. Small data gets
# smaller steps, so that an epoch has some thirty of them and warm-up and decay mean something (our own rule).
LARGEST_STEP_ROWS = 16
SMALLEST_STEP_ROWS = 4
STEPS_PER_EPOCH = 30

# Imports, tokenising, saving (measured: 10 to 20 s), and reading the weights from a plain disk.
STARTUP_S = 15.0
READ_BYTES_PER_S = 300e6
# The scripts evaluate on up to a fifth as many rows as they train on.
EVALUATED_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be trained, whatever it is trained on."""

    shape: Architecture
    rank: int
    rows: int
    """Rows of one epoch; where they are packed, their number afterwards."""
    epoch_tokens: int
    lengths: Lengths
    max_length: int
    trained_share: float
    """Share of the tokens that carry loss."""
    epochs: float
    max_steps: int | None = None
    """Ends the training before the epochs do, where it was stated."""

    @property
    def mean_length(self) -> float:
        """Mean tokens of a row."""
        return self.epoch_tokens / self.rows

    @property
    def longest(self) -> int:
        """Tokens of the longest row, after cutting."""
        return min(self.lengths.max, self.max_length)

    @property
    def step_rows(self) -> int:
        """Rows of one optimizer step, a power of two."""
        wanted = max(1, self.rows // STEPS_PER_EPOCH)
        return min(LARGEST_STEP_ROWS, max(SMALLEST_STEP_ROWS, 2 ** int(math.log2(wanted))))

    def epochs_of(self, step_rows: int) -> float:
        """Return how often the data is seen with this many rows a step."""
        return self.epochs if self.max_steps is None else self.max_steps * step_rows / self.rows


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

    adapter: Adapter
    precision: Precision
    batch: int
    accumulation: int
    checkpointing: bool
    epochs: float
    memory: MemoryGib
    usable_gib: float
    tokens: int
    tokens_per_s: float
    hours: float

    @property
    def fits(self) -> bool:
        """Whether the memory is there."""
        return self.memory.total <= self.usable_gib

    @property
    def words(self) -> str:
        """The plan in a few words."""
        how = f"{self.adapter} in {self.precision} with batch {self.batch}"
        return f"{how} and checkpointing" if self.checkpointing else how


def candidates(work: Work, wish: Wish, machine: Machine) -> list[Plan]:
    """Return one plan for each adapter and batch that was not ruled out: the fastest that fits, else the smallest."""
    found: list[Plan] = []
    for adapter in _adapters(wish, machine):
        for batch, accumulation in _batches(work, wish):
            ways = list(_ways(work, wish, machine, adapter, batch, accumulation))
            fitting = [way for way in ways if way.fits]
            found.append(fitting[0] if fitting else min(ways, key=lambda way: way.memory.total))
    return found


def _adapters(wish: Wish, machine: Machine) -> Sequence[Adapter]:
    if wish.adapter:
        return (wish.adapter,)
    return ("lora", "qlora", "full") if machine.gpu else ("lora", "full")


def _batches(work: Work, wish: Wish) -> list[tuple[int, int]]:
    """Return batch and accumulation; together they keep the rows of a step, unless both were asked for."""
    if wish.batch is not None:
        return [(wish.batch, wish.accumulation or max(1, work.step_rows // wish.batch))]
    sizes = [2**power for power in range(int(math.log2(work.step_rows)) + 1)]
    if wish.accumulation is None:
        return [(size, work.step_rows // size) for size in sizes]
    return [(size, wish.accumulation) for size in sizes if size * wish.accumulation <= work.step_rows or size == 1]


def _ways(work: Work, wish: Wish, machine: Machine, adapter: Adapter, batch: int, accumulation: int) -> Iterator[Plan]:
    """Yield the plans that differ in precision and checkpointing, those that cost least first."""
    checkpointings = (False, True) if wish.checkpointing is None else (wish.checkpointing,)
    for checkpointing in checkpointings:
        for precision in (wish.precision,) if wish.precision else precisions(machine):
            yield _plan(work, machine, adapter, precision, batch, accumulation, checkpointing)


def precisions(machine: Machine) -> Sequence[Precision]:
    """Return what this machine computes well, best first.

    On a CPU fp32 comes first even where bf16 is native: of SmolLM2-135M on a CPU with AMX, six steps in bf16 took 20 %
    less time and left a held-out loss of 2.78 instead of 2.70 (measured); bf16 is for what would not fit otherwise. On
    a GPU the compute capability decides.
    """
    if machine.gpu is not None:
        return ("bf16",) if machine.gpu.capability >= BF16_CAPABILITY else ("fp16",)
    return ("fp32", "bf16") if machine.native_bf16 else ("fp32",)


def _plan(
    work: Work,
    machine: Machine,
    adapter: Adapter,
    precision: Precision,
    batch: int,
    accumulation: int,
    checkpointing: bool,
) -> Plan:
    setup = Setup(
        adapter=adapter,
        precision=precision,
        batch=batch,
        length=work.longest,
        checkpointing=checkpointing,
        rank=work.rank,
        trained_share=work.trained_share,
        on_gpu=machine.gpu is not None,
    )
    epochs = work.epochs_of(batch * accumulation)
    tokens = round(epochs * work.epoch_tokens)
    per_token_s, evaluation_s = _seconds(work, machine, setup)
    startup_s = STARTUP_S + 4 * work.shape.parameters / READ_BYTES_PER_S
    seconds = startup_s + tokens * (per_token_s + EVALUATED_SHARE * evaluation_s)
    return Plan(
        adapter=adapter,
        precision=precision,
        batch=batch,
        accumulation=accumulation,
        checkpointing=checkpointing,
        epochs=epochs,
        memory=training_memory(work.shape, setup),
        usable_gib=USABLE_SHARE * (machine.gpu.free_gib if machine.gpu else machine.free_gib),
        tokens=tokens,
        tokens_per_s=1 / per_token_s,
        hours=seconds / 3600,
    )


def _seconds(work: Work, machine: Machine, setup: Setup) -> tuple[float, float]:
    """Return the seconds that training and evaluating take per token."""
    length, share = work.mean_length, work.trained_share
    flops_per_s = achieved_flops(machine, precision=setup.precision, batch_tokens=setup.batch * length)
    padded = padding(work.lengths, batch=setup.batch, rows=work.rows)
    train = training_flops(
        work.shape,
        adapter=setup.adapter,
        rank=work.rank,
        checkpointing=setup.checkpointing,
        length=length,
        trained_share=share,
    )
    evaluate = forward_flops(work.shape, length=length, trained_share=share)
    return padded * train / flops_per_s, padded * evaluate / flops_per_s
