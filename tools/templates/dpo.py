"""Direct preference optimisation (arXiv 2305.18290) with TRL, from the pairs to the saved model."""

# <constants>
MAX_LENGTH = 1024
BETA = 0.1
TASK = "CAUSAL_LM"
METRICS = ["rewards/accuracies", "rewards/margins"]
# </constants>

DPOConfig(
    # <settings>
    max_length=MAX_LENGTH,
    beta=BETA,
    per_device_eval_batch_size=PER_DEVICE_TRAIN_BATCH_SIZE,
    include_num_input_tokens_seen="non_padding",
    # </settings>
)


# <method>
def trained(rows: Dataset) -> int | None:
    """Count the tokens of both answers in the prepared rows."""
    return sum(len(ids) for name in ("chosen_ids", "rejected_ids") for ids in rows[name])


# </method>
