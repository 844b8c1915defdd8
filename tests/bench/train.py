"""Time our script against `trl sft` and a plain script: same model, rows, machine and number of trained tokens.

    python tests/bench/train.py                 short chats, long rows, and short chats with our choices taken away
    python tests/bench/train.py --sets short    one of them
    python tests/bench/train.py --rounds 1      no repetitions

All start from SmolLM2-135M-Instruct and train one epoch on the same rows, answers only (the rows are prompts with
completions, of which TRL trains the answer by default, too). The contestants take turns, A B C A B C, since a machine's
load comes and goes; steps are timed alike in all of them (`watched/sitecustomize.py`), without loading and saving. The
first steps make a CPU's kernels and are slow, so each round is on all rows. After the first one the loss of what came
out is measured on rows that nobody trained on. A CPU that emulates bf16 trains in it on a part of the rows only, once,
and ours beside it: losses compare at equal tokens. Full fine-tuning takes about 3 GiB, nothing else more than 2.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from chats import Chats, long_chats, short_chats, write_rows
from contestants import (
    MODEL,
    OURS,
    Contestant,
    Task,
    ours,
    ours_in_other_precision,
    ours_without,
    plain_script,
    trl_cli,
)
from ftagent.tools.machine import probe_machine
from ftagent.tools.models import resolve_model
from ftagent.tools.settings import Settings, load_settings
from ftagent.tools.worker import run_worker
from tokenizers import Tokenizer

WATCHED = Path(__file__).resolve().parent / "watched"
QUESTION = [{"role": "user", "content": "Hello."}]  # the worker that measures losses also answers something
MAX_LENGTH = 1024
HELDOUT = "held-out"
FEWER = f"{OURS}, smaller budget"


class Budget(NamedTuple):
    """What the trainings of a set are given, and what they are to show."""

    rows: int
    share: int
    """A contestant that is slow here trains on every row of so many."""
    heldout: int
    aim: float | None
    """Trained tokens a second of ours, over those of the fastest other; None: ours against ours with a choice less."""


class Duel(NamedTuple):
    """Ours against some of the others, at equal tokens."""

    title: str
    ours: Contestant
    rivals: Sequence[Contestant]


BUDGETS = {
    "short": Budget(rows=48, share=4, heldout=16, aim=2.0),
    "long": Budget(rows=8, share=8, heldout=4, aim=1.0),
    "choices": Budget(rows=24, share=3, heldout=16, aim=None),
}


@dataclass(frozen=True, kw_only=True)
class Training:
    """What one training took: its steps without loading, evaluation and saving."""

    trained: int
    """Tokens with loss."""
    tokens: int
    positions: int
    """Tokens and padding."""
    wall_s: float
    cpu_s: float
    """Of all cores."""
    base_loss: float = math.nan
    loss: float = math.nan
    """Nats per trained token on the held-out rows, before and after; measured in the first round."""

    @property
    def tokens_per_s(self) -> float:
        """Trained tokens a second."""
        return self.trained / self.wall_s

    @property
    def cpu_s_per_1000(self) -> float:
        """CPU seconds for a thousand trained tokens."""
        return 1000 * self.cpu_s / self.trained


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One set with everything that its trainings need."""

    settings: Settings
    model: str
    home: Path
    files: dict[int, Path]
    """Files of rows, by how many they hold."""
    heldout: Path
    results: dict[str, list[Training]] = field(default_factory=dict)
    work: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Tokens, and those with loss, that the first to train on so many rows had: all others must have as many."""

    def train(self, who: Contestant, rows: int, *, judged: bool) -> Training:
        """Let one contestant train, and measure the loss of what it made."""
        folder = Path(tempfile.mkdtemp(dir=self.home))
        task = Task(model=self.model, rows=self.files[rows], count=rows, folder=folder)
        steps, log = folder / "steps.jsonl", folder / "log.txt"
        own = {"BENCH_STEPS": steps, "PYTHONPATH": WATCHED, "HF_HOME": self.home / "hf", "TRACKIO_DIR": folder}
        environment = {**_inherited(), **who.environment, **{name: str(path) for name, path in own.items()}}
        with log.open("w", encoding="utf-8") as file:
            done = subprocess.run(
                who.command(task), env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=folder, check=False
            )
        if done.returncode:
            raise RuntimeError(f"{who.name} failed:\n{log.read_text(encoding='utf-8')[-3000:]}")
        lines = [json.loads(line) for line in steps.read_text(encoding="utf-8").splitlines()]
        took = {name: sum(line[name] for line in lines) for name in lines[0]}
        training = Training(**took)
        if (training.tokens, training.trained) != self.work.setdefault(rows, (training.tokens, training.trained)):
            raise RuntimeError(f"{who.name} trained on other tokens than the first did: {training}, {self.work[rows]}")
        if judged:
            base_loss, loss = self._losses(who, folder)
            training = replace(training, base_loss=base_loss, loss=loss)
        shutil.rmtree(folder)
        self.results.setdefault(who.name, []).append(training)
        return training

    def _losses(self, who: Contestant, folder: Path) -> tuple[float, ...]:
        request = {
            "base": self.model,
            "revision": None,
            "checkpoint": str(folder / who.checkpoint),
            "is_adapter": who.is_adapter,
            "sets": {HELDOUT: {"rows": str(self.heldout), "loss_on": "completion", "max_length": MAX_LENGTH}},
            "questions": [QUESTION],
            "max_new_tokens": 1,
        }
        answer = run_worker(self.settings, "heldout.py", request, log=folder / "heldout.log", timeout_s=1800)
        items = answer["items"][HELDOUT]
        tokens = sum(item["tokens"] for item in items)
        return tuple(
            sum(item["tokens"] * item[name] for item in items) / tokens for name in ("base_loss", "tuned_loss")
        )


def _inherited() -> dict[str, str]:
    """Return this process's environment without what would change a contestant; nobody reaches for the Hub."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "GOMP_", "MALLOC_", "FTAGENT_"))
    }
    return kept | {"HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}


def run_set(name: str, rounds: int, home: Path) -> None:
    """Let all contestants train on one set in turns, and print what came out."""
    budget = BUDGETS[name]
    settings = load_settings({"workdir": home, "backend": "local"})
    model = resolve_model(MODEL, settings).path
    assert model is not None
    chats = drawn(name, budget, model)
    part = chats.train[:: budget.share]
    files = {len(rows): write_rows(home / str(len(rows)) / "rows.jsonl", rows) for rows in (chats.train, part)}
    heldout = write_rows(home / "heldout.jsonl", chats.heldout)
    bench = Bench(settings=settings, model=model, home=home, files=files, heldout=heldout)
    first, run = ours(settings, files[budget.rows])
    native = probe_machine().native_bf16
    rivals = {
        bf16: [make(bf16=bf16, is_slow=bf16 and not native) for make in (plain_script, trl_cli)]
        for bf16 in (True, False)
    }
    if native:
        beside = ours_in_other_precision(run)
        duels = (
            Duel("as they come, in bf16 like ours", first, rivals[True]),
            Duel("all in fp32", beside, rivals[False]),
        )
    else:
        beside = replace(first, name=FEWER, is_slow=True)
        duels = (Duel("as they come, in bf16", beside, rivals[True]), Duel("all in fp32", first, rivals[False]))
    contestants = [first, *ours_without(run)] if budget.aim is None else [first, beside, *rivals[True], *rivals[False]]
    for turn in range(rounds):
        for who in contestants:
            if turn and who.is_slow:
                continue  # it takes as long as all the others
            training = bench.train(who, len(part) if who.is_slow else budget.rows, judged=turn == 0)
            print(f"  {name}, round {turn + 1}: {who.name}: {training}", file=sys.stderr, flush=True)
    print_table(name, bench.results)
    if run.hardware is not None:
        chosen = run.hardware
        print(f"Ours is {chosen.adapter} in {chosen.precision}, batch {chosen.batch} x {chosen.accumulation}.")
    if budget.aim is not None:
        print_aims(budget.aim, bench.results, duels)


def drawn(name: str, budget: Budget, model: str) -> Chats:
    """Return the rows of a set."""
    if name == "long":
        return long_chats(budget.rows, budget.heldout, Tokenizer.from_file(str(Path(model, "tokenizer.json"))))
    return short_chats(budget.rows, budget.heldout)


# --- what is printed --------------------------------------------------------------------------------------------------


def print_table(name: str, results: dict[str, list[Training]]) -> None:
    """Print a line for each contestant."""
    first = results[OURS][0]
    print(
        f"\n{name} rows: {first.tokens:,} tokens, {first.trained:,} trained; at first the loss is {first.base_loss:.4f}"
    )
    print(f"{'':38}{'trained tokens/s':>22}{'CPU s/1,000':>13}{'padding':>9}{'held-out loss':>20}")
    for who, trainings in results.items():
        rates, one = [training.tokens_per_s for training in trainings], trainings[0]
        spread = f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"
        loss = f"{one.loss:.4f} at {one.trained:,}"
        print(f"{who:38}{spread:>22}{cpu_of(trainings):13.1f}{1 - one.tokens / one.positions:9.0%}{loss:>20}")


def print_aims(aim: float, results: dict[str, list[Training]], duels: Sequence[Duel]) -> None:
    """Print how ours does against the best of the others, as they come and with the same dtype."""
    for title, who, rivals in duels:
        mine, others = who.name, {rival.name: results[rival.name] for rival in rivals}
        fastest = max(others, key=lambda name: rate_of(others[name]))
        cheapest = min(others, key=lambda name: cpu_of(others[name]))
        best = min(others, key=lambda name: others[name][0].loss)
        ratio, cpu = rate_of(results[mine]) / rate_of(others[fastest]), cpu_of(others[cheapest]) / cpu_of(results[mine])
        better = others[best][0].loss - results[mine][0].loss
        print(
            f"{title.capitalize()}: {mine} trains {ratio:.2f}x the tokens a second of {fastest} (aim {aim:.0f}x), "
            f"{cpu:.2f}x a CPU second of {cheapest}; its loss is {abs(better):.4f} "
            f"{'below' if better >= 0 else 'ABOVE'} the lowest, {best}."
        )


def rate_of(trainings: Sequence[Training]) -> float:
    """Return the median of the trained tokens a second."""
    return statistics.median(training.tokens_per_s for training in trainings)


def cpu_of(trainings: Sequence[Training]) -> float:
    """Return the median of the CPU seconds for a thousand trained tokens."""
    return statistics.median(training.cpu_s_per_1000 for training in trainings)


def main() -> None:
    """Run the sets that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    for name in options.sets:
        with tempfile.TemporaryDirectory(prefix="bench-train-") as home:
            run_set(name, options.rounds, Path(home))


if __name__ == "__main__":
    main()
