"""Print what judging a large chat file costs: the full scan, the sampled verdict, and TRL's own full preparation.

Makes a parquet file of seeded chats (about 1 GB for 1,000,000 rows) in the temporary folder, reads each part in a
process of its own, one after the other, and says how much memory that process and its children took at most.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 0
ROWS_A_GROUP = 1_000  # what `datasets` writes
LETTERS = "eeeeeetttttaaaaooooiiiinnnnsssshhhrrrdddllluuccmmwwffggyyppbbvk"
WORDS = 30_000
POOL_WORDS = 3_000_000
MOST_CHARACTERS = 20_000
TARGET_S = {"full scan": 60, "sampled verdict": 5}
SCAN_NOTE = "its own `seconds`, every row held against HumanEval"
VERDICT_NOTE = "its own `seconds`: starts its worker, then opens the file, and ends with TRL's proof"
FIRST_BYTE_NOTE = "from outside: the file's first opening, for its hash, to the end of the command"

PREPARE = """
import json, sys, time
import datasets
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer
model, file, rows, scratch = sys.argv[1:]
datasets.disable_caching()
tokenizer = AutoTokenizer.from_pretrained(model)
tiny = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64,
                                    num_hidden_layers=2, num_attention_heads=2))
split = "train" if rows == "all" else f"train[:{rows}]"
chats = datasets.load_dataset("parquet", data_files=file, split=split, cache_dir=scratch).select_columns(["messages"])
began = time.perf_counter()
SFTTrainer(tiny, SFTConfig(output_dir=scratch, max_length=None, dataset_num_proc=2, use_cpu=True, bf16=False,
                           report_to="none"), train_dataset=chats, processing_class=tokenizer)
