"""Answers about runs, from their journals and metrics alone: what the built-in planner can say without an LLM.

A question is read by a table of patterns; one that no line of it matches gets no answer rather than a guess. A cause
is named only where the logged numbers show it, and is called likely, since no log proves one.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise

from ..tools.compare import comparison
from ..tools.errors import FtagentError
from ..tools.facts import TERMINAL_STAGES, Parameter
from ..tools.metrics import EVAL_LOSS, GRADIENT_NORM, LEARNING_RATE, LOSS, Point, leading_of, read_metrics
from ..tools.monitor import METRICS, monitor_job
from ..tools.outlook import total_steps
from ..tools.report import advice, verdict
from ..tools.run import Run
from ..tools.statistics import in_words
from ..tools.wording import duration

BEFORE = 20
"""Points before a step that say what was usual there."""
NEAR = 5
"""Points after a step within which a jump still counts as being at it."""
JUMP = 4.0
"""Scatters (median absolute deviations) above the usual from which a number jumped."""
SPIKE = 10.0
"""Times the usual gradient from which it is a spike, as in `tools/rules.py`."""
GAP = 10.0
"""Times the usual seconds between two logs from which something came between them."""

UNDERSTOOD = (
    "why did the loss jump at step 300? · what did it cost? · why did it fail? · which data? · is it better? · "
    "which learning rate? · how long did it take? · compare RUN and RUN"
)


def answer(question: str, runs: Sequence[Run]) -> str | None:
    """Return an answer in Markdown, or None where the question is not understood.

    Args:
        question: A person's words.
        runs: The runs that it is about, the one in hand first; at least one.
    """
    words = question.lower()
    if re.search(r"\b(?:compare|vergleich\w*|differ\w*|difference|versus|vs)\b", words):
        return _compare(runs)
    if match := re.search(r"\b(?:step|schritt|paso)\s*(\d[\d,]*)", words):
        return at_step(runs[0], int(match[1].replace(",", "")), words)
    if found := _parameter(words, runs[0]):
        return _reasoned(found, runs[0])
    for pattern, say in _QUESTIONS:
        if re.search(pattern, words):
            return say(runs[0])
    return None


def _reasoned(parameter: Parameter, run: Run) -> str:
    """Say a parameter's value and its reason; what the hardware decided has the reason of that choice."""
    why = f": {parameter.reason}" if parameter.reason else ""
    hardware = run.hardware.reason if run.hardware and parameter.reason.startswith("pick_hardware") else ""
    more = f"\n\nAs the hardware was chosen: {hardware.rstrip('.')}." if hardware else ""
    return f"`{parameter.name}` is {parameter.value} ({parameter.origin}{why}).{more}"


def _compare(runs: Sequence[Run]) -> str:
    planned = [run for run in runs if run.spec is not None]
    if len(planned) < 2:
        return "There is only one run here to compare: name two, as in `compare 3f2a and 91bc`."
    return comparison(planned)


# --- one step ---------------------------------------------------------------------------------------------------------


def at_step(run: Run, step: int, words: str = "") -> str:
    """Say what was logged at a step, whether the number jumped there, and what else was logged that may explain it."""
    points = read_metrics(run.folder / METRICS) if run.journal.folder else []
    leading = leading_of(run.spec.method if run.spec else None)
    name, label = leading.name, leading.label
    if "gradient" in words:
        name, label = GRADIENT_NORM, "gradient norm"
    elif "eval" in words or "held" in words:
        name, label = EVAL_LOSS, "held-out loss"
    elif "loss" in words:
        name, label = LOSS, "loss"
    logged = [point for point in points if point.values.get(name) is not None]
    if not logged:
        return f"Run {run.id} has logged no {label}."
    if not logged[0].step <= step <= logged[-1].step:
        return (
            f"Run {run.id} logged the {label} from step {logged[0].step} to {logged[-1].step}; {step} is none of them."
        )
    place = next(number for number, point in enumerate(logged) if point.step >= step)
    peak = max(range(place, min(place + NEAR, len(logged))), key=lambda number: abs(_change(logged, number, name)))
    place = peak if abs(_change(logged, peak, name)) > JUMP else place
    return _said(run, logged, place, name, label)


def _said(run: Run, logged: list[Point], place: int, name: str, label: str) -> str:
    here, before = logged[place], _values(logged[max(0, place - BEFORE) : place], name)
    value = here.values[name] or 0.0
    said = f"At step {here.step} the {label} was {value:.4g}"
    if not before:
        return said + "; nothing was logged before it."
    said += f"; the {len(before)} logs before it lay between {min(before):.4g} and {max(before):.4g}."
    moved = _change(logged, place, name)
    if abs(moved) <= JUMP:
        return said + " That is no jump: it lies within their usual scatter."
    found = _causes(run, logged, place)
    direction = "up" if moved > 0 else "down"
    if not found:
        return f"{said} It jumped {direction}, and nothing that was logged with it explains it."
    return "\n".join([f"{said} It jumped {direction}. What was logged with it, and likely has to do with it:", ""]
                     + [f"- {cause}" for cause in found])  # fmt: skip


