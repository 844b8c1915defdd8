"""Trainings that fail for real: a hook in the job's interpreter, which preflight and everything else never sees."""

from __future__ import annotations

from pathlib import Path

# The mark is in the environment of everything that a job starts (`tools/backends/local.py`). The hook wraps the one
# method through which every batch goes, as soon as transformers is imported.
_HOOK = """
import importlib.abc
import importlib.util
import os
import sys


class Hook(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "transformers.trainer":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            whole_step = module.Trainer.training_step

            def training_step(self, model, inputs, *rest):
                rows, step, rate = inputs["input_ids"].shape[0], self.state.global_step, self.args.learning_rate
                sabotage(rows, step, rate)
                return whole_step(self, model, inputs, *rest)

            module.Trainer.training_step = training_step

        spec.loader.exec_module = exec_module
        return spec


def sabotage(rows, step, rate):
    import torch
{body}


if "FTAGENT_JOB" in os.environ:
    sys.meta_path.insert(0, Hook())
"""


def write_sabotage(folder: Path, body: str) -> dict[str, str]:
    """Write the hook and return the environment that makes Python load it.

    Args:
        folder: Where `sitecustomize.py` goes; made if need be.
        body: Statements that look at `rows` (of the batch), `step` and `rate`, and raise.
    """
    folder.mkdir(exist_ok=True)
    indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
    (folder / "sitecustomize.py").write_text(_HOOK.replace("{body}", indented), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


FULL_ABOVE_TWO_ROWS = """
if rows > 2:
    raise torch.OutOfMemoryError(
        f"CUDA out of memory. Tried to allocate {rows}.00 GiB. GPU 0 has a total capacity of 14.74 GiB of which "
        "1.65 GiB is free."
    )
"""
# At step 5 a checkpoint has been saved (of 9 steps, at half of them). The first attempt alone fails.
OUT_OF_TOUCH_ONCE = """
if step == 6 and not os.path.exists(FLAG):
    open(FLAG, "w").close()
    raise ConnectionResetError(104, "Connection reset by peer")
"""
NOT_FINITE_AT_THE_STATED_RATE = """
if rate > 2e-4 and step >= 6:
    print(f"loss is nan at step {step}: training ends here", file=sys.stderr)
    sys.exit(3)
"""
