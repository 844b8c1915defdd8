from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ftagent.tools import machine

GIB = 2**30


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".", 1)).write_text(content, encoding="utf-8")


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of control groups; `own` beside it says which of them this process is in."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    return tmp_path / "cgroup"


def test_the_probe_of_this_machine_takes_a_second_and_makes_sense() -> None:
    start = time.monotonic()
    found = machine.probe_machine.__wrapped__()
    assert time.monotonic() - start < 3  # about half a second on an idle machine
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert 0 < found.free_gib <= found.memory_gib
    assert found.gflops > 1
    assert f"{found.cores} core" in found.words


def test_version_2_limits_count_wherever_they_are_set(cgroups: Path) -> None:
    write(cgroups.parent, own="0::/outer/inner\n")
    write(cgroups / "outer", cpu__max="150000 100000", memory__max=str(4 * GIB), memory__current=str(3 * GIB))
    write(cgroups / "outer", memory__stat=f"anon 5\ninactive_file {GIB}\n")
    write(cgroups / "outer" / "inner", cpu__max="max 100000", memory__max="max", memory__current="5")
    assert machine._cgroup_cores() == 1.5
    assert machine._cgroup_memory() == (4 * GIB, 2 * GIB)


def test_version_1_limits_count_too(cgroups: Path) -> None:
    write(cgroups.parent, own="4:memory:/box\n2:cpu,cpuacct:/box\n0::/\n")
    write(cgroups / "cpu" / "box", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    write(cgroups / "memory" / "box", memory__limit_in_bytes=str(GIB), memory__usage_in_bytes=str(GIB // 2))
    assert machine._cgroup_cores() == 0.5
    assert machine._cgroup_memory() == (GIB, GIB // 2)
    assert machine.usable_cores() == 1


def test_no_limits_mean_the_whole_machine(cgroups: Path) -> None:
    assert machine._cgroup_cores() == float("inf")
    assert machine._cgroup_memory() == (float("inf"), 0)


def nvidia_smi(folder: Path, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_gpu_is_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "echo 'Tesla T4, 15360, 15000, 7.5'; echo 'Tesla T4, 15360, 1, 7.5'", monkeypatch)
    gpu = machine._gpu()
    assert gpu is not None
    assert (gpu.name, gpu.memory_gib, gpu.capability) == ("Tesla T4", 15.0, 7.5)
    assert (gpu.model.tflops, gpu.model.memory_gib) == (65.0, 15000 / 1024)


@pytest.mark.parametrize("answer", ["exit 9", "echo No devices were found", "echo"])
def test_a_driver_without_a_gpu_is_no_gpu(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, answer, monkeypatch)
    assert machine._gpu() is None
