"""On-policy distillation (arXiv 2306.13649) with TRL, from the prompts to the saved model."""

# <own constants>
TEACHER = "HuggingFaceTB/SmolLM2-1.7B-Instruct"
TEACHER_REVISION = None
BETA = 1.0

teacher = os.environ.get("FTAGENT_TEACHER", TEACHER)  # a rehearsal has a small one
# </own constants>

DistillationConfig(
    # <settings>
    max_completion_length=MAX_COMPLETION_LENGTH,
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
