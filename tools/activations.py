"""What one layer keeps of a token for the backward pass, and what else is there while the layer is computed.

The terms are those of Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), itemised for what transformers 5.23
does: each line was read off the tensors that autograd saves (`torch.autograd.graph.saved_tensors_hooks`) in the
modeling files of the families in families.py, with PEFT 0.21 and under autocast. Sizes are in bytes.
"""

from __future__ import annotations

from .architecture import Architecture, Linear
from .setups import Setup

FLOAT32 = 4


def layer_kept(shape: Architecture, setup: Setup) -> float:
    """Return what one layer keeps of one token."""
    return _norms(shape, setup) + _attention(shape, setup) + _feed_forward(shape, setup)


def layer_copies(shape: Architecture, setup: Setup) -> float:
    """Return the copies of its weights that one layer keeps, however many tokens there are.

    Autocast casts every float32 weight of a linear layer. PEFT computes the weights of adapted experts anew, as a whole
    (`ParamWrapper` in peft/tuners/lora/layer.py), and the backward pass needs them.
    """
    experts = shape.expert_parameters
    if setup.adapter == "full":
        return (shape.layer_parameters - experts) * setup.number if setup.autocast else 0
    cast = shape.adapter_parameters(setup.rank) / shape.layers * setup.number if setup.autocast else 0
    if setup.autocast and setup.frozen > setup.number:
        cast += (shape.layer_parameters - experts) * setup.number
    return cast + experts * setup.number


def layer_passing(shape: Architecture, setup: Setup) -> float:
    """Return what comes and goes of one token while one layer is computed again or differentiated, at most.

    In the feed-forward network that is the gradients of its two halves, or, with an adapter under autocast, the product
    of both, and its float32 copy that PEFT makes for the adapter; in eager attention the gradient of the scores.
    """
    inner = inner_width(shape)
    if setup.adapted_under_autocast:
        passing = inner * (2 * setup.number + FLOAT32) + 3 * shape.hidden * setup.number
    else:
        passing = 2 * inner * setup.number + 2 * shape.hidden * setup.number
    if not setup.eager(shape):
        return passing
    scores = shape.heads * setup.length * (FLOAT32 + setup.number)
    return max(passing, scores - _feed_forward(shape, setup))  # which is differentiated first, and freed


def inner_width(shape: Architecture) -> float:
    """Return the inner width of the feed-forward network, of all experts that a token passes through."""
    return shape.active_experts * shape.expert_width if shape.experts else shape.intermediate


def _norms(shape: Architecture, setup: Setup) -> float:
    """Norms compute in float32 and keep their input so; a trained weight needs the normalised input, too."""
    family = shape.family
    heads = shape.query + shape.key_value if family.head_norms else 0
    kept = FLOAT32 * (family.norms * shape.hidden + heads)
    if setup.adapter == "full":
        if family.late_cast:
            return 2 * kept
        kept += family.norms * shape.hidden * setup.stream + heads * setup.number
    return kept


def _attention(shape: Architecture, setup: Setup) -> float:
    number, query = setup.number, shape.query
    kept = _inputs(shape.attention, setup) + _narrow(shape.attention, setup)
    if setup.eager(shape):
        # queries, keys and values, the input of the output layer, and the scores: in float32, and cast to multiply
        scores = FLOAT32 + (number if number != FLOAT32 else 0) + (number if shape.softcap else 0)
        return kept + 4 * query * number + shape.heads * setup.length * scores
    if setup.adapted_under_autocast:
        kept += query * number
    # With a mask keys and values are repeated for all queries, and each layer makes numbers of the mask
    # (sdpa_attention.py in transformers, `convert_boolean_attn_mask` in torch's attention.cpp).
    values, mask = (query, setup.length * number) if setup.masked else (shape.key_value, 0)
    return kept + (2 * query + 2 * values) * number + mask + shape.heads * FLOAT32


def _feed_forward(shape: Architecture, setup: Setup) -> float:
    """Return what a network keeps: gate, its activation, up, and their product; the outer two where it has no gate."""
    if shape.experts:
        return _mixture(shape, setup)
    inner = (4 if shape.gated else 2) - (1 if setup.adapted_in_float32 else 0)
    kept = _inputs(shape.feed_forward, setup) + _narrow(shape.feed_forward, setup)
    return kept + inner * shape.intermediate * setup.number


def _mixture(shape: Architecture, setup: Setup) -> float:
    """Return what `grouped_mm_experts_forward` (transformers/integrations/moe.py) keeps, for each expert in use.

    It is not under autocast, and computes in the precision of the experts' weights.
    """
    number = FLOAT32 if setup.adapter == "full" and not setup.pure else setup.number
    expert = 2 * shape.hidden + 4 * shape.expert_width
    router = shape.hidden * setup.number + shape.experts * FLOAT32
    return router + shape.active_experts * expert * number


def _inputs(matrices: tuple[Linear, ...], setup: Setup) -> float:
    """Return the inputs of linear layers; that of the last one is among what is kept anyway, unless it is cast.

    Autocast casts the input of each layer anew, and PEFT that of each adapter.
    """
    *first, last = matrices
    if setup.adapted_in_float32:
        return FLOAT32 * sum(matrix.inputs for matrix in (*first, last))
    return (len(first) if setup.autocast else 1) * first[0].inputs * setup.number


def _narrow(matrices: tuple[Linear, ...], setup: Setup) -> float:
    """Return the narrow outputs of the adapters' first halves."""
    number = FLOAT32 if setup.adapted_in_float32 else setup.number
    return 0 if setup.adapter == "full" else len(matrices) * setup.rank * number
