"""What the methods share that learn from what the model itself generates; see `base.py`."""

# <constants>
MAX_COMPLETION_LENGTH = 256
TEMPERATURE = 1.0
TASK = "CAUSAL_LM"
METRICS = ["completions/mean_length", "completions/clipped_ratio"]
# </constants>

# <rehearsal>
max_tokens = min(MAX_COMPLETION_LENGTH, int(os.environ.get("FTAGENT_TOKENS", MAX_COMPLETION_LENGTH)))
# </rehearsal>


# <method>
def trained(rows: Dataset) -> int | None:
    """Say nothing: what is trained on is generated first."""
    return None


# </method>
