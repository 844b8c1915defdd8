"""On-policy distillation (arXiv 2306.13649) with TRL, from the prompts to the saved model."""

# <own constants>
TEACHER = "HuggingFaceTB/SmolLM2-1.7B-Instruct"
TEACHER_REVISION = None
BETA = 1.0
# </own constants>

# <own rehearsal>
teacher = os.environ.get("FTAGENT_TEACHER", TEACHER)
# </own rehearsal>

DistillationConfig(
    # <settings>
    max_completion_length=max_tokens,
    temperature=TEMPERATURE,
    beta=BETA,
    teacher_model_revision=TEACHER_REVISION if teacher == TEACHER else None,
    teacher_model_init_kwargs={"dtype": dtype()},
    per_device_eval_batch_size=PER_DEVICE_TRAIN_BATCH_SIZE,
    # </settings>
)

DistillationTrainer(
    # <trainer>
    teacher_model=teacher,
    # </trainer>
)
