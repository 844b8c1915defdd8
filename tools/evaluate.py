"""Base and tuned model under one harness after the other, paired item by item, with a verdict for each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from .errors import InputError, ToolError
from .evaluation import human_eval
from .evaluation.answers import fitting_metric, measure_answers
from .evaluation.benchmark import run_human_eval
from .evaluation.heldout import heldout_parts, heldout_tasks
from .evaluation.lm_harness import run_lm_eval
from .evaluation.models import server
from .evaluation.part import Part
from .facts import Evaluation
from .files import sha256_of
from .gates import require
from .later import do_tasks
from .run import Run
from .trained import CHECKPOINT, Checkpoint, find_checkpoint

MOST_SAMPLES = 20


def evaluate_model(
    run: Run,
    *,
    benchmarks: list[str] | None = None,
    samples: int = 0,
    metric: str | None = None,
    rows: str | None = None,
) -> Evaluation:
    """Compare the fine-tuned model with its base, paired, on held-out rows and on benchmarks.

    Returns comparisons, each with base, tuned, interval, test, smallest difference that could have shown and verdict
    (better, worse or no evidence; the first leads), held-out questions answered by both models, what the training may
    have made the model forget, caveats, and the files with the result of every item. Without arguments: the method's
    own measure on held-out rows, the benchmarks that the person named, and exact match where held-out answers are
    short. An interrupted benchmark goes on where it was.

    Args:
        run: The run, with its training completed.
        benchmarks: humaneval, or names of tasks of lm-eval; by default those that the person named.
        samples: Answers to draw for each item of HumanEval beside the greedy one, for pass@k, at most 20.
        metric: exact_match, regex:PATTERN, a name of a reward, or FILE.py:FUNCTION, on generated answers.
        rows: A file of rows with answers to use the metric on, instead of the held-out ones.

    Raises:
        InputError: A metric or file is of no use.
        ToolError: The checkpoint does not load or is another model, or fewer than two rows were held out.
    """
    require("evaluate_model", run)
    assert run.spec is not None and run.script is not None
    started = time.monotonic()
    names = _named(benchmarks if benchmarks is not None else run.spec.overrides.benchmarks or ())
    if not 0 <= samples <= MOST_SAMPLES:
        raise InputError(f"{samples} samples are not possible.", hint=f"0 to {MOST_SAMPLES}")
    if run.script.method == "reward" and (names or metric or rows):
        raise InputError("a reward model answers nothing.", hint="leave benchmarks, metric and rows out")
    checkpoint = find_checkpoint(run)
    done = do_tasks(run, "evaluate", heldout_tasks(run, checkpoint))
    run = done.run
    measured, general = heldout_parts(run, done.answers)
    parts = [measured, *_answered(run, checkpoint, metric, rows), *_benchmarks(run, checkpoint, names, samples)]
    everything = [*parts, *([general] if general else [])]
    return Evaluation(
        comparisons=tuple(comparison for part in parts for comparison in part.comparisons),
        general=general.comparisons if general else (),
        samples=next((part.samples for part in everything if part.samples), ()),
        items=measured.file,
        files={part.file: sha256_of(run.folder / part.file) for part in everything},
        caveats=(
            *(caveat for part in everything for caveat in part.caveats),
            *_not_measured(run, metric, rows),
        ),
        checkpoint=CHECKPOINT,
        job_id=done.job_id,
        seconds=time.monotonic() - started,
        harness="; ".join(part.harness for part in everything),
    )


def _named(benchmarks: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip().lower() for name in benchmarks))


def _answered(run: Run, checkpoint: Checkpoint, metric: str | None, rows: str | None) -> Iterator[Part]:
    """Yield the scores of generated answers, where the person asked for them or the rows call for them."""
    if metric is not None or rows is not None:
        yield measure_answers(run, checkpoint, metric=metric or "exact_match", file=rows, reason="")
    elif _is_here(run) and (fitting := fitting_metric(run)) and _can_serve():
        yield measure_answers(run, checkpoint, metric=fitting[0], file=None, reason=fitting[1])


def _is_here(run: Run) -> bool:
    """Whether the run measures on this machine; a job measures losses, and has no server to put questions to."""
    return run.spec is None or run.spec.backend == "local"


def _not_measured(run: Run, metric: str | None, rows: str | None) -> tuple[str, ...]:
    """Say what a job leaves out that this machine would have measured."""
    fitting = None if _is_here(run) or metric or rows else fitting_metric(run)
    if fitting is None:
        return ()
    return (
        f"{fitting[1]}, and the job did not let the models write any: `ftagent tool evaluate_model --run {run.id} "
        f"--metric {fitting[0]}` does so on this machine, with llama.cpp",
    )


def _can_serve() -> bool:
    try:
        return bool(server())
    except ToolError:
        return False


def _benchmarks(run: Run, checkpoint: Checkpoint, names: Sequence[str], samples: int) -> Iterator[Part]:
    if human_eval.NAME in names:
        yield run_human_eval(run, checkpoint, samples=samples)
    if others := [name for name in names if name != human_eval.NAME]:
        yield run_lm_eval(run, checkpoint, others)
