"""How a training script is started: plainly, or by `accelerate launch` where several GPUs work on it.

A plain `python train.py` on several GPUs only spreads the layers over them, one GPU working at a time.
"""

from __future__ import annotations

from .facts import HardwareChoice

LAUNCH = ("-m", "accelerate.commands.launch")
# `accelerate launch --help` (accelerate 1.15). The precision is the script's: `TrainingArguments` sets it.
PROCESSES = ("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
# Every layer is gathered when it computes and let go afterwards; checkpoints hold whole weights, which any machine
# can load. The same choice as in TRL's accelerate_configs/fsdp2.yaml but for the state dict, which is sharded there.
FSDP2 = (
    *("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"),
    *("--fsdp_state_dict_type", "FULL_STATE_DICT", "--fsdp_reshard_after_forward", "true"),
    *("--fsdp_cpu_ram_efficient_loading", "true"),
)


def launch_command(python: str, script: str, hardware: HardwareChoice | None) -> list[str]:
    """Return the command that starts the script on this hardware.

    Args:
        python: The interpreter.
        script: The script's path, as the job sees it.
        hardware: The choice; several GPUs get a process each, and share the weights where it says so.
    """
    return [python, *launch_arguments(hardware), script]


def launch_arguments(hardware: HardwareChoice | None) -> tuple[str, ...]:
    """Return what stands between the interpreter and the script."""
    if hardware is None or hardware.gpus < 2:
        return ()
    how = FSDP2 if hardware.sharded else ("--multi_gpu",)
    return (*LAUNCH, *how, "--num_processes", str(hardware.gpus), *PROCESSES)
