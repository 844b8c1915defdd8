"""What this machine has: cores, memory, arithmetic, and a GPU if there is one; found within a second, without torch.

Limits of a container (cgroups, version 1 and 2) count as the machine's own, since a process that goes over them is
killed all the same.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from .gpus import GpuModel, gpu_model

GIB = 2**30
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
PROBE_TIMEOUT_S = 10

# One core, so that what else runs here does not distort it and threads that wait do not spin; the best of a quarter of
# a second of float32 products, in CPU time. OPENBLAS_CORETYPE may be set to an older core for some other program.
PROBE = """
import time, numpy
a = numpy.random.default_rng(0).random((768, 768), dtype=numpy.float32)
out, best, end = numpy.empty_like(a), 1e9, time.perf_counter() + 0.25
while time.perf_counter() < end:
    start = time.process_time()
    numpy.matmul(a, a, out=out)
    best = min(best, time.process_time() - start)
print(2 * 768**3 / best / 1e9)
"""
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One CUDA device."""

    name: str
    memory_gib: float
    free_gib: float
    capability: float

    @property
    def model(self) -> GpuModel:
        """What is known about it, with the memory that is free."""
        known = gpu_model(self.name, self.memory_gib, capability=self.capability)
        return replace(known, memory_gib=self.free_gib)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine that ftagent runs on."""

    system: str
    cores: int
    """Physical cores that this process may use."""
    memory_gib: float
    free_gib: float
    """What a new process can still take, after reclaimable caches and under every limit."""
    gflops: float
    """float32 matrix products on all cores, measured."""
    native_bf16: bool
    """Whether the CPU multiplies bf16 in hardware; without it bf16 training is about five times slower than fp32."""
    load: float
    """Cores that other processes kept busy during the last minute."""
    gpu: Gpu | None

    @property
    def words(self) -> str:
        """The machine in one line for people."""
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        line = f"{self.system}, {cores}, {self.free_gib:.1f} of {self.memory_gib:.1f} GiB free"
        if self.gpu is None:
            return f"{line}, no CUDA GPU; {self.gflops:.0f} GFLOP/s in fp32"
        return f"{line}; {self.gpu.name}, {self.gpu.free_gib:.1f} of {self.gpu.memory_gib:.1f} GiB free"


@lru_cache(maxsize=1)
def probe_machine() -> Machine:
    """Measure the local machine; done once in a process."""
    import psutil

    memory = psutil.virtual_memory()
    limit, used = _cgroup_memory()
    cores = usable_cores()
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=cores,
        memory_gib=min(memory.total, limit) / GIB,
        free_gib=max(0, min(memory.available, limit - used)) / GIB,
        gflops=cores * _core_gflops(),
        native_bf16=_native_bf16(),
        load=psutil.getloadavg()[0],
        gpu=_gpu(),
    )


def usable_cores() -> int:
    """Return the physical cores that this process may use, at least 1."""
    import psutil

    logical = psutil.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or logical
    # macOS knows no affinity.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    return max(1, math.ceil(min(allowed * physical / logical, _cgroup_cores())))


def _core_gflops() -> float:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=environment | dict.fromkeys(THREAD_VARIABLES, "1"),
        capture_output=True,
        text=True,
        timeout=PROBE_TIMEOUT_S,
        check=True,
    )
    return float(done.stdout)


def _native_bf16() -> bool:
    """Whether the kernel lists bf16 instructions; where there is no such list (macOS), fp32 is the safe answer."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return False
    flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})


# --- limits of a container --------------------------------------------------------------------------------------------


def _cgroup_cores() -> float:
    """Return how many cores the quota allows, or infinity."""
    allowed = math.inf
    for folder in _cgroup_folders("cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            allowed = min(allowed, int(quota) / int(period))
    return allowed


def _cgroup_memory() -> tuple[float, float]:
    """Return limit and use of the tightest group that this process is in, in bytes; the limit may be infinite."""
    tightest = (math.inf, 0.0)
    for folder in _cgroup_folders("memory"):
        for limit_file, used_file, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _read(folder / limit_file), _read(folder / used_file)
            if limit.isdigit() and used.isdigit():
                statistics = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
                in_use = int(used) - int(statistics.get(cache, 0))
                tightest = min(tightest, (float(limit), float(in_use)), key=lambda group: group[0] - group[1])
    return tightest


def _cgroup_folders(controller: str) -> list[Path]:
    """Return the folders of this process's groups and of all groups around them."""
    folders: list[Path] = []
    for line in _read(OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = CGROUPS / controller if controllers else CGROUPS
        group = root / path.lstrip("/")
        folders += [folder for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return folders


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


# --- GPU --------------------------------------------------------------------------------------------------------------


def _gpu() -> Gpu | None:
    """Ask nvidia-smi for the first device; no answer means no GPU that torch could use either."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = "--query-gpu=name,memory.total,memory.free,compute_cap"
    try:
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
        name, total_mib, free_mib, capability = (part.strip() for part in done.stdout.splitlines()[0].split(","))
        return Gpu(
            name=name,
            memory_gib=float(total_mib) / 1024,
            free_gib=float(free_mib) / 1024,
            capability=float(capability),
        )
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
