"""Hold the memory arithmetic against what the trainers' tensors really took, and print the table.

    python tests/bench/memory.py                    the table, from tests/tools/memory_truth.json
    python tests/bench/memory.py --measure [WORD]   measure anew what has WORD in its line; 10 to 60 s each
    python tests/bench/memory.py --missing          measure what was not measured yet
    python tests/bench/memory.py --cuda [WORD]      those of one GPU for real, on the GPU at hand, as far as they fit

A line says model, method, adapter with its rank, precision (`pure`: all in bfloat16; `bf16`: autocast over float32
weights, or over a frozen base in bfloat16), batch × tokens, and what else is not the default: on several GPUs, FSDP2;
`rollouts` completions, of which `share` of the tokens is generated; a teacher. QLoRA needs bitsandbytes beside the
packages of the project (`pip install "bitsandbytes>=0.50"`), and its CPU build is enough. What was measured is written
at once, so that a measurement can be interrupted, and gone on with by --missing. 80 layers take as long as they take:
nothing is extrapolated from fewer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from ftagent.tools.memory import training_memory
from ftagent.tools.setups import Setup
from ftagent.tools.shapes import read_architecture

TESTS = Path(__file__).resolve().parent.parent
TRUTH = TESTS / "tools" / "memory_truth.json"
CONFIGS = TESTS / "configs"
HOW = "two steps of TRL's trainer on fake tensors, peak of MemTracker in GiB: see tests/bench/memory.py"
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes")
GIB = 2**30

LINES = """
SmolLM2-135M sft full bf16 8x1024
SmolLM2-135M sft full bf16 4x2048 checkpointing
SmolLM2-135M sft full fp32 4x512
SmolLM2-135M sft lora16 bf16 8x1024 padded share=0.25
SmolLM2-135M rloo lora16 bf16 8x1024 padded
SmolLM2-360M sft full bf16 8x1024 accumulates
SmolLM2-360M sft full pure 4x2048 padded
SmolLM2-360M reward lora16 bf16 4x1024 padded
SmolLM2-360M dpo full bf16 4x512 padded accumulates
Qwen2.5-0.5B sft full bf16 4x1024 padded
Qwen2.5-0.5B sft full bf16 2x2048 checkpointing accumulates
Qwen2.5-0.5B sft lora16 bf16 4x1024 full-logits
Qwen2.5-0.5B kto lora16 fp32 2x512 padded
Qwen3-0.6B sft full pure 2x2048 full-logits
Qwen3-0.6B sft full pure 2x2048 full-logits checkpointing
Qwen3-0.6B sft full pure 2x2048
Qwen3-0.6B sft full bf16 4x1024 padded checkpointing
Qwen3-0.6B sft full bf16 1x8192
Qwen3-0.6B sft full bf16 1x512
Qwen3-0.6B sft lora16 bf16 4x1024 padded
Qwen3-0.6B sft lora16 bf16 4x1024 padded eager
Qwen3-0.6B sft lora16 bf16 4x2048 full-logits checkpointing
Qwen3-0.6B sft lora64 bf16 16x512 share=0.25
Qwen3-0.6B sft lora16 fp32 4x512
Qwen3-0.6B dpo full bf16 2x1024 padded
Qwen3-0.6B dpo full bf16 2x1024 padded checkpointing
Qwen3-0.6B grpo full bf16 8x1024 padded checkpointing
Qwen3-0.6B kto full bf16 4x1024 padded checkpointing
Qwen3-1.7B sft full pure 1x4096 checkpointing
Qwen3-1.7B sft full bf16 2x2048 checkpointing accumulates
Qwen3-1.7B sft lora32 bf16 2x4096 padded checkpointing
Qwen3-1.7B dpo lora16 bf16 2x2048 padded checkpointing
Qwen3-1.7B grpo lora16 bf16 8x2048 padded checkpointing
Llama-3.2-1B sft full bf16 4x2048 checkpointing
Llama-3.2-1B sft full pure 2x1024
Llama-3.2-1B sft lora16 bf16 4x1024
Llama-3.2-1B sft lora16 bf16 4x1024 padded eager checkpointing
Llama-3.2-1B dpo lora16 bf16 2x1024 padded
Llama-3.2-1B dpo full bf16 1x1024 checkpointing
Llama-3.2-1B reward full bf16 2x1024 padded checkpointing
Llama-3.2-1B grpo full bf16 4x1024 padded
gemma-3-1b sft lora16 bf16 4x1024 padded
gemma-3-1b sft full bf16 2x4096 checkpointing
gemma-3-1b sft full pure 2x1024 full-logits
gemma-2-2b sft lora16 bf16 2x1024 eager
gemma-2-2b sft lora16 bf16 2x2048 eager checkpointing
gemma-2-2b sft full bf16 1x2048 eager checkpointing
OLMo-2-1124-7B sft lora16 bf16 2x2048 checkpointing
OLMo-2-1124-7B sft full bf16 1x2048 checkpointing
OLMo-2-1124-7B sft lora16 bf16 2x1024 padded
Mistral-7B-v0.3 sft lora16 bf16 1x4096 checkpointing
Mistral-7B-v0.3 sft lora64 bf16 4x2048 padded checkpointing
Mistral-7B-v0.3 dpo lora16 bf16 1x2048 padded checkpointing
Qwen2.5-7B sft lora16 bf16 1x2048
Qwen2.5-7B sft full bf16 1x4096 checkpointing accumulates
Qwen3-8B sft lora16 bf16 2x4096 checkpointing
Qwen3-8B sft lora16 bf16 1x32768 checkpointing
Qwen3-8B sft full pure 1x8192 checkpointing
Qwen3-8B grpo lora32 bf16 8x1024 padded checkpointing
Llama-3.1-8B sft lora16 bf16 2x2048 full-logits checkpointing
Llama-3.1-8B sft full bf16 1x2048 checkpointing
Llama-3.1-8B reward full bf16 1x1024 padded checkpointing
Llama-3.1-8B kto lora16 bf16 4x1024 padded checkpointing
Phi-4 sft lora16 bf16 1x4096 checkpointing
Phi-4 sft lora16 bf16 1x16384 checkpointing
Phi-4 sft full pure 1x2048 checkpointing accumulates
Qwen3-30B-A3B sft lora16 bf16 1x4096 checkpointing
Qwen3-30B-A3B sft lora16 bf16 2x2048
Qwen3-30B-A3B sft full pure 1x2048 checkpointing
Mixtral-8x7B-v0.1 sft lora16 bf16 2x2048 checkpointing
Mixtral-8x7B-v0.1 sft lora8 bf16 1x1024
Llama-3.1-70B sft lora16 bf16 1x2048 checkpointing
Llama-3.1-70B sft full pure 1x4096 checkpointing
Llama-3.1-70B dpo lora16 bf16 1x2048 padded checkpointing
Qwen3-0.6B grpo full bf16 8x1024 padded checkpointing reference
Qwen3-0.6B rloo full bf16 4x1024 padded
Qwen3-8B rloo full bf16 4x1024 padded checkpointing accumulates
Qwen3-0.6B grpo lora16 bf16 2x128 checkpointing rollouts=512 share=0.5
Qwen3-0.6B grpo full bf16 2x1024 padded checkpointing rollouts=64 share=0.01
Qwen3-0.6B rloo lora16 bf16 2x4096 checkpointing rollouts=64 share=0.002
Llama-3.2-1B grpo lora16 bf16 2x96 padded checkpointing rollouts=1024 share=0.5
gemma-3-1b grpo lora16 bf16 2x2048 checkpointing rollouts=64 share=0.005
Qwen3-0.6B distillation lora16 bf16 4x1024 padded teacher=Qwen3-1.7B
Qwen3-0.6B distillation full bf16 4x1024 padded teacher=Qwen3-1.7B
Qwen3-1.7B distillation lora16 bf16 8x1024 padded checkpointing share=0.25 teacher=Qwen3-8B
Llama-3.1-8B distillation lora16 bf16 4x1024 padded checkpointing gpus=4
Qwen3-0.6B sft qlora16 bf16 4x1024 padded
Qwen3-1.7B sft qlora16 bf16 2x2048 checkpointing
Llama-3.1-8B sft qlora16 bf16 1x2048 checkpointing
Llama-3.1-8B sft qlora64 bf16 2x1024 padded
Llama-3.1-8B dpo qlora16 bf16 1x2048 padded checkpointing
Qwen3-30B-A3B sft qlora16 bf16 1x2048 checkpointing
Llama-3.1-70B sft qlora16 bf16 1x2048 checkpointing
Qwen3-0.6B sft full bf16 4x1024 padded checkpointing gpus=4
Qwen3-0.6B sft full pure 2x1024 gpus=2
Qwen3-0.6B sft full bf16 2x1024 accumulates gpus=2
Qwen3-0.6B sft lora16 bf16 4x1024 padded gpus=4
gemma-3-1b sft full bf16 1x1024 checkpointing gpus=8
Qwen2.5-7B sft lora16 bf16 2x2048 gpus=2
Llama-3.1-8B sft full bf16 1x2048 checkpointing gpus=8
Llama-3.1-8B sft full bf16 2x4096 checkpointing accumulates gpus=8
Llama-3.1-8B sft lora16 bf16 1x2048 checkpointing gpus=4
Llama-3.1-8B dpo lora16 bf16 1x2048 padded checkpointing gpus=2
Llama-3.1-8B dpo full bf16 1x1024 padded checkpointing gpus=4
Llama-3.1-8B kto full bf16 4x1024 padded checkpointing accumulates gpus=8
Llama-3.1-8B reward full bf16 1x1024 padded checkpointing gpus=4
Qwen3-8B grpo lora32 bf16 8x1024 padded checkpointing gpus=2
Qwen3-30B-A3B sft lora16 bf16 1x4096 checkpointing gpus=4
Qwen3-30B-A3B sft full bf16 1x2048 checkpointing gpus=8
Llama-3.1-70B sft lora16 bf16 1x4096 checkpointing gpus=4
Llama-3.1-70B sft full bf16 1x4096 checkpointing accumulates gpus=8
""".strip().splitlines()


def read_line(line: str) -> tuple[str, Setup]:
    """Return the model and the setup that a line stands for."""
    model, method, adapter, precision, rows, *more = line.split()
    batch, length = rows.split("x")
    kind = adapter.rstrip("0123456789")
    values = dict(word.split("=") for word in more if "=" in word)
    setup: dict[str, Any] = {
        "method": method,
        "adapter": kind,
        "rank": int(adapter.removeprefix(kind) or 16),
        "precision": "bf16" if precision == "pure" else precision,
        "pure": precision == "pure",
        "batch": int(batch),
        "length": int(length),
        "checkpointing": "checkpointing" in more,
        "accumulates": "accumulates" in more,
        "padded": "padded" in more,
        "attention": "eager" if "eager" in more else "sdpa",
        "logits": "full" if "full-logits" in more else "tiled",
        "trained_share": float(values.get("share", 1.0 if method == "sft" else 0.5)),
        "reference": True if "reference" in more else None,
        "teacher": read_architecture(CONFIGS / values["teacher"]) if "teacher" in values else None,
        "rollouts": int(values.get("rollouts", 0)),
        "gpus": int(values.get("gpus", 1)),
        "on_gpu": True,
    }
    return model, Setup(**setup)


def described(line: str) -> dict[str, Any]:
    """Return what fake_training.py must know of a line: the setup, and the names of models."""
    model, setup = read_line(line)
    teacher = next((word.removeprefix("teacher=") for word in line.split() if word.startswith("teacher=")), model)
    return {**asdict(setup), "model": model, "teacher": teacher, "reference": setup.compares}


# --- the table --------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """What was measured of one training, and what the arithmetic says; the overhead of a process is in neither."""

    line: str
    truth_gib: float
    arithmetic_gib: float

    @property
    def error(self) -> float:
        """How far the arithmetic is over, as a share."""
        return self.arithmetic_gib / self.truth_gib - 1


def rows(truth: Path = TRUTH) -> list[Row]:
    """Return what was measured of each training, beside the arithmetic."""
    measured = json.loads(truth.read_text(encoding="utf-8"))["gib"]
    return [Row(line, found["total"], arithmetic_gib(line)) for line, found in measured.items()]


def arithmetic_gib(line: str) -> float:
    """Return the peak of the tensors, without the overhead of a process and its allocator."""
    model, setup = read_line(line)
    memory = training_memory(read_architecture(CONFIGS / model), setup)
    return memory.total - memory.overhead


def print_table(table: list[Row]) -> None:
    """Print each row, and the errors of all."""
    print(f"{'truth':>9}{'arithmetic':>12}{'error':>8}  training (GiB)")
    for row in table:
        print(f"{row.truth_gib:9.2f}{row.arithmetic_gib:12.2f}{row.error:8.1%}  {row.line}")
    errors = [row.error for row in table]
    median = statistics.median(abs(error) for error in errors)
    worst = max(errors, key=abs)
    print(f"{len(table)} trainings: median error {median:.1%}, worst {worst:+.1%}, most under {min(errors):+.1%}")


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(lines: list[str], truth: Path | None) -> list[Row]:
    """Measure each line in a process of its own; on fake tensors, and kept in `truth` as it comes, or on the GPU."""
    sys.path.insert(0, str(Path(__file__).parent))
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["fake_training"])  # what it imports takes 10 s, once
    found = []
    for line in lines:
        with processes.Pool(1) as pool:
            sizes = pool.apply(_peak_gib, (line, truth is None))
        if not sizes:
            print(f"{'':9}  {line}: out of memory", flush=True)
            continue
        print(f"{sizes['total']:9.2f}  {line}", flush=True)
        found.append(Row(line, sizes["total"], arithmetic_gib(line)))
        if truth is not None:
            _keep(line, sizes, truth)
    return found


def _peak_gib(line: str, cuda: bool) -> dict[str, float]:
    """Return the peak and its parts; nothing where the GPU has too little memory."""
    import torch
    from fake_training import peak_bytes

    try:
        sizes = peak_bytes(described(line), cuda=cuda)
    except torch.OutOfMemoryError:
        return {}
    return {kind: round(size / GIB, 4) for kind, size in sizes.items()}


def _keep(line: str, sizes: dict[str, float], truth: Path) -> None:
    """Write the truth anew with this line in it, in the order of `LINES`."""
    known = json.loads(truth.read_text(encoding="utf-8")) if truth.exists() else {"versions": {}, "gib": {}}
    found = known["gib"] | {line: sizes}
    gib = {one: found[one] for one in LINES if one in found}
    versions = known["versions"] | {name: version(name) for name in PACKAGES if find_spec(name)}
    truth.write_text(json.dumps({"how": HOW, "versions": versions, "gib": gib}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Print the table, or measure first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="?", const="", metavar="WORD", help="measure those with WORD, or all")
    parser.add_argument("--missing", action="store_true", help="measure those that were not measured yet")
    parser.add_argument("--cuda", nargs="?", const="", metavar="WORD", help="run them on the GPU at hand")
    parser.add_argument("--truth", type=Path, default=TRUTH, help="where the measurements are kept")
    given = parser.parse_args()
    if given.cuda is not None:
        print_table(measure([line for line in LINES if given.cuda in line and "gpus=" not in line], None))
        return
    if given.measure is not None or given.missing:
        known = {row.line for row in rows(given.truth)} if given.missing and given.truth.exists() else set()
        measure([line for line in LINES if (given.measure or "") in line and line not in known], given.truth)
    print_table(rows(given.truth))


if __name__ == "__main__":
    main()
