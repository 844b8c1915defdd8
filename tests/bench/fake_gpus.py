"""Spread a model of fake tensors over GPUs that are not there, by the code that spreads real ones.

`torch.testing` has a process group without processes: its collectives return at once, and what they would fill is there
all the same. Accelerate groups the layers and calls FSDP2's `fully_shard`, as it does for `accelerate launch`.
"""

# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor._sharding_prop import ShardingPropagator
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import _disable_current_modes
from trl.models.utils import prepare_fsdp

NAMES = ("dp_shard",)


def join(gpus: int) -> DeviceMesh:
    """Be the first of so many processes; once a process, and before there are fake tensors."""
    _plan_unseen()
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=gpus)
    return init_device_mesh("cpu", (gpus,), mesh_dim_names=NAMES)


def _plan_unseen() -> None:
    """Let DTensor find out the shapes of results out of MemTracker's sight: it makes tensors as large as all shares."""
    plans: Any = ShardingPropagator
    plan = plans._propagate_tensor_meta_non_cached

    def unseen(self: Any, call: Any) -> Any:
        with _disable_current_modes():
            return plan(self, call)

    plans._propagate_tensor_meta_non_cached = unseen


def spread(trainer: Any, gpus: DeviceMesh, *, pure: bool) -> None:
    """Keep this GPU's share of each weight, and gather the others' where they are needed.

    A model to compare with is spread by TRL, as its trainers do it; a teacher is not. Unless everything is bfloat16
    anyway, trained weights are held in float32 and gathered in bfloat16 (`mixed_precision: bf16`, as
    trl/accelerate_configs/fsdp2.yaml has it).
    """
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        mixed_precision_policy=None if pure else "bf16",
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
    )
    accelerator: Any = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin),
        mixed_precision="no" if pure else "bf16",
        is_main_process=True,
        device=torch.device("cpu"),
        torch_device_mesh=gpus,
        parallelism_config=SimpleNamespace(fsdp_dim_names=NAMES),
    )
    fsdp2_prepare_model(accelerator, trainer.model)
    if getattr(trainer, "ref_model", None) is not None:
        prepare_fsdp(trainer.ref_model, accelerator)