def _change(logged: list[Point], place: int, name: str) -> float:
    """Return how far a value lies from those before it, in their own scatter."""
    before = _values(logged[max(0, place - BEFORE) : place], name)
    if len(before) < 3:
        return 0.0
    middle = statistics.median(before)
    scatter = statistics.median(abs(value - middle) for value in before)
    return ((logged[place].values[name] or 0.0) - middle) / max(scatter, 0.01 * abs(middle), 1e-9)


def _causes(run: Run, logged: list[Point], place: int) -> list[str]:
    """Return what the log shows beside a jump."""
    here, last = logged[place], logged[place - 1]
    causes = []
    norms = _values(logged[max(0, place - BEFORE) : place], GRADIENT_NORM)
    near = [v for point in logged[max(0, place - 2) : place + 1] if (v := point.values.get(GRADIENT_NORM)) is not None]
    if len(norms) >= 3 and near and max(near) > SPIKE * statistics.median(norms):
        usual = statistics.median(norms)
        causes.append(f"the gradient norm rose to {max(near):.3g}, {max(near) / usual:.0f} times the usual {usual:.3g}")
    rates = _values(logged[max(0, place - BEFORE) : place + 1], LEARNING_RATE)
    if len(rates) >= 2 and rates[-1] > rates[-2]:
        causes.append(f"the learning rate was still rising, from {rates[0]:.2g} to {rates[-1]:.2g}")
    epochs = [point.values.get("train/epoch") for point in (last, here)]
    if epochs[0] is not None and epochs[1] is not None and math.floor(epochs[1]) > math.floor(epochs[0]):
        causes.append(f"epoch {math.floor(epochs[1]) + 1} began there: the rows are seen anew from here on")
    if gap := _gap(logged, place):
        causes.append(f"{duration(gap)} passed before it, far more than usual: the job was resumed, evaluated or saved")
    steps = range(last.step, here.step + NEAR)
    alerts = run.report.alerts if run.report else ()
    causes += [f"the alert `{alert.rule}`: {alert.text}" for alert in alerts if alert.step in steps]
    return causes


def _gap(logged: list[Point], place: int) -> float | None:
    times = [point.time.timestamp() for point in logged[max(0, place - BEFORE) : place + 1] if point.time]
    gaps = [b - a for a, b in pairwise(times)]
    if len(gaps) < 4 or gaps[-1] <= GAP * max(statistics.median(gaps[:-1]), 1.0):
        return None
    return gaps[-1]


def _values(points: list[Point], name: str) -> list[float]:
    return [value for point in points if (value := point.values.get(name)) is not None]


# --- the run as a whole -----------------------------------------------------------------------------------------------


def cost(run: Run) -> str:
    """Say what a run has cost, beside what was expected of it."""
    lines = [f"Run {run.id} has cost ${run.cost_usd:.2f}."]
    if run.approval is not None:
        quote = run.approval.quote
        by = {"person": "a person", "callable": "a program"}.get(run.approval.by, f"`{run.approval.by}`")
        expected = f"${quote.cost_usd.low:.2f} to ${quote.cost_usd.high:.2f} were expected of its job, and at most "
        said = (
            f"{expected}${quote.reserve_usd:.2f} reserved" if quote.reserve_usd else "Its job was expected to be free"
        )
        lines.append(f"{said}; {by} approved it.")
    if run.llm_calls:
        unknown = sum(call.cost_usd is None for call in run.llm_calls)
        lines.append(
            f"Of that, ${run.llm_cost_usd:.4f} went to {len(run.llm_calls)} LLM calls"
            + (f"; the price of {unknown} of them is unknown." if unknown else ".")
        )
    return " ".join(lines)


def _failure(run: Run) -> str:
    if run.report is None or run.report.health in ("done", "healthy"):
        red = [c for c in run.preflight.checks if not c.ok] if run.preflight else []
        return f"Preflight stopped it: {red[0].name}: {red[0].detail}" if red else f"It did not fail. {verdict(run)}"
    failure = run.report.failure
    lines = [f"It ended as {run.report.health.replace('_', ' ')}: {run.report.reason}"]
    if failure is not None:
        lines += [f"Known as: {failure.words}.", *(f"    {line}" for line in failure.evidence)]
    lines += [f"Repaired: {repair.words}" for repair in run.repairs if repair.rung is not None]
    return "\n\n".join([*lines, *(f"→ {line}" for line in advice(run))])


