"""Group relative policy optimisation (arXiv 2402.03300) with TRL, from the prompts to the saved model."""

# <own constants>
NUM_GENERATIONS = 8
BETA = 0.0
METRICS += ["reward", "reward_std", "frac_reward_zero_std"]
# </own constants>

GRPOConfig(
    # <settings>
    max_completion_length=max_tokens,
    num_generations=NUM_GENERATIONS,
    temperature=TEMPERATURE,
    beta=BETA,
    per_device_eval_batch_size=NUM_GENERATIONS,
    # </settings>
)

GRPOTrainer(
    # <trainer>
    reward_funcs=rewards,
    # </trainer>
)
