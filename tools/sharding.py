"""What a GPU holds beside its share where several train together.

With DDP each has everything, and a second copy of the gradients to sum them in. FSDP2 (`fully_shard`; Zhao et al. 2023,
arXiv 2304.11277) and ZeRO-3 (Rajbhandari et al. 2020, arXiv 1910.02054) keep a share of weights, gradients and moments,
gather the weights of a layer before they are needed, and sum its gradients when they are there. Activations are not
divided: each GPU has its own batch. FSDP2 computes in the run's precision with weights that are gathered in it, so that
autocast has nothing to copy.

What is here of FSDP2 follows `fsdp2_prepare_model` (accelerate/utils/fsdp_utils.py) and torch's FSDPParamGroup, and is
held against measurement; gradients are taken to be summed after each batch (accelerate's `sync_each_batch`), since
otherwise each GPU keeps all of them until the step. ZeRO-3 is what DeepSpeed allows itself, rather more than it takes.
"""

from __future__ import annotations

from typing import Literal

from .architecture import Architecture
from .setups import Setup

Moment = Literal["start", "forward", "reference", "head", "last", "first", "end"]

# DeepSpeed's defaults of `stage3_max_live_parameters` and `reduce_bucket_size`, in numbers.
ZERO_LIVE = 1_000_000_000
ZERO_BUCKET = 500_000_000


def gathered_bytes(shape: Architecture, setup: Setup, moment: Moment) -> float:
    """Return what a GPU holds of other GPUs' shares; nothing where each has everything."""
    if not setup.sharded:
        return 0
    # The gradient of the output head is added up in float32 by TRL's kernel, and cast afterwards.
    draft = _head(shape, setup) * 4 if moment == "head" else 0
    if setup.sharding == "zero3":
        trained = shape.layers * _layer_gradients(shape, setup)
        return setup.number * (min(ZERO_LIVE, shape.parameters) + min(ZERO_BUCKET, trained)) + draft
    return setup.number * (_weights(shape, setup, moment) + _gradients(shape, setup, moment)) + draft


def bucket_bytes(trained: int, setup: Setup) -> float:
    """Return what DDP sums gradients in: as much as they take (`gradient_as_bucket_view` is off; measured)."""
    return trained * setup.trained if setup.gpus > 1 and not setup.sharded else 0


def _weights(shape: Architecture, setup: Setup, moment: Moment) -> int:
    """Return how many numbers are gathered.

    Each layer is a group. A tied embedding is one with the last norm and the head, and stays from its first use to its
    last; otherwise the embedding is a group of its own, and the head stays from its use until its gradient is there.
    What is fetched arrives in a buffer that it is copied from; backwards, the next group is on its way meanwhile. Under
    an adapter TRL fetches the head by itself, without a buffer. A second model is one group as a whole (`prepare_fsdp`
    in trl/models/utils.py); where the adapter is switched off instead, the embedding comes again.
    """
    table, layer = shape.vocabulary * shape.hidden, shape.layer_parameters
    kept = table if shape.tied else 0
    again = 2 * layer if shape.tied else 2 * table
    return {
        "start": 2 * table + (layer if shape.tied else 0),
        "forward": table + (table if setup.adapter == "full" and not shape.tied else layer),
        "reference": table + (2 * shape.parameters if setup.refers else again),
        "head": table + layer,
        "last": kept + 2 * layer,
        "first": kept + layer + (layer if shape.tied else table),
        "end": kept or 2 * table,
    }[moment]


def _gradients(shape: Architecture, setup: Setup, moment: Moment) -> float:
    """Return how many numbers of gradients wait until their whole group has one, or while they are summed."""
    head, layer = _head(shape, setup), _layer_gradients(shape, setup)
    if moment == "head":
        return head
    if moment in ("last", "first"):  # those of a layer, and of the group before it
        return (head if shape.tied or moment == "last" else 0) + 2 * layer
    if moment == "end":  # a tied embedding has those of the head already when its own are there
        return layer + (2 * head if shape.tied else 0)
    return 0


def _head(shape: Architecture, setup: Setup) -> int:
    """Return the numbers of the output head's gradient; reward models have no vocabulary."""
    return shape.vocabulary * shape.hidden if setup.adapter == "full" and setup.method != "reward" else 0


def _layer_gradients(shape: Architecture, setup: Setup) -> float:
    return shape.layer_parameters if setup.adapter == "full" else shape.adapter_parameters(setup.rank) / shape.layers
