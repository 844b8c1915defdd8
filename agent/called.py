"""One tool, called from outside the loop: what the shell's face and the MCP server share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ..tools.dataset import DataRefused
from ..tools.errors import FtagentError, InputError
from ..tools.facts import Spec
from ..tools.journal import Listener
from ..tools.plan import plan_for
from ..tools.run import Run, find_run, home_of, new_run
from ..tools.settings import Settings
from .approval import Decide
from .held import hold_to_words, note_choice
from .signatures import ToolInfo, check_arguments, input_schema
from .toolbox import Toolbox

WITHOUT_A_RUN = ("plan_run", "validate_dataset", "pick_hardware", "read_skill")
"""`plan_run` starts a run; the others work on a model and a dataset where no run is named."""
_SPEC_OPTIONS = ("model", "dataset", "method", "subset", "split")


def outer_options(info: ToolInfo) -> dict[str, str]:
    """Return what a face asks beside the tool's own arguments, name to description: the run, or what stands for it."""
    if not info.takes_run:
        return {}
    options = {"run": "the run to work on"}
    if info.name in WITHOUT_A_RUN:
        inputs = input_schema(info)
        options |= {name: f"the {name}, where no run is given" for name in _SPEC_OPTIONS if name not in inputs}
    return options


def call_tool(
    info: ToolInfo,
    given: Mapping[str, Any],
    settings: Settings,
    *,
    decide: Decide | bool | None = None,
    listeners: Sequence[Listener] = (),
    by_planner: bool = False,
) -> Any:
    """Call a tool and return its result as JSON.

    Args:
        info: The tool.
        given: Its arguments and `outer_options`; None counts as not given.
        settings: Where runs lie.
        decide: Who approves; see `approval.approve`.
        listeners: Hear of everything that happens.
        by_planner: Whether an LLM calls, which text from outside may have told what to give.

    Raises:
        FtagentError: The tool refused, or cannot be used like this.
    """
    outer = outer_options(info)
    arguments = {
        name: value for name, value in given.items() if value is not None and name in info.arguments.model_fields
    }
    beside = {name: given.get(name) for name in outer}
    if unknown := set(given) - set(info.arguments.model_fields) - set(outer):
        known = ", ".join((*info.arguments.model_fields, *outer)) or "none"
        raise InputError(f"{info.name} has no argument `{sorted(unknown)[0]}`.", hint=f"arguments: {known}")
    if not info.takes_run:
        return info.function(**check_arguments(info, arguments))
    run_id = beside.pop("run", None)
    run = _open(info, run_id, beside | arguments, settings)
    run.journal.listeners += listeners
    toolbox = Toolbox(run, decide=decide, keep=run_id is not None)
    try:
        if by_planner:
            hold_to_words(run, arguments.get("request") or _request(run), info.name, arguments)
        result = toolbox.invoke(info.name, arguments)
        if info.name == "pick_hardware" and run_id is not None:
            toolbox.run = note_choice(toolbox.run, arguments)
        if isinstance(result, Spec):
            starts = run_id is None and not arguments.get("offline")
            return {**({"run": _start(toolbox.run, result)} if starts else {}), **_plan(result)}
        if toolbox.run.journal.folder is None:
            toolbox.run.drop_logs()
        return result.model_dump(mode="json") if isinstance(result, BaseModel) else result
    except DataRefused as refusal:  # here the verdict itself was asked for
        return refusal.report.model_dump(mode="json")
    finally:
        toolbox.run.journal.release()


def _request(run: Run) -> str:
    return run.spec.request if run.spec is not None else ""


def _plan(spec: Spec) -> dict[str, Any]:
    """Return a plan with the overrides that were stated, and no word of the others."""
    return {**spec.model_dump(mode="json"), "overrides": spec.overrides.model_dump(mode="json", exclude_none=True)}


def _start(run: Run, spec: Spec) -> str:
    """Give a planned run its folder, so that the next call can go on with it."""
    run.journal.settle(home_of(run, spec))
    return run.id


def _open(info: ToolInfo, run_id: str | None, named: Mapping[str, Any], settings: Settings) -> Run:
    if run_id is not None:
        from ..tools.report import writer

        run = find_run(settings.workdir, run_id)
        run.journal.acquire()
        run.journal.listeners.append(writer(run.journal))
        return run
    if info.name not in WITHOUT_A_RUN:
        raise InputError(f"{info.name} works on a run.", hint="--run ID; `ftagent runs` lists them")
    run = new_run(settings)
    if info.name == "plan_run":
        return run
    return run.record(plan_for(run, **{name: named.get(name) for name in _SPEC_OPTIONS}))


def error_object(error: FtagentError) -> dict[str, Any]:
    """Return an error as the JSON object that every face prints."""
    return {"code": error.code, "message": error.message, "hint": error.hint}
