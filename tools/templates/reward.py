"""Reward modelling (Bradley-Terry on pairs) with TRL, from the pairs to the saved model."""

# <constants>
MAX_LENGTH = 1024
CENTER_REWARDS_COEFFICIENT = 0.01
TASK = "SEQ_CLS"
METRICS = ["accuracy", "margin"]
# </constants>

RewardConfig(
    # <settings>
    max_length=MAX_LENGTH,
    center_rewards_coefficient=CENTER_REWARDS_COEFFICIENT,
    per_device_eval_batch_size=PER_DEVICE_TRAIN_BATCH_SIZE,
    include_num_input_tokens_seen="non_padding",
    # </settings>
)


# <method>
def trained(rows: Dataset) -> int | None:
    """Count the tokens of both answers in the prepared rows; pairs that are too long were left out."""
    return sum(len(ids) for name in ("chosen_ids", "rejected_ids") for ids in rows[name])


# </method>
