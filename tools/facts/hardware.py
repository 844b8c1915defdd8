"""Where a run trains: what it takes in memory, hours and US dollars, and what else would have done."""

from __future__ import annotations

from .base import Adapter, Fact, Precision, Sharding


class Range(Fact):
    """A guess with its spread."""

    low: float
    expected: float
    high: float


class MemoryGib(Fact):
    """Peak memory in GiB, by what holds it."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    overhead: float
    reference: float = 0.0
    """The second model that DPO, KTO and RLOO compare with, or that a distillation learns from."""
    rollouts: float = 0.0
    """Keys and values of the completions that a model generates to learn from them."""
    gathered: float = 0.0
    """Weights and gradients of other GPUs' shares, where several GPUs share them."""
    total: float


class Candidate(Fact):
    """One way to run this job."""

    flavor: str
    adapter: Adapter
    precision: Precision
    batch: int
    accumulation: int = 1
    checkpointing: bool = False
    sharded: bool = False
    memory_gib: float
    usable_gib: float
    hours: float
    cost_usd: float
    fits: bool
    reason: str = ""


class HardwareChoice(Fact):
    """Where and how the run trains, and what that should take."""

    flavor: str
    adapter: Adapter
    precision: Precision
    batch: int
    accumulation: int
    max_length: int
    checkpointing: bool
    gpus: int = 0
    sharded: bool = False
    """Whether weights, gradients and moments are spread over the GPUs."""
    sharding: Sharding | None = None
    """How several GPUs train together, each with a process of its own (`accelerate launch`); None where there is one.

    With FSDP2 gradients must be summed after each batch (`sync_each_batch` in accelerate), as the memory counts on it.
    """
    memory_gib: MemoryGib
    """Of one GPU, or of the CPU."""
    hours: Range
    cost_usd: Range
    usd_per_hour: float = 0.0
    prices: str = ""
    """How fresh the prices are, in words; empty where nothing is paid."""
    timeout_s: int
    tokens: int
    """Tokens of the whole training, all epochs."""
    tokens_per_s: float
    """Predicted training throughput."""
    device: str = ""
    """What the throughput depends on: the GPU's name and number, or the CPU with its cores."""
    correction: float = 1.0
    """The factor in `tokens_per_s` that comes from finished trainings on this device."""
    epochs: float
    machine: str = ""
    """The flavor in words: cores, memory, GPU."""
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()