def _data(run: Run) -> str:
    spec, data = run.spec, run.dataset
    if spec is None:
        return f"Run {run.id} has no plan yet."
    named = f"`{spec.dataset}`" + (f", revision `{spec.dataset_ref.revision[:19]}`" if spec.dataset_ref else "")
    if data is None:
        return f"It was to train on {named}; the data was not checked yet."
    parts = [
        f"{'It trained' if run.report else 'It is to train'} on {named}, split `{data.split}`: {data.rows} rows, "
        f"{data.verdict} for {data.method}",
        f"loss on {data.loss_on}, median {data.lengths.p50} and p95 {data.lengths.p95} tokens",
        f"cut at {data.max_length}: {100 * data.truncated_share:.1f} % of the rows",
    ]
    if data.holdout is not None:
        parts.append(f"{data.holdout.rows} rows were held out ({data.holdout.reason})")
    return "; ".join(parts) + "." + "".join(f"\n- {problem.detail}" for problem in data.problems)


def _quality(run: Run) -> str:
    if run.evaluation is None:
        return verdict(run)
    scores = [*run.evaluation.comparisons, *run.evaluation.general]
    return "\n".join([f"- {in_words(score)}" for score in scores] + [f"- {text}" for text in run.evaluation.caveats])


def _time(run: Run) -> str:
    if run.hardware is None:
        return f"Run {run.id} has no hardware yet, so nobody knows."
    hours = run.hardware.hours
    expected = f"{duration(3600 * hours.expected)} ({duration(3600 * hours.low)} to {duration(3600 * hours.high)})"
    if run.report is None:
        return f"About {expected} are expected on `{run.hardware.flavor}`."
    return f"Its job took {duration(run.report.seconds)}; {expected} were expected on `{run.hardware.flavor}`."


def _course(run: Run) -> str:
    if run.report is None or run.report.course is None:
        return f"Run {run.id} has logged no loss."
    course = run.report.course
    return f"The {course.label} went from {course.first:.4g} to {course.last:.4g} in {run.report.step} steps."


def where(run: Run) -> str:
    """Say where a run stands, in a few lines."""
    spec = run.spec
    plan = f"{spec.method} of {spec.model} on {spec.dataset}" if spec else "no plan"
    if run.job is not None and run.job_is_live:
        return f"Run {run.id}: {plan}.\n\n{_live(run)}"
    lines = [f"Run {run.id}: {run.status}. {plan}.", verdict(run)]
    return "\n\n".join([*lines, *(f"→ {line}" for line in advice(run))])


def _live(run: Run) -> str:
    """Look at a run's job once, and say how it stands: the journal knows only that it was started."""
    try:
        report = monitor_job(run, wait_s=0.0)
    except FtagentError as error:
        return f"How its job stands cannot be seen now: {error}"
    if report.stage in TERMINAL_STAGES:
        return f"Its job is {report.stage.replace('_', ' ')}: {report.reason}\n\n→ `ftagent resume {run.id}` goes on"
    parts = [f"Its job is {report.stage.replace('_', ' ')}, {report.health.replace('_', ' ')}"]
    if report.step:
        total = total_steps(run, read_metrics(run.folder / METRICS))
        parts.append(f"at step {report.step}" + (f" of {total}" if total else ""))
    if report.course is not None:
        parts.append(f"{report.course.label} {report.course.first:.4g} → {report.course.last:.4g}")
    parts += [f"{duration(report.seconds)} so far", f"${report.cost_usd:.2f}"]
    return (
        ", ".join(parts) + f".\n\n→ `ftagent watch {run.id}` looks on, `ftagent resume {run.id}` goes on from its end"
    )


def _parameter(words: str, run: Run) -> Parameter | None:
    """Return the parameter that a question asks for by its name or its usual words."""
    if not re.search(r"\b(?:which|what|welche\w*|how (?:many|large|big|long)|why)\b", words):
        return None
    usual = {"rank": "r", "epochs": "num_train_epochs", "batch": "per_device_train_batch_size"}
    parameters = {p.name: p for p in (run.script.parameters if run.script else ())}
    named = {name.replace("_", " "): name for name in parameters if len(name) > 1} | usual
    for said, name in sorted(named.items(), key=lambda pair: -len(pair[0])):
        if re.search(rf"\b{re.escape(said)}\b", words) and name in parameters:
            return parameters[name]
    return None


_QUESTIONS: tuple[tuple[str, Callable[[Run], str]], ...] = (
    (r"\b(?:cost|costs|price|spent|spend|pay|paid|money|expensive|dollars?|kostet\w*)\b", cost),
    (r"\b(?:fail\w*|wrong|crash\w*|error|stopp?ed|died|broken?|diverge\w*|out of memory)\b", _failure),
    (r"\b(?:data|dataset|rows|daten)\b", _data),
    (r"\b(?:better|worse|good|score\w*|evaluat\w*|improve\w*|gain|result\w*|besser)\b", _quality),
    (r"\b(?:how long|took|take|time|hours|minutes|dauert\w*)\b", _time),
    (r"\b(?:loss|reward)\b", _course),
    (r"\b(?:where|status|stand|stands|state|how is|how's|progress|happened|doing|finished|done|next)\b", where),
)
