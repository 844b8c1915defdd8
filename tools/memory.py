"""How much memory a training takes, by arithmetic over the model's shape; every item has a source or a measurement.

Covers TRL 1.16's stable trainers on one CPU or one CUDA device, full, LoRA and QLoRA. The peak comes at one of a few
moments of a step: each is added up, and the largest counts. `tests/bench/memory.py` holds it against what the trainers'
own tensors take. Not covered: packed 4-bit kernels of other families than NF4, offloading, generation by vLLM on the
same GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .activations import inner_width, layer_copies, layer_kept, layer_passing
from .architecture import Architecture
from .facts import GENERATING_METHODS, Adapter, MemoryGib
from .rollouts import generated_bytes
from .setups import Setup
from .sharding import bucket_bytes, gathered_bytes

GIB = 2**30

# NF4 with double quantisation: 4 bits and 0.127 bits of constants a parameter (QLoRA, arXiv 2305.14314, section 3).
NF4_BYTES = 4.127 / 8

# TRL 1.16 scores tiles of at most 4,096 tokens × 32,768 entries of the vocabulary (trl/kernels/chunked_logprob.py).
# Without Triton the backward pass holds eight float32 tiles and a boolean one at once (counted with torch's profiler);
# the Triton kernel works in place, on a tile in the run's precision.
TILE_TOKENS = 4096
TILE_VOCABULARY = 32_768
TILE_BYTES_CPU = 8.25 * 4

# Resident before the first step, without the weights: Python, torch, transformers, TRL, PEFT, Trackio (measured 0.56).
PROCESS_GIB = 0.56
# Holes that the C heap does not give back: a base, and a share of what all layers keep of a batch, checkpointed or not.
# The peak is in training steps: evaluating and saving add nothing to it (measured: 0.01 GiB). Batches of different
# lengths leave holes that the next ones do not fill, so that it grows for dozens of steps, and depends on the order of
# the rows: from 2.30 GiB after 2 steps to 2.54 after 45 with one seed, to 2.72 with another. Fitted to the peaks of
# SmolLM2-135M (batch 1 to 8, full and LoRA, with and without checkpointing, up to 45 steps, glibc's mmap threshold
# raised as worker.py does it): errors from -14 to +17 %.
HEAP_GIB = 0.1
HEAP_SHARE = 0.6
# Where autocast casts frozen float32 weights at every use, the heap holds these copies about three times (measured with
# LoRA in bf16 before SFT held its matrices so).
HEAP_COPIES = 2
# oneDNN's kernels for 16 bits, made for each length of a batch, as many as worker.py lets it keep
# (`ONEDNN_PRIMITIVE_CACHE_CAPACITY`): between what is counted here and the peaks of 45 steps lay 0.3 to 1.3 GiB.
KERNELS_16_BITS_GIB = 0.9
# CUDA context and library workspaces, and what the caching allocator keeps in blocks that are too small.
CUDA_GIB = 0.9
CUDA_SHARE = 0.1
# What arithmetic that is right to a percent must leave free: no plan may count on the last of a GPU's memory.
CUDA_RESIDENT_SHARE = 0.015

Items = dict[str, float]
ITEMS = tuple(name for name in MemoryGib.model_fields if name != "total")
SHARED = ("weights", "gradients", "optimizer", "reference")


def training_memory(shape: Architecture, setup: Setup) -> MemoryGib:
    """Return the peak of a step, and what holds it."""
    if setup.method == "reward" and not shape.tied:  # it has one output, where the others have a vocabulary
        shape = replace(shape, tied=True, parameters=shape.parameters - shape.vocabulary * shape.hidden)
    always = _always(shape, setup)
    moments = [_on_one_gpu(always, moment, setup) for moment in _moments(shape, setup)]
    items = max(moments, key=lambda moment: sum(moment.values()))
    items["overhead"] = _overhead(shape, setup, items)
    return MemoryGib(**{name: size / GIB for name, size in items.items()}, total=sum(items.values()) / GIB)


def _on_one_gpu(always: Items, moment: Items, setup: Setup) -> Items:
    """Return all items at a moment; what GPUs share counts by this one's part."""
    items = {name: always.get(name, 0) + moment.get(name, 0) for name in ITEMS}
    if not setup.sharded:
        return items
    # a teacher is there as a whole (`prepare_model` in trl/trainer/distillation_trainer.py)
    return items | {n: items[n] / setup.gpus for n in SHARED if n != "reference" or setup.method != "distillation"}


