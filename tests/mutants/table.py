"""All mutants, what cannot be told from a good run, and the tables of the bench."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .good import GOOD, good_run
from .judge import Verdict, alone, broken_run, judged, stops
from .mutant import Mutant
from .scripts import TEXT
from .worlds import WORLD

MUTANTS: dict[str, Mutant] = {**TEXT, **WORLD}

NOT_COVERED = {
    "pairs swapped in the data, or by a mapping from other columns": "only the file says which answer is better",
    "a template whose turns end with another existing stop token": "the model stops, though not where its base does",
    "weights of the right size with other values": "their digest is taken when the run is planned, not at preflight",
    "rows held out and trained on": "a rehearsal sees 16 rows of each part",
    "writes of native code, and what processes do that the script starts": "the walls are Python's audit events",
    "a private model of the real Hub": "nothing is reached here: the Hub's answers are raised in its own words",
}


def judge_all(home: Path, only: list[str], told: Callable[[str], None]) -> tuple[list[str], int]:
    """Return the lines of the tables, and how many rows are not as they should be."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    wanted = {name: m for name, m in MUTANTS.items() if not only or any(word in name for word in only)}
    goods = {name: g for name, g in GOOD.items() if not only or any(word in name for word in only)}
    runs = {name: broken_run(home / "broken" / str(n), mutant) for n, (name, mutant) in enumerate(wanted.items())}
    runs |= {name: good_run(home / "good" / str(n), good) for n, (name, good) in enumerate(goods.items())}
    apart = [name for name, mutant in wanted.items() if mutant.ends_process]
    verdicts = judged(home, {name: run for name, run in runs.items() if name not in apart}, told)
    verdicts |= {name: alone(runs[name]) for name in apart}
    stopped = {name: stops(mutant, verdicts[name]) for name, mutant in wanted.items()}
    passed = {name: not verdicts[name].red for name in goods}
    lines = [f"{sum(stopped.values())} of {len(stopped)} mutants are stopped as they should be", ""]
    lines += [_row(name, stopped[name], verdicts[name], wanted[name].method) for name in wanted]
    lines += ["", f"{sum(passed.values())} of {len(passed)} sound runs pass", ""]
    lines += [_row(name, passed[name], verdicts[name], goods[name].method) for name in goods]
    lines += ["", "Not covered:", *(f"- {what}: {why}" for what, why in NOT_COVERED.items())]
    return lines, (*stopped.values(), *passed.values()).count(False)


def _row(name: str, is_right: bool, verdict: Verdict, method: str) -> str:
    said = f"{verdict.red[0].name}: {verdict.red[0].detail}" if verdict.red else "green"
    words = " ".join(said.split())[:300]
    return f"| {'ok' if is_right else 'WRONG'} | {name} | {method} | {verdict.seconds:.1f} s | {words} |"
