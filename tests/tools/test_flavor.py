from __future__ import annotations

from dataclasses import replace

from ftagent.tools.flavor import Flavor, local_flavor
from ftagent.tools.gpus import gpu_model
from ftagent.tools.machine import Gpu, Machine

WORKSTATION = Machine(
    system="Linux x86_64",
    cores=8,
    memory_gib=64,
    free_gib=40,
    gflops=900,
    native_bf16=True,
    load=1.5,
    gpu=Gpu(name="NVIDIA L4", memory_gib=22.5, free_gib=20, capability=8.9),
)


def test_this_machine_is_a_flavor_that_costs_nothing_and_has_what_is_free() -> None:
    flavor = local_flavor(WORKSTATION)
    assert flavor.is_local
    assert flavor.usd_per_hour == 0
    assert (flavor.memory_gib, flavor.load, flavor.gpus) == (40, 1.5, 1)
    assert flavor.gpu is not None
    assert flavor.gpu.memory_gib == 20
    assert flavor.words == WORKSTATION.words


def test_the_device_is_called_the_same_however_much_is_free() -> None:
    assert WORKSTATION.gpu is not None
    crowded = replace(WORKSTATION, free_gib=1, load=9, gpu=replace(WORKSTATION.gpu, free_gib=1))
    assert local_flavor(crowded).device == local_flavor(WORKSTATION).device == "1 × NVIDIA L4"
    without = replace(WORKSTATION, gpu=None)
    assert local_flavor(without).device == local_flavor(replace(without, free_gib=1)).device == "local, 8 cores"


def test_a_rented_flavor_says_what_it_has() -> None:
    rented = Flavor(name="l4x4", cores=48, memory_gib=186, gpu=gpu_model("L4", 24), gpus=4, usd_per_hour=3.8)
    assert not rented.is_local
    assert rented.words == "4 × L4 with 22.0 GiB, 48 vCPU, 186 GB of memory"
    assert rented.device == "4 × L4"
    assert replace(rented, gpu=None, gpus=0).words == "48 vCPU, 186 GB of memory"