def trained_parameters(shape: Architecture, adapter: Adapter, rank: int) -> int:
    """Return how many parameters have a gradient."""
    return shape.parameters if adapter == "full" else shape.adapter_parameters(rank)


def _always(shape: Architecture, setup: Setup) -> Items:
    """Return what is there from the second step on, whatever is being computed."""
    trained = trained_parameters(shape, setup.adapter, setup.rank)
    reference = shape.parameters * setup.trained if setup.refers else _teacher_weights(shape, setup)
    gradients = (trained * setup.trained if setup.accumulates else 0) + bucket_bytes(trained, setup)
    # AdamW's first and second moment (Loshchilov & Hutter 2019, arXiv 1711.05101), fused: without temporaries
    return Items(
        weights=_weights(shape, setup), optimizer=2 * trained * setup.trained, reference=reference, gradients=gradients
    )


def _teacher_weights(shape: Architecture, setup: Setup) -> float:
    """Return the bytes of a distillation's teacher, which is held as the scripts hold the student (`dtype`)."""
    number = 4 if setup.adapter == "full" and not setup.pure else setup.frozen
    return (setup.teacher or shape).parameters * number if setup.method == "distillation" else 0


def _weights(shape: Architecture, setup: Setup) -> float:
    """Return the bytes of all weights: for QLoRA, those of linear layers in 4 bits.

    bitsandbytes quantises the linear layers only: embedding, output head, norms, and experts, which are one tensor for
    all, keep 16 bits.
    """
    if setup.adapter == "full":
        return shape.parameters * setup.trained
    adapter = shape.adapter_parameters(setup.rank) * setup.trained
    if setup.adapter == "lora":
        rest = shape.embedding * (setup.stream - setup.frozen)
        return shape.parameters * setup.frozen + rest + adapter
    whole = shape.embedding + (shape.layers - shape.dense_layers) * shape.expert_parameters
    return (shape.parameters - whole) * NF4_BYTES + whole * 2 + adapter


def _unpacked(shape: Architecture, setup: Setup) -> float:
    """Return the matrix that bitsandbytes unpacks to differentiate with it (`MatMul4Bit.backward`), one at a time."""
    if setup.adapter != "qlora":
        return 0
    matrices = shape.attention if shape.experts else shape.linear
    return max(matrix.inputs * matrix.outputs for matrix in matrices) * setup.number


# --- the moments at which memory is highest ---------------------------------------------------------------------------


def _moments(shape: Architecture, setup: Setup) -> Iterator[Items]:
    """Yield what is there beside: at the start, at the loss and at its gradient, in the last and the first layer."""
    kept = _kept(shape, setup)
    yield Items(gathered=gathered_bytes(shape, setup, "start"))
    if setup.refers or setup.method in ("dpo", "kto", "distillation"):
        # GRPO and RLOO ask it before they compute what is to be differentiated
        yield _reference_forward(shape, setup, 0 if setup.method in GENERATING_METHODS - {"distillation"} else kept)
    yield _forward_end(shape, setup, kept)
    yield _head_backward(shape, setup, kept)
    yield _last_layer(shape, setup, kept)
    yield _first_layer(shape, setup)
    yield _embedding(shape, setup)
    if setup.method in GENERATING_METHODS:
        casts = _cast_weights(shape, replace(setup, checkpointing=True))
        for rollouts, logits in generated_bytes(shape, setup):
            yield Items(
                rollouts=rollouts, logits=logits, activations=casts, gathered=gathered_bytes(shape, setup, "forward")
            )


