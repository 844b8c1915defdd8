"""One kind of machine that a training can run on: this one, or one that can be rented."""

from __future__ import annotations

from dataclasses import dataclass

from .gpus import GpuModel
from .machine import Machine

LOCAL = "local"

# A rented vCPU is half a core. What a core of a server multiplies in float32 a second, with AVX-512 (measured: 60 to
# 130 GFLOP/s, depending on what else runs beside it).
RENTED_CORE_GFLOPS = 60.0


@dataclass(frozen=True, kw_only=True)
class Flavor:
    """What memory, time and money of a training depend on."""

    name: str
    cores: int
    """Physical cores here; virtual ones, of which two are a core, where it is rented."""
    memory_gib: float
    """Of the machine; on this one what is free."""
    disk_gib: float | None = None
    gpu: GpuModel | None = None
    """On this machine with what is free of its memory."""
    gpus: int = 0
    usd_per_hour: float = 0.0
    gflops: float = 0.0
    """float32 products of all cores."""
    native_bf16: bool = False
    """Whether the CPU multiplies bf16 in hardware."""
    load: float = 0.0
    """Cores that other processes keep busy."""
    description: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is this machine."""
        return self.name == LOCAL

    @property
    def device(self) -> str:
        """What computes, in words that stay the same from run to run."""
        if self.gpu is not None:
            return f"{self.gpus} × {self.gpu.name}"
        return f"{self.name}, {self.cores} cores"

    @property
    def words(self) -> str:
        """The flavor in one line for people."""
        if self.description:
            return self.description
        line = f"{self.cores} vCPU, {self.memory_gib:.0f} GB of memory"
        return f"{self.gpus} × {self.gpu.name} with {self.gpu.memory_gib:.1f} GiB, {line}" if self.gpu else line


def local_flavor(machine: Machine) -> Flavor:
    """Return this machine as a flavor that costs nothing."""
    gpu = machine.gpu
    return Flavor(
        name=LOCAL,
        cores=machine.cores,
        memory_gib=machine.free_gib,
        gpu=gpu.model if gpu else None,
        gpus=1 if gpu else 0,
        gflops=machine.gflops,
        native_bf16=machine.native_bf16,
        load=machine.load,
        description=machine.words,
    )
