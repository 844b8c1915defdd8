"""Times the steps of transformers' `Trainer` in whatever process has this folder in its PYTHONPATH.

Python imports this file at its start. It waits for `transformers.trainer` and then notes every optimizer step in the
file that `BENCH_STEPS` names: seconds by the clock and of all cores, and what the step's rows held. All contestants of
`tests/bench/train.py` are timed by these lines; their own code is untouched. Loading, evaluation and saving stay out.
"""

import importlib.abc
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

IGNORED = -100  # the label of a token that carries no loss


class Waits(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for the loader of `transformers.trainer`, once."""

    def find_spec(self, fullname, path, target=None):
        if fullname != "transformers.trainer":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        watch(module)


def watch(module):
    """Make the trainer note its steps."""
    trainer = module.Trainer
    begin, train_batch = trainer.__init__, trainer.training_step
    step = {}

    class Notes(module.TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            wall, cpu = time.perf_counter() - step.pop("wall"), time.process_time() - step.pop("cpu")
            with Path(os.environ["BENCH_STEPS"]).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"wall_s": wall, "cpu_s": cpu, **step}) + "\n")
            step.clear()

    def watched_init(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        self.add_callback(Notes())

    def training_step(self, model, inputs, *args, **kwargs):
        if not step:
            step.update(wall=time.perf_counter(), cpu=time.process_time(), tokens=0, trained=0, positions=0)
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        step["tokens"] += ids.numel() if mask is None else int(mask.sum())
        step["trained"] += int((inputs["labels"] != IGNORED).sum())
        step["positions"] += ids.numel()
        return train_batch(self, model, inputs, *args, **kwargs)

    trainer.__init__, trainer.training_step = watched_init, training_step


if "BENCH_STEPS" in os.environ:
    sys.meta_path.insert(0, Waits())
