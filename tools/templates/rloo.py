"""REINFORCE leave-one-out (arXiv 2402.14740) with TRL, from the prompts to the saved model."""

# <own constants>
NUM_GENERATIONS = 8
BETA = 0.05
METRICS += ["reward", "reward_std", "frac_reward_zero_std"]
# </own constants>

RLOOConfig(
    # <settings>
    max_completion_length=max_tokens,
    num_generations=NUM_GENERATIONS,
    temperature=TEMPERATURE,
    beta=BETA,
    per_device_eval_batch_size=NUM_GENERATIONS,
    # </settings>
)

RLOOTrainer(
    # <trainer>
    reward_funcs=rewards,
    # </trainer>
)