def _kept(shape: Architecture, setup: Setup) -> float:
    """Return what all layers keep; with checkpointing their inputs only (Chen et al. 2016, arXiv 1604.06174)."""
    mask = setup.length if setup.masked else 0  # a boolean for each pair of tokens of a row
    if setup.checkpointing:
        return setup.tokens * (shape.layers * shape.hidden * setup.stream + mask)
    return shape.layers * (setup.tokens * layer_kept(shape, setup) + layer_copies(shape, setup)) + setup.tokens * mask


def _final_norm(shape: Architecture, setup: Setup) -> float:
    """Return what the last norm keeps, and the last hidden states, of which those that carry loss are copied."""
    norm = 4 + (setup.stream if setup.adapter == "full" else 0)
    return setup.tokens * shape.hidden * (norm + setup.trained_share * setup.stream)


def _cast_weights(shape: Architecture, setup: Setup) -> float:
    """Return the casts of the weights, which autocast keeps until the model's forward pass is over."""
    return shape.layers * layer_copies(shape, setup) if setup.checkpointing and not shape.experts else 0


def _forward_end(shape: Architecture, setup: Setup, kept: float) -> Items:
    kept += _cast_weights(shape, setup) + _final_norm(shape, setup)
    kept += setup.tokens * shape.hidden * setup.stream  # the last hidden states themselves
    return Items(activations=kept, logits=_tile(shape, setup), gathered=gathered_bytes(shape, setup, "forward"))


def _reference_forward(shape: Architecture, setup: Setup, kept: float) -> Items:
    """The second model's forward pass comes while the first one's activations wait for theirs backward."""
    asked = setup.teacher or shape
    casts = shape.layers * layer_copies(shape, setup) if setup.refers else 0
    passing = setup.tokens * (3 * asked.hidden * setup.stream + 3 * inner_width(asked) * setup.number)
    kept += casts + _final_norm(shape, setup) + passing
    return Items(activations=kept, logits=_tile(shape, setup), gathered=gathered_bytes(shape, setup, "reference"))


def _head_backward(shape: Architecture, setup: Setup, kept: float) -> Items:
    trained = setup.tokens * setup.trained_share
    items = Items(
        activations=kept + _final_norm(shape, setup) + trained * shape.hidden * (4 + setup.stream),
        logits=_logits(shape, setup),
        gathered=gathered_bytes(shape, setup, "head"),
    )
    if setup.logits == "full":  # the head's gradient comes when those of the logits are there and nothing else
        return items
    # TRL's kernel adds it up in float32, and casts it afterwards
    draft = _head_gradient(shape, setup) / setup.trained * 4 if setup.trained != 4 else 0
    return items | Items(gradients=_head_gradient(shape, setup) + draft)


def _head_gradient(shape: Architecture, setup: Setup) -> float:
    """Return the gradient of the output head; where GPUs share it, it counts by what they gather."""
    if setup.adapter != "full" or setup.method == "reward" or setup.sharded:
        return 0
    return shape.vocabulary * shape.hidden * setup.trained


def _last_layer(shape: Architecture, setup: Setup, kept: float) -> Items:
    """The last layer's backward pass: nothing is freed yet, and with checkpointing the layer is there as a whole."""
    layer = setup.tokens * layer_passing(shape, setup) + _unpacked(shape, setup)
    if setup.checkpointing:
        layer += setup.tokens * layer_kept(shape, setup) + layer_copies(shape, setup)
    return Items(
        activations=kept + layer + setup.tokens * shape.hidden * setup.stream,
        gradients=_head_gradient(shape, setup),
        gathered=gathered_bytes(shape, setup, "last"),
    )


