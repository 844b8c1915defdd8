"""One sentence for every method, each a whole run on a small real model: do its own numbers move the right way?

    make bench-methods             every method, about 40 minutes on two cores
    make bench-methods ONLY=dpo    one of them

The teacher of the distillation is the model that the supervised run made.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ftagent import FineTuneAgent
from ftagent.tools.run import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = "SmolLM2-135M-Instruct"
REWARDED = "with reward short.py:short, 8 generations, completions of 48 tokens, lr 1e-4, 30 steps"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One sentence, and the number that must move."""

    method: str
    sentence: str
    metric: str
    """`loss`, or one of the metrics in `result.json`."""
    falls: bool = False


CASES = (
    Case(method="sft", sentence=f"fine-tune {MODEL} on docstrings.jsonl, and export it", metric="loss", falls=True),
    Case(method="dpo", sentence=f"DPO {MODEL} on pairs.jsonl, lr 1e-4", metric="rewards/margins"),
    Case(method="kto", sentence=f"KTO {MODEL} on judged.jsonl, lr 1e-4", metric="rewards/margins"),
    Case(method="reward", sentence=f"train a reward model from {MODEL} on pairs.jsonl, 3 epochs", metric="accuracy"),
    Case(
        method="grpo",
        sentence=f"GRPO {MODEL} on questions.jsonl {REWARDED}",
        metric="reward",
    ),
    Case(
        method="rloo",
        sentence=f"RLOO {MODEL} on questions.jsonl {REWARDED}",
        metric="reward",
    ),
    Case(
        method="distillation",
        sentence=f"distil ./teacher into {MODEL} on questions.jsonl, completions of 48 tokens, 30 steps",
        metric="loss",
        falls=True,
    ),
)

# Something that a small model can learn within minutes: to answer in few words.
SHORT = '''
def short(completions, **columns):
    """Reward an answer the more, the fewer words it has, down to five."""
    texts = [turns[-1]["content"] for turns in completions]
    return [1.0 - max(0, min(40, len(text.split())) - 5) / 35 for text in texts]
'''


def main() -> None:
    """Run the sentences and print how each method's own number moved."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="one method")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory(prefix="ftagent-methods-") as folder:
        home = Path(folder)
        os.chdir(home)
        for name in ("docstrings.jsonl", "pairs.jsonl", "judged.jsonl", "questions.jsonl"):
            (home / name).symlink_to(EXAMPLES / name)
        (home / "short.py").write_text(SHORT, encoding="utf-8")
        print(f"{'method':<14}{'number':<24}{'first':>10}{'last':>10}  moved ", end="")
        print("  seconds   peak GiB   preflight s", flush=True)
        for line in (row for case in wanted(only) for row in told(case, home)):
            print(line, flush=True)


def wanted(only: str | None) -> Iterator[Case]:
    """Yield the cases that were asked for; a distillation needs the supervised run before it."""
    needed = {only, "sft"} if only == "distillation" else {only}
    yield from (case for case in CASES if only is None or case.method in needed)


def told(case: Case, home: Path) -> Iterator[str]:
    """Run one sentence, and yield a line for each number of its method."""
    evaluated = ", no evaluation" + ("" if case.method == "sft" else ", no export")
    run = FineTuneAgent(approve=True, workdir=home).run(case.sentence + evaluated).run
    if run.report is None or run.report.health != "done":
        raise SystemExit(f"{case.method}: {run.report.reason if run.report else 'no job'}; see {run.folder}")
    if case.method == "sft" and run.export is not None:
        (home / "teacher").symlink_to(run.folder / run.export.merged)
    report = run.report
    ends = {"loss": (report.first_loss, report.last_loss), **report.result["metrics"]}
    for name, (first, last) in ends.items():
        moved = ""
        if name == case.metric:
            moved = "right" if (last < first) == case.falls else "WRONG"
        yield f"{case.method:<14}{name:<24}{first:>10.3f}{last:>10.3f}  {moved:<7}{_cost(run) if moved else ''}"


def _cost(run: Run) -> str:
    assert run.report is not None and run.preflight is not None
    return f"{run.report.seconds:>8.0f}{run.report.peak_memory_gib or 0:>11.2f}{run.preflight.seconds:>14.0f}"


if __name__ == "__main__":
    main()
