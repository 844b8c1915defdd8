from __future__ import annotations

import pytest
from ftagent.tools.gpus import gpu_model
from ftagent.tools.machine import Gpu


@pytest.mark.parametrize(
    ("name", "tflops", "capability"),
    [
        ("Tesla T4", 65, 7.5),
        ("NVIDIA L4", 121, 8.9),
        ("NVIDIA L40S", 362, 8.9),
        ("NVIDIA A10", 125, 8.6),
        ("NVIDIA A10G", 70, 8.6),
        ("NVIDIA A100-SXM4-80GB", 312, 8.0),
        ("NVIDIA H100 80GB HBM3", 989, 9.0),
        ("NVIDIA H200", 989, 9.0),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 503, 12.0),
        ("rtx-pro-6000", 50, 0),  # a flavor's name is no GPU's name
    ],
)
def test_names_are_known_as_drivers_and_catalogs_write_them(name: str, tflops: float, capability: float) -> None:
    model = gpu_model(name, 80)
    assert (model.tflops, model.capability) == (tflops, capability)


@pytest.mark.parametrize("name", ["NVIDIA T400 4GB", "NVIDIA L40", "NVIDIA A1000", "Quadro T1000"])
def test_a_name_that_only_begins_like_a_known_one_is_another_gpu(name: str) -> None:
    assert gpu_model(name, 16).tflops == 50


@pytest.mark.parametrize(
    ("name", "labelled_gb", "reported_gib"),
    # what CUDA's out-of-memory messages call the total capacity
    [("T4", 16, 14.6), ("L4", 24, 22.0), ("A10G", 24, 22.0), ("A100", 80, 79.2), ("H200", 141, 139.8)],
)
def test_a_gpu_has_less_memory_than_its_label_says(name: str, labelled_gb: float, reported_gib: float) -> None:
    assert gpu_model(name, labelled_gb).memory_gib == reported_gib


def test_bf16_begins_with_compute_capability_8() -> None:
    assert not gpu_model("T4", 16).has_bf16
    assert not gpu_model("V100", 16).has_bf16
    assert gpu_model("A100", 80).has_bf16


def test_what_the_driver_says_counts_more_than_the_name() -> None:
    assert not gpu_model("A100", 80, capability=7.5).has_bf16
    assert gpu_model("Some GPU of the future", 80, capability=15).has_bf16


def test_a_gpu_that_nobody_knows_is_slow_and_has_no_bf16() -> None:
    unknown = gpu_model("Some GPU of the future", 100)
    assert not unknown.has_bf16
    assert unknown.tflops < gpu_model("T4", 16).tflops
    assert 90 <= unknown.memory_gib < 100


def test_of_the_local_gpu_only_what_is_free_can_be_used() -> None:
    shared = Gpu(name="NVIDIA L4", memory_gib=22.5, free_gib=7, capability=8.9)
    assert shared.model.memory_gib == 7
    assert shared.model.tflops == 121
