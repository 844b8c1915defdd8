"""What a GPU holds beside its share where weights, gradients and moments are spread over several.

FSDP2 (`fully_shard`; Zhao et al. 2023, arXiv 2304.11277) and ZeRO-3 (Rajbhandari et al. 2020, arXiv 1910.02054) gather
the weights of a layer before they are needed, and sum its gradients over the GPUs when they are there. Activations are
not divided: each GPU has its own batch. FSDP2 computes in the run's precision with weights that are gathered in it, so
that autocast has nothing to copy. What is here of FSDP2 was measured with a process group of torch's that has no
processes; ZeRO-3 is what DeepSpeed allows itself, and rather more than it takes.
"""

from __future__ import annotations

from typing import Literal

from .architecture import Architecture
from .setups import Setup

Moment = Literal["start", "forward", "head", "layer", "end"]

# The layer at work, and the one that is fetched meanwhile.
GATHERED_LAYERS = 2
# DeepSpeed's defaults of `stage3_max_live_parameters` and `reduce_bucket_size`, in numbers.
ZERO_LIVE = 1_000_000_000
ZERO_BUCKET = 500_000_000


def gathered_bytes(shape: Architecture, setup: Setup, moment: Moment) -> float:
    """Return what a GPU holds of other GPUs' shares; nothing where there is one GPU."""
    if setup.gpus == 1:
        return 0
    # The gradient of the output head is added up in float32 by TRL's kernel, and cast afterwards.
    head = shape.vocabulary * shape.hidden if setup.adapter == "full" and setup.method != "reward" else 0
    draft = head * 4 if moment == "head" else 0
    if setup.sharding == "zero3":
        return setup.number * (min(ZERO_LIVE, shape.parameters) + min(ZERO_BUCKET, _trained(shape, setup))) + draft
    return setup.number * (_weights(shape, moment) + _gradients(shape, setup, moment, head)) + draft


def _weights(shape: Architecture, moment: Moment) -> float:
    """Embedding, head and last norm are one group at the root, which stays gathered from its first use to its last.

    It arrives in a buffer that it is copied from (`foreach_all_gather_copy_out`), while the first layers are fetched.
    """
    roots = 2 if moment == "start" else 1
    layers = {"head": 1, "end": 0}.get(moment, GATHERED_LAYERS)
    return roots * shape.embedding + layers * shape.layer_parameters


def _gradients(shape: Architecture, setup: Setup, moment: Moment, head: int) -> float:
    """Gradients wait until their whole group has one; a layer's are there twice while they are summed."""
    if moment in ("start", "forward"):
        return 0
    if moment == "head":
        return head
    if moment == "end":
        return shape.embedding if setup.adapter == "full" else 0
    return head + 2 * _trained(shape, setup) / shape.layers


def _trained(shape: Architecture, setup: Setup) -> float:
    if setup.adapter == "full":
        return shape.layers * shape.layer_parameters
    return shape.adapter_parameters(setup.rank)
