"""Who is compared: our script as `write_script` makes it, `trl sft`, and a plain script in the style of TRL's pages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ftagent.tools.dataset import validate_dataset
from ftagent.tools.facts import DatasetReport
from ftagent.tools.hardware import pick_hardware
from ftagent.tools.plan import plan_run
from ftagent.tools.run import REPORTS, Run, new_run
from ftagent.tools.script import SCRIPT, write_script
from ftagent.tools.settings import Settings
from ftagent.tools.worker import WORKER_ENVIRONMENT

MODEL = "SmolLM2-135M-Instruct"
OURS = "ours"

# What a reader of https://huggingface.co/docs/trl/sft_trainer and /peft_integration copies and fills in: the learning
# rate is the one given there for LoRA, and all that is not named has TRL's default.
PLAIN = """
import sys
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

model, rows, output, bf16 = sys.argv[1:]
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(
        output_dir=output,
        learning_rate=2e-4,
        num_train_epochs=1,
        use_cpu=True,
        packing=False,
        bf16=bf16 == "true",
        report_to="none",
    ),
    train_dataset=load_dataset("json", data_files=rows, split="train"),
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
)
trainer.train()
trainer.save_model()
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one training is given."""

    model: str
    rows: Path
    """A file of rows, alone in its folder."""
    count: int
    """How many rows these are."""
    folder: Path
    """An empty folder for whatever it writes."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to train."""

    name: str
    command: Callable[[Task], list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    checkpoint: str = "."
    """Where in the task's folder the trained model lies."""
    is_adapter: bool = True
    is_slow: bool = False
    """Whether it is given fewer rows: in bf16, on a CPU that emulates it."""


# --- the others -------------------------------------------------------------------------------------------------------


def trl_cli(*, bf16: bool, is_slow: bool) -> Contestant:
    """Return TRL's own command with its defaults; only names, one epoch, the CPU and no dashboard are given."""

    def command(task: Task) -> list[str]:
        given = {
            "model_name_or_path": task.model,
            "dataset_name": str(task.rows.parent),
            "output_dir": str(task.folder),
            "num_train_epochs": "1",
            "use_cpu": "true",
            "report_to": "none",
        } | ({} if bf16 else {"bf16": "false"})
        trl = str(Path(sys.executable).with_name("trl"))
        return [trl, "sft", *(part for name, value in given.items() for part in (f"--{name}", value))]

    return Contestant(name=f"trl sft, {_dtype(bf16)}", command=command, is_adapter=False, is_slow=is_slow)


def plain_script(*, bf16: bool, is_slow: bool) -> Contestant:
    """Return the script that TRL's pages lead to."""
    return Contestant(
        name=f"plain script, {_dtype(bf16)}",
        command=lambda task: [
            *(sys.executable, "-c", PLAIN, task.model, str(task.rows), str(task.folder)),
            str(bf16).lower(),
        ],
        is_slow=is_slow,
    )


def _dtype(bf16: bool) -> str:
    return "bf16" if bf16 else "fp32"


# --- ours -------------------------------------------------------------------------------------------------------------

# What one of our choices looks like in the script, and what stands there without it.
SWITCHES = {
    "without loss on answers only": ("lambda device: True", "lambda device: False"),
    "without batches of like length": ('train_sampling_strategy="group_by_length"', 'train_sampling_strategy="random"'),
    "with LoRA on q and v only": ('target_modules="all-linear"', 'target_modules=["q_proj", "v_proj"]'),
    "with activation checkpointing": ("ACTIVATION_CHECKPOINTING = False", "ACTIVATION_CHECKPOINTING = True"),
}
# Where the CPU has bf16 of its own, ours multiplies in it, and keeps weights, sums and the adapter in fp32.
OTHER_PRECISION = {
    'PRECISION = "bf16"': ("in fp32", 'PRECISION = "fp32"'),
    'PRECISION = "fp32"': ("in bf16 over fp32 weights", 'PRECISION = "bf16"'),
}
SPINNING = ('os.environ.setdefault("GOMP_SPINCOUNT", "1000")', 'os.environ.pop("GOMP_SPINCOUNT", None)')


def ours(settings: Settings, rows: Path) -> tuple[Contestant, Run]:
    """Return our script for these rows, by way of every tool that leads to it, and the run that has it.

    Given fewer rows, it takes them from all over the file. Nothing is held out of the rows: the others hold out nothing
    either, and all shall train on the same ones.
    """
    run = new_run(settings)
    run = run.record(plan_run(run, f"fine-tune {MODEL} on {rows} for 1 epoch"))
    run = run.record(_whole(validate_dataset(run)))
    run.journal.settle(settings.workdir / REPORTS / f"bench-{rows.parent.name}" / run.id)
    run = run.record(pick_hardware(run))
    run = run.record(write_script(run))
    text = (run.folder / SCRIPT).read_text(encoding="utf-8")
    return _script(OURS, text, WORKER_ENVIRONMENT), run


def ours_without(run: Run) -> list[Contestant]:
    """Return our script with each of its choices switched off, one at a time."""
    text = (run.folder / SCRIPT).read_text(encoding="utf-8")
    others = [
        _script(f"{OURS} {name}", _replaced(text, *switch), WORKER_ENVIRONMENT) for name, switch in SWITCHES.items()
    ]
    return [
        *others,
        ours_in_other_precision(run),
        _script(f"{OURS} without OMP and malloc settings", _replaced(text, *SPINNING), {}),
    ]


def ours_in_other_precision(run: Run) -> Contestant:
    """Return our script in bf16 where it chose fp32, and the other way round."""
    text = (run.folder / SCRIPT).read_text(encoding="utf-8")
    chosen = next(line for line in OTHER_PRECISION if line in text)
    name, other = OTHER_PRECISION[chosen]
    return _script(f"{OURS} {name}", _replaced(text, chosen, other), WORKER_ENVIRONMENT)


def _whole(dataset: DatasetReport) -> DatasetReport:
    return dataset.model_copy(update={"holdout": None})


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ValueError(f"`{old}` is not in the script once: mend SWITCHES")
    return text.replace(old, new)


def _script(name: str, text: str, environment: dict[str, str]) -> Contestant:
    def command(task: Task) -> list[str]:
        path = task.folder / SCRIPT
        path.write_text(text, encoding="utf-8")
        return ["env", f"FTAGENT_ROWS={task.count}", sys.executable, str(path)]

    return Contestant(name=name, command=command, environment=environment, checkpoint="checkpoint")
