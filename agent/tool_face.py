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

from ..tools.errors import FtagentError, UserError
from ..tools.settings import Settings
from .called import call_tool, error_object, outer_options
from .console import RunConsole
from .signatures import TOOL_NAMES, ToolInfo, input_schema, tool_info


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
    for name, entry in input_schema(info).items():
        _add_option(parser, name, entry)
    for name, text in outer_options(info).items():
        parser.add_argument(f"--{name}", metavar="ID" if name == "run" else None, help=text)
    if info.takes_run:
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
    given = {name: getattr(options, name, None) for name in (*info.arguments.model_fields, *outer_options(info))}
    person = sys.stdin.isatty() and sys.stderr.isatty() and not options.json
    decide = True if getattr(options, "yes", False) else (console.ask if person else None)
    return call_tool(info, given, settings, decide=decide, listeners=[] if options.json else [console])
