"""Make the small sets of the other methods from `docstrings.jsonl`: pairs, judged answers, and bare questions.

    python examples/make_methods.py [--out FOLDER]

    pairs.jsonl      a question, its docstring, and the docstring of another function: DPO and reward models
    judged.jsonl     a question and one of the two, with whether it is the right one: KTO
    questions.jsonl  the question and its docstring beside it: GRPO, RLOO and distillation

A wrong answer is another row's right one, so nothing but its meaning tells them apart. Rows keep their order and their
`split`; the wrong answer of a row comes from its own split. Text: Copyright Python Software Foundation, PSF License.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]

STRIDE = 7
"""Rows to the one whose answer is the wrong one: far enough that it is of another module."""


def main() -> None:
    """Write the files and say how many rows each has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out: Path = parser.parse_args().out
    source = Path(__file__).with_name("docstrings.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in source.splitlines()]
    for name, made in made_of(rows).items():
        (out / name).write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
        print(f"{len(made)} rows in {out / name}")


def made_of(rows: list[Row]) -> dict[str, list[Row]]:
    """Return the rows of each file by its name."""
    made: dict[str, list[Row]] = {"pairs.jsonl": [], "judged.jsonl": [], "questions.jsonl": []}
    for split in ("train", "test"):
        own = [row for row in rows if row["split"] == split]
        for place, row in enumerate(own):
            prompt, right = row["messages"][:-1], row["messages"][-1:]
            wrong = own[(place + STRIDE) % len(own)]["messages"][-1:]
            is_right = place % 2 == 0
            made["pairs.jsonl"].append({"prompt": prompt, "chosen": right, "rejected": wrong, "split": split})
            judged = {"prompt": prompt, "completion": right if is_right else wrong, "label": is_right, "split": split}
            made["judged.jsonl"].append(judged)
            made["questions.jsonl"].append({"prompt": prompt, "answer": right[0]["content"], "split": split})
    return made


if __name__ == "__main__":
    main()
