"""What GPUs can do, by their names: memory, arithmetic, bandwidth and compute capability."""

from __future__ import annotations

import re
from dataclasses import dataclass

BF16_CAPABILITY = 8.0
"""Below it bf16 is emulated: torch reports it as supported there and runs it slowly. The name says nothing."""


@dataclass(frozen=True, kw_only=True)
class GpuModel:
    """One GPU."""

    name: str
    memory_gib: float
    """What CUDA reports as its total."""
    capability: float
    tflops: float
    """Dense tensor-core TFLOP/s in bf16, or fp16 below `BF16_CAPABILITY`."""
    bandwidth_gb_s: float
    link_gb_s: float
    """What it sends to another GPU of the same machine, and gets from it at once: NVLink or PCIe."""

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bf16 without emulating it."""
        return self.capability >= BF16_CAPABILITY


# Name -> compute capability (https://developer.nvidia.com/cuda-gpus), TFLOP/s, GB/s of its memory and of its link one
# way (NVIDIA's data sheets), and how much of the memory on the label CUDA reports (totals in torch's own out-of-memory
# messages). Names count as whole words: a T400 is no T4.
KNOWN: dict[str, tuple[float, float, float, float, float]] = {
    "H200": (9.0, 989.0, 4800.0, 450.0, 139.8 / 141),
    "H100": (9.0, 989.0, 3350.0, 450.0, 79.1 / 80),
    "A100": (8.0, 312.0, 2039.0, 300.0, 79.2 / 80),
    "L40S": (8.9, 362.0, 864.0, 32.0, 44.4 / 48),
    "L4": (8.9, 121.0, 300.0, 32.0, 22.0 / 24),
    "A10G": (8.6, 70.0, 600.0, 32.0, 22.0 / 24),
    "A10": (8.6, 125.0, 600.0, 32.0, 22.0 / 24),
    "T4": (7.5, 65.0, 320.0, 16.0, 14.6 / 16),
    "V100": (7.0, 125.0, 900.0, 150.0, 15.8 / 16),
    "RTX PRO 6000": (12.0, 503.0, 1597.0, 64.0, 94.9 / 96),
    "RTX 4090": (8.9, 165.0, 1008.0, 32.0, 23.5 / 24),
    "RTX 3090": (8.6, 71.0, 936.0, 32.0, 23.6 / 24),
}
UNKNOWN = (0.0, 50.0, 300.0, 16.0, 0.91)
"""A GPU that nobody has written down counts as slow and without bf16."""


def gpu_model(name: str, labelled_gb: float, *, capability: float | None = None) -> GpuModel:
    """Return what is known about a GPU.

    Args:
        name: Its name in a catalog, or as the driver reports it.
        labelled_gb: The memory on its label.
        capability: Its compute capability where the driver has said it, which counts more than the name.
    """
    matching = (KNOWN[known] for known in KNOWN if re.search(rf"\b{known}\b", name, re.IGNORECASE))
    known, tflops, bandwidth, link, share = next(matching, UNKNOWN)
    return GpuModel(
        name=name,
        memory_gib=round(labelled_gb * share, 1),
        capability=known if capability is None else capability,
        tflops=tflops,
        bandwidth_gb_s=bandwidth,
        link_gb_s=link,
    )
