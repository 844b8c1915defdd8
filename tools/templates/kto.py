"""Kahneman-Tversky optimisation (arXiv 2402.01306) with TRL, from the judged answers to the saved model."""

# <constants>
MAX_LENGTH = 1024
BETA = 0.1
DESIRABLE_WEIGHT = 1.0
UNDESIRABLE_WEIGHT = 1.0
TASK = "CAUSAL_LM"
METRICS = ["rewards/margins", "kl"]
# </constants>

KTOConfig(
    # <settings>
    max_length=MAX_LENGTH,
    beta=BETA,
    desirable_weight=DESIRABLE_WEIGHT,
    undesirable_weight=UNDESIRABLE_WEIGHT,
    per_device_eval_batch_size=PER_DEVICE_TRAIN_BATCH_SIZE,
    include_num_input_tokens_seen="non_padding",
    # </settings>
)


# <method>
def trained(rows: Dataset) -> int | None:
    """Count the tokens of the answers in the prepared rows."""
    return sum(map(len, rows["completion_ids"]))


# </method>
