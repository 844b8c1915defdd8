"""Runs side by side: what differs between them, what came out, and what each has cost."""

from __future__ import annotations

from .errors import ToolError
from .run import Run, experiment_name, find_run, list_runs

NEWEST = 5


def compare_runs(run: Run, *, runs: list[str] | None = None) -> str:
    """Compare this run with others of the same folder: parameters that differ, results, money.

    Returns a Markdown table with one column a run. Results of runs that held out other rows, or measured something
    else, cannot be compared, and the table says so. By default the newest runs of the same experiment.

    Args:
        run: The run that is compared.
        runs: Ids of the others, or the ends of their ids.

    Raises:
        ToolError: There is no other run to compare with.
        UserError: An id matches no run, or several.
    """
    workdir = run.settings.workdir
    if runs:
        others = [find_run(workdir, name) for name in runs]
    else:
        others = [other for other in list_runs(workdir) if _same_experiment(run, other)][:NEWEST]
    others = [other for other in others if other.id != run.id]
    if not others:
        raise ToolError("there is no other run of this experiment.", hint="name runs by their ids")
    return comparison([run, *others])


def comparison(runs: list[Run]) -> str:
    """Return runs side by side as a Markdown table, one column a run.

    Args:
        runs: The runs, each with its plan.
    """
    parameters = [_parameters(run) for run in runs]
    names = list(dict.fromkeys(name for one in parameters for name in one))
    differing = [name for name in names if len({one.get(name) for one in parameters}) > 1]
    rows = [
        ["status", *(run.status for run in runs)],
        *([name, *(one.get(name, "–") for one in parameters)] for name in differing),
        *_results(runs),
        ["cost", *(f"${run.cost_usd:.2f}" for run in runs)],
    ]
    head = ["", *(f"`{run.id}`" for run in runs)]
    table = [head, ["---"] * len(head), *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return "\n".join([*lines, "", *_caveats(runs)]).rstrip()


def _same_experiment(run: Run, other: Run) -> bool:
    named = [experiment_name(one.spec) for one in (run, other) if one.spec is not None]
    return len(named) == 2 and named[0] == named[1]


def _parameters(run: Run) -> dict[str, str]:
    """Return what a run was made of, as text: model, data, machine, and every parameter of its script."""
    found = {}
    if run.spec is not None:
        found = {name: str(getattr(run.spec, name)) for name in ("model", "dataset", "method")}
    if run.hardware is not None:
        found["flavor"] = run.hardware.flavor
    return found | {p.name: str(p.value) for p in (run.script.parameters if run.script else ())}


def _results(runs: list[Run]) -> list[list[str]]:
    metrics = list(dict.fromkeys(c.metric for run in runs if run.evaluation for c in run.evaluation.comparisons))
    return [[metric, *(_result(run, metric) for run in runs)] for metric in metrics]


def _result(run: Run, metric: str) -> str:
    found = next((c for c in (run.evaluation.comparisons if run.evaluation else ()) if c.metric == metric), None)
    if found is None:
        return "–"
    low, high = found.ci95
    return f"{found.base:.4g} → {found.tuned:.4g} ({low:+.3g} to {high:+.3g}; {found.verdict})"


def _caveats(runs: list[Run]) -> list[str]:
    """Say what must be known before one result is called better than another."""
    judged = [run for run in runs if run.evaluation is not None]
    if len(judged) < 2:
        return []
    held = [(run.dataset.fingerprint, run.dataset.holdout) for run in judged if run.dataset is not None]
    if any(one != held[0] for one in held):
        return ["These runs held out other rows: their results cannot be compared with each other."]
    return ["Each interval is that of tuned against base; two runs whose intervals overlap are not shown to differ."]
