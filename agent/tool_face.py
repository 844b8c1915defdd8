"""`ftagent tool NAME`: one tool as a command, made from its signature.

With `--json` it prints one object, `{"ok": true, "result": …}` or `{"ok": false, "error": …}`, and exits 0 or 1.
`plan_run` starts a run; `validate_dataset` and `pick_hardware` also work without one, on `--model` and `--dataset`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from ..tools.dataset import DataRefused
from ..tools.errors import FtagentError, InputError, UserError
from ..tools.facts import Spec
from ..tools.plan import plan_for
from ..tools.run import Run, find_run, home_of, new_run
from ..tools.settings import Settings
from .console import RunConsole
from .toolbox import TOOL_NAMES, Toolbox, ToolInfo, error_object, input_schema, tool_info

WITHOUT_A_RUN = ("plan_run", "validate_dataset", "pick_hardware", "read_skill")
_SPEC_OPTIONS = ("model", "dataset", "method", "subset", "split")


def run_tool(
    arguments: list[str],
    parser_type: type[argparse.ArgumentParser],
    make_settings: Callable[[argparse.Namespace], Settings],
) -> int:
    """Run one tool from the command line and return the exit code."""
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if name is None:
        return _list_tools(parser_type, arguments)
    if name not in TOOL_NAMES:
        raise UserError(f"there is no tool `{name}`.", hint=f"tools: {', '.join(TOOL_NAMES)}")
    info = tool_info(name)
    options = _parser(info, parser_type).parse_args(arguments[1:])
    try:
        # Libraries print; stdout is for the one object.
        with contextlib.redirect_stdout(sys.stderr), RunConsole() as console:
            result = _call(info, options, make_settings(options), console)
    except FtagentError as error:
        if not options.json:
            raise
        print(json.dumps({"ok": False, "error": error_object(error)}))
        return 1
    if options.json:
        print(json.dumps({"ok": True, "result": result}, ensure_ascii=False))
    else:
        print(result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, indent=2))
    return 0


def _list_tools(parser_type: type[argparse.ArgumentParser], arguments: list[str]) -> int:
    lines = [f"{name:<18}{tool_info(name).description.splitlines()[0]}" for name in TOOL_NAMES]
    parser = parser_type(
        prog="ftagent tool",
        usage="ftagent tool NAME [options]",
        description="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    parser.print_help()
    return 0


def _parser(info: ToolInfo, parser_type: type[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = parser_type(
        prog=f"ftagent tool {info.name}",
        description=info.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inputs = input_schema(info)
    for name, entry in inputs.items():
        _add_option(parser, name, entry)
    if info.name in WITHOUT_A_RUN and info.takes_run:
        for name in _SPEC_OPTIONS:
            if name not in inputs:
                parser.add_argument(f"--{name}", help=f"the {name}, where no --run is given")
    if info.takes_run:
        parser.add_argument("--run", dest="run_id", metavar="ID", help="the run to work on")
        parser.add_argument("--yes", action="store_true", help="approve what stays under the cap")
        parser.add_argument("--max-cost", type=float, metavar="USD", help="hard cap in US dollars")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--workdir", metavar="DIR", help="where training_reports/ lies (default: here)")
    return parser


def _add_option(parser: argparse.ArgumentParser, name: str, entry: dict[str, Any]) -> None:
    flag = "--" + name.replace("_", "-")
    text = entry["description"].replace("%", "%%")
    match entry["type"]:
        case "boolean":
            parser.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None, help=text)
        case "array":
            parser.add_argument(flag, dest=name, nargs="+", help=text)
        case "object":
            parser.add_argument(flag, dest=name, type=json.loads, metavar="JSON", help=text)
        case _:
            parser.add_argument(flag, dest=name, choices=entry.get("enum"), help=text)


def _call(info: ToolInfo, options: argparse.Namespace, settings: Settings, console: RunConsole) -> Any:
    given = {name: value for name in info.arguments.model_fields if (value := getattr(options, name, None)) is not None}
    if not info.takes_run:
        return info.function(**given)
    run = _open(info, options, settings)
    run.journal.listeners += [] if options.json else [console]
    person = sys.stdin.isatty() and sys.stderr.isatty() and not options.json
    decide = True if options.yes else (console.ask if person else None)
    toolbox = Toolbox(run, decide=decide, keep=options.run_id is not None)
    try:
        result = toolbox.invoke(info.name, given)
        if isinstance(result, Spec):
            starts = options.run_id is None and not options.offline
            return {**({"run": _start(toolbox.run, result)} if starts else {}), **_plan(result)}
        if toolbox.run.journal.folder is None:
            toolbox.run.drop_logs()
        return result.model_dump(mode="json") if isinstance(result, BaseModel) else result
    except DataRefused as refusal:  # here the verdict itself was asked for
        return refusal.report.model_dump(mode="json")
    finally:
        toolbox.run.journal.release()


def _plan(spec: Spec) -> dict[str, Any]:
    """Return a plan with the overrides that were stated, and no word of the others."""
    return {**spec.model_dump(mode="json"), "overrides": spec.overrides.model_dump(mode="json", exclude_none=True)}


def _start(run: Run, spec: Spec) -> str:
    """Give a planned run its folder, so that the next command can go on with it."""
    run.journal.settle(home_of(run, spec))
    return run.id


def _open(info: ToolInfo, options: argparse.Namespace, settings: Settings) -> Run:
    if options.run_id is not None:
        from ..tools.report import writer

        run = find_run(settings.workdir, options.run_id)
        run.journal.acquire()
        run.journal.listeners.append(writer(run.journal))
        return run
    if info.name not in WITHOUT_A_RUN:
        raise InputError(f"{info.name} works on a run.", hint="--run ID; `ftagent runs` lists them")
    run = new_run(settings)
    if info.name == "plan_run":
        return run
    given = {name: getattr(options, name, None) for name in _SPEC_OPTIONS}
    return run.record(plan_for(run, **given))