def _first_layer(shape: Architecture, setup: Setup) -> Items:
    """The first layer's backward pass, with the gradients of all others and of the head, but none of the embedding."""
    layer = setup.tokens * (layer_kept(shape, setup) + layer_passing(shape, setup)) + layer_copies(shape, setup)
    layer += _unpacked(shape, setup)
    gradients = _new_gradients(shape, setup)
    if setup.adapter == "full" and not setup.accumulates:
        head = shape.tied and setup.method != "reward"
        later = shape.layer_parameters + (0 if head else shape.vocabulary * shape.hidden)
        gradients -= later * setup.trained
    return Items(
        activations=layer + 2 * setup.tokens * shape.hidden * setup.stream,
        gradients=gradients,
        gathered=gathered_bytes(shape, setup, "first"),
    )


def _embedding(shape: Architecture, setup: Setup) -> Items:
    """The embedding's gradient, beside that of a head which is tied to it, and beside those of former batches."""
    full, size = setup.adapter == "full", shape.vocabulary * shape.hidden * setup.trained
    if setup.sharded:  # the whole embedding's gradient is among what is gathered, and its share not there yet
        shares = _new_gradients(shape, setup) - (size if full and not setup.accumulates else 0)
        return Items(gradients=shares, gathered=gathered_bytes(shape, setup, "end"))
    once = size if full else 0
    twice = once if shape.tied and setup.method != "reward" else 0
    again = once if setup.accumulates else 0
    gradients = _new_gradients(shape, setup) + twice + again
    return Items(gradients=gradients)


def _new_gradients(shape: Architecture, setup: Setup) -> float:
    """Return the gradients that this batch brings; where there are some already, they are added to those."""
    if setup.accumulates:
        return 0
    return trained_parameters(shape, setup.adapter, setup.rank) * setup.trained


# --- logits -----------------------------------------------------------------------------------------------------------


def _logits(shape: Architecture, setup: Setup) -> float:
    """Return what scoring holds at most: a tile, or all logits' log-softmax, its gradient, and theirs, in float32."""
    if setup.logits == "full" and setup.method != "reward":
        return setup.tokens * shape.vocabulary * 3 * 4
    return _tile(shape, setup)


def _tile(shape: Architecture, setup: Setup) -> float:
    if setup.method == "reward":
        return 0
    tokens, entries = min(setup.tokens * setup.trained_share, TILE_TOKENS), min(shape.vocabulary, TILE_VOCABULARY)
    if setup.method == "distillation":
        return _two_tiles(shape, setup, tokens, entries)
    if not setup.on_gpu:
        return tokens * entries * TILE_BYTES_CPU
    weights = entries * shape.hidden * setup.number if setup.stream != setup.number else 0  # cast, tile by tile
    return tokens * (TILE_VOCABULARY + shape.hidden) * setup.number + weights


def _two_tiles(shape: Architecture, setup: Setup, tokens: float, entries: int) -> float:
    """Return what comparing with a teacher holds: a float32 tile of each, the gradient of one, and casts of weights.

    `ChunkedDivergenceFunction` in trl/kernels/chunked_divergence.py.
    """
    if not setup.on_gpu:
        return tokens * entries * TILE_BYTES_CPU * 2
    return tokens * TILE_VOCABULARY * (2 * 4 + setup.number) + tokens * shape.hidden * setup.number


def _overhead(shape: Architecture, setup: Setup, items: Items) -> float:
    if setup.on_gpu:
        return CUDA_GIB * GIB + CUDA_SHARE * items["activations"] + CUDA_RESIDENT_SHARE * sum(items.values())
    layers = setup.tokens * shape.layers * layer_kept(shape, setup)
    recast = setup.adapter == "lora" and setup.frozen > setup.number and not setup.checkpointing
    copies = shape.layers * layer_copies(shape, setup) if recast else 0
    kernels_gib = KERNELS_16_BITS_GIB if setup.number < 4 else 0
    return (PROCESS_GIB + HEAP_GIB + kernels_gib) * GIB + HEAP_SHARE * layers + HEAP_COPIES * copies