print("@" + json.dumps({"rows": len(chats), "seconds": time.perf_counter() - began}))
"""

SCAN = """
import dataclasses, json, sys
from ftagent.tools.data.judging.scan import scan
found = scan([sys.argv[1]], "parquet", benchmarks=["humaneval"])
print("@" + json.dumps(dataclasses.asdict(found)))
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a process answered and took."""

    answer: dict[str, Any]
    seconds: float
    """From the start of the process to its end, seen from outside."""
    after_first_byte_s: float
    """From the moment the file is first seen open, looked at 50 times a second, to the end of the process."""
    memory_mib: float
    """The most that the process and its children held together, looked at 50 times a second."""


def write_chats(file: Path, rows: int) -> None:
    """Write chats of two to six turns whose lengths are lognormal (median 400 characters), as `push_to_hub` would."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(SEED)
    pool = text_pool(draw)
    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema([("id", pa.string()), ("messages", pa.list_(turn))])
    with pq.ParquetWriter(file, schema, compression="snappy") as writer:
        for start in range(0, rows, ROWS_A_GROUP):
            count = min(ROWS_A_GROUP, rows - start)
            turns = draw.choice([2, 2, 2, 4, 6], count)
            lengths = np.minimum(draw.lognormal(6.0, 1.0, turns.sum()).astype(int) + 8, MOST_CHARACTERS)
            places = draw.integers(0, len(pool) - MOST_CHARACTERS, turns.sum())
            content = [pool[place : place + length] for place, length in zip(places, lengths, strict=True)]
            roles = ["user", "assistant"] * (len(content) // 2)
            items = pa.StructArray.from_arrays([pa.array(roles), pa.array(content)], fields=list(turn))
            offsets = pa.array(np.concatenate([[0], np.cumsum(turns)]), pa.int32())
            names = [f"chat-{number}" for number in range(start, start + count)]
            chats = pa.ListArray.from_arrays(offsets, items)
            writer.write_table(pa.table([pa.array(names), chats], schema=schema))


def text_pool(draw: Any) -> str:
    """Return text of made-up words, the frequent ones first, that compresses about as prose does."""
    spell = random.Random(SEED)
    words = ["".join(spell.choices(LETTERS, k=spell.randint(1, 9))) for _ in range(WORDS)]
    return " ".join(words[rank % WORDS] for rank in draw.zipf(1.2, POOL_WORDS).tolist())


def measure(command: list[str], file: Path, scratch: str, mark: str = "@") -> Measured:
    """Run a command that starts with empty caches and reads a file; its answer is the JSON behind `mark`."""
    import psutil

    began = time.perf_counter()
    first_byte: float | None = None
    most = 0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        environment = {**os.environ, "HF_HOME": scratch, "HF_HUB_OFFLINE": "1", "TMPDIR": scratch}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            most = max(most, memory_of(psutil, process.pid))
            if first_byte is None and has_open(psutil, process.pid, file):
                first_byte = time.perf_counter()
            time.sleep(0.02)
        ended = time.perf_counter()
        output.seek(0)
        lines = output.read().splitlines()
    answers = [line.removeprefix("@") for line in lines if line.startswith(mark)]
    if process.returncode or not answers:
        sys.exit("\n".join([f"exit code {process.returncode} of {command[:3]}:", *lines[-20:]]))
    return Measured(
        answer=json.loads(answers[-1]),
        seconds=ended - began,
        after_first_byte_s=ended - (first_byte or began),
        memory_mib=most / 2**20,
    )


def has_open(psutil: Any, pid: int, file: Path) -> bool:
    """Whether a process holds a file open."""
    try:
        return any(Path(held.path) == file for held in psutil.Process(pid).open_files())
    except psutil.NoSuchProcess:
        return False


def memory_of(psutil: Any, pid: int) -> int:
    """Return the resident bytes of a process and its children."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    """Make the file, measure the three in turn, and print them as one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the file (default: %(default)s)")
    parser.add_argument("--trl-rows", default="20000", help="rows that TRL prepares, or `all` (default: %(default)s)")
    parser.add_argument("--model", default="SmolLM2-135M-Instruct", help="a model of this machine")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftagent-bench-") as scratch:
        file = Path(scratch, "chats.parquet").resolve()
        write_chats(file, given.rows)
        print(
            f"{given.rows:,} chats, {file.stat().st_size / 1e6:,.0f} MB of parquet (snappy, groups of {ROWS_A_GROUP})"
        )
        scanned, judged = measure_scan(file, scratch), measure_verdict(file, given.model, scratch)
        prepared = measure_trl(file, given.model, given.trl_rows, scratch)
    print(table(given.rows, scanned, judged, prepared))


def measure_scan(file: Path, scratch: str) -> Measured:
    """Scan every row."""
    return measure([sys.executable, "-c", SCAN, str(file)], file, scratch)


def measure_verdict(file: Path, model: str, scratch: str) -> Measured:
    """Let the shell's own tool judge a sample."""
    tool = [str(Path(sys.executable).with_name("ftagent")), "tool", "validate_dataset"]
    return measure(
        [*tool, "--dataset", str(file), "--model", model, "--method", "sft", "--json"], file, scratch, mark="{"
    )


def measure_trl(file: Path, model: str, rows: str, scratch: str) -> Measured:
    """Let TRL prepare the rows as a training does."""
    from ftagent.tools.models import resolve_model
    from ftagent.tools.settings import load_settings

    path = resolve_model(model, load_settings({}), None).path
    return measure([sys.executable, "-c", PREPARE, str(path), str(file), rows, scratch], file, scratch)


def table(rows: int, scanned: Measured, judged: Measured, prepared: Measured) -> str:
    """Put the three beside each other; what TRL took for some rows is scaled to all, and said to be."""
    scan, verdict, trl = scanned.answer, judged.answer["result"], prepared.answer
    trl_s = trl["seconds"] * rows / trl["rows"]
    scaled = "" if trl["rows"] == rows else f", scaled from {trl['rows']:,}"
    speed = f"{scan['characters'] / scan['seconds'] / 1e6:,.0f} million characters/s"
    lines = [
        ("", "seconds", "peak MiB", "to reach", ""),
        ("full scan", scan["seconds"], scanned.memory_mib, TARGET_S["full scan"], f"{SCAN_NOTE}; {speed}"),
        ("sampled verdict", verdict["seconds"], judged.memory_mib, TARGET_S["sampled verdict"], VERDICT_NOTE),
        ("  from first byte", judged.after_first_byte_s, None, None, FIRST_BYTE_NOTE),
        ("  from the shell", judged.seconds, None, None, "from outside: the whole command, Python's start included"),
        ("TRL, every row", trl_s, prepared.memory_mib, None, f"SFTTrainer, dataset_num_proc=2{scaled}"),
        ("TRL / full scan", trl_s / scan["seconds"], None, None, "times as long"),
        ("TRL / verdict", trl_s / judged.seconds, None, None, "times as long as the whole command"),
    ]
    return "\n".join(
        f"{name:18}{_cell(seconds, '.1f')}{_cell(memory, ',.0f')}{_cell(goal, 'd', '< ')}  {note}"
        for name, seconds, memory, goal, note in lines
    )


def _cell(value: Any, form: str, sign: str = "") -> str:
    text = value if isinstance(value, str) else "" if value is None else sign + format(value, form)
    return f"{text:>10}"


if __name__ == "__main__":
    main()
