"""Base and tuned model under one harness after the other, paired item by item, with a verdict for each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

from .errors import InputError, ToolError
from .evaluation import human_eval
from .evaluation.answers import answers_harness, fitting_metric
from .evaluation.benchmark import HumanEval, require_jail
from .evaluation.heldout import heldout_parts, heldout_tasks
from .evaluation.in_job import ASKED, asked_task, pins_for, said_in_job
from .evaluation.lm_harness import lm_eval_part, run_lm_eval
from .evaluation.models import answered_here, chat_templates, server
from .evaluation.part import Part
from .evaluation.sheets import Harness, Sheet, Templates
from .facts import Evaluation
from .files import sha256_of
from .gates import require
from .later import do_tasks
from .later_asked import Asking, asking_of
from .run import Run
from .tasks import Task
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
    short. An interrupted benchmark goes on where it was. Where the training ran on Hugging Face, one job there measures
    it all; rows of a person's own go to the run's private repository for that.

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
    wanted = _Wanted(harnesses=list(_harnesses(run, names, samples, metric, rows)), tasks=_of_lm_eval(names))
    asking = asking_of(run, {"benchmarks": benchmarks, "samples": samples, "metric": metric, "rows": rows})
    measured = _in_job(run, checkpoint, wanted, asking) if _is_remote(run) else _here(run, checkpoint, wanted)
    everything = measured.parts + measured.beside
    return Evaluation(
        comparisons=tuple(comparison for part in measured.parts for comparison in part.comparisons),
        general=tuple(comparison for part in measured.beside for comparison in part.comparisons),
        samples=next((part.samples for part in everything if part.samples), ()),
        items=measured.parts[0].file,
        files={part.file: sha256_of(run.folder / part.file) for part in everything},
        caveats=tuple(caveat for part in everything for caveat in part.caveats),
        checkpoint=CHECKPOINT,
        job_id=measured.job_id,
        seconds=time.monotonic() - started,
        harness="; ".join(part.harness for part in everything),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What is to be measured beside the method's own measure."""

    harnesses: Sequence[Harness]
    tasks: Sequence[str]
    """Of lm-eval."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Measured:
    """What was found, and by which job."""

    parts: list[Part]
    beside: list[Part]
    """General questions, which are beside the goal."""
    job_id: str | None = None


def _named(benchmarks: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip().lower() for name in benchmarks))


def _of_lm_eval(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != human_eval.NAME]


def _is_remote(run: Run) -> bool:
    return run.spec is not None and run.spec.backend != "local"


def _harnesses(run: Run, names: Sequence[str], samples: int, metric: str | None, rows: str | None) -> Iterator[Harness]:
    """Yield what is measured by questions: where the person asked for it, or the rows call for it."""
    if metric is not None or rows is not None:
        yield answers_harness(run, metric=metric or "exact_match", file=rows, reason="")
    elif (_is_remote(run) or _can_serve()) and (fitting := fitting_metric(run)):
        yield answers_harness(run, metric=fitting[0], file=None, reason=fitting[1])
    if human_eval.NAME in names:
        require_jail()
        yield HumanEval(samples=samples)


def _can_serve() -> bool:
    try:
        return bool(server())
    except ToolError:
        return False


def _here(run: Run, checkpoint: Checkpoint, wanted: _Wanted) -> _Measured:
    """Measure on this machine, one harness after the other."""
    done = do_tasks(run, "evaluate", heldout_tasks(run, checkpoint))
    own, general = heldout_parts(run, done.answers)
    parts = [own]
    for harness in wanted.harnesses:
        templates = chat_templates(checkpoint)
        said = answered_here(run, checkpoint, harness.sheets(templates))
        parts.append(harness.part(run, said, templates))
    if wanted.tasks:
        parts.append(run_lm_eval(run, checkpoint, wanted.tasks))
    return _Measured(parts=parts, beside=[general] if general else [])


def _asked(run: Run, checkpoint: Checkpoint, sheets: Sequence[Sheet], wanted: _Wanted, templates: Templates) -> Task:
    is_stated = bool(wanted.tasks) or any(harness.is_stated for harness in wanted.harnesses)
    is_chat = templates[0] is not None
    return asked_task(run, checkpoint, sheets, wanted.tasks, is_chat=is_chat, may_fail=not is_stated)


def _in_job(run: Run, checkpoint: Checkpoint, wanted: _Wanted, asking: Asking) -> _Measured:
    """Let one job measure and ask, and judge here what the models answered."""
    tasks = heldout_tasks(run, checkpoint)
    templates: Templates = (None, None)
    sheets: list[Sheet] = []
    if wanted.harnesses or wanted.tasks:
        templates = chat_templates(checkpoint)
        sheets = [sheet for harness in wanted.harnesses for sheet in harness.sheets(templates)]
        tasks |= {ASKED: _asked(run, checkpoint, sheets, wanted, templates)}
    pins = pins_for(wanted.tasks) if ASKED in tasks else ()
    done = do_tasks(run, "evaluate", tasks, pins=pins, asking=asking)
    assert done.left is not None
    own, general = heldout_parts(done.run, done.answers)
    parts = [own]
    answer = done.answers.get(ASKED, {})
    if "failed" in answer:
        caveats = (f"nothing of what the models themselves write was measured: {answer['failed']}",)
        parts[0] = dataclasses.replace(own, caveats=(*own.caveats, *caveats))
    elif answer:
        said = said_in_job(done.run, sheets, answer, done.left)
        parts += [harness.part(done.run, said, templates) for harness in wanted.harnesses]
        parts += [lm_eval_part(done.run, answer["lm_eval"], said.served)] if wanted.tasks else []
    return _Measured(parts=parts, beside=[general] if general else [], job_id=done.job_id)
