"""Commands that let the planner work: an instruction, and going on with a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...tools.errors import UserError
from .options import DONE, EXAMPLE, FAILED, WRONG_USE, Parser, add_run_options, settings_of

if TYPE_CHECKING:
    from ..loop import FineTuneAgent, RunResult


def instruct(arguments: list[str], usage: str) -> int:
    """Do what one sentence asks."""
    parser = Parser(
        prog="ftagent",
        usage=argparse.SUPPRESS,
        description=usage,
        epilog=f"example: {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("instruction", nargs="*", help=argparse.SUPPRESS)
    add_run_options(parser)
    options = parser.parse_args(arguments)
    instruction = " ".join(options.instruction)
    if not options.instruction and not options.json:
        return _talk(parser, options)
    if not instruction.strip():
        raise UserError("there is no instruction.", hint=EXAMPLE)
    return _work(options, lambda agent: agent.run(instruction))


def _talk(parser: Parser, options: argparse.Namespace) -> int:
    """Chat with whoever sits at the terminal, or do the lines of a pipe; where neither is there, show the help."""
    from ..repl import chat, feed, is_fed, is_terminal

    if is_terminal():
        return chat(settings_of(options), yes=options.yes, dry_run=options.dry_run)
    if is_fed(sys.stdin):
        code = feed(settings_of(options), sys.stdin, yes=options.yes, dry_run=options.dry_run)
        if code is not None:
            return code
    parser.print_help(sys.stderr)
    return WRONG_USE


def resume(arguments: list[str]) -> int:
    """Go on with a run where its journal ends."""
    parser = Parser(prog="ftagent resume", description="Go on with a run where its journal ends.")
    parser.add_argument("run", nargs="?", help="run id, or the end of one, or the id of its job (default: the newest)")
    parser.add_argument("--job", metavar="ID", help="the same by a job's id, also where no folder of its run is")
    add_run_options(parser)
    options = parser.parse_args(arguments)
    return _work(options, lambda agent: agent.resume(options.job or options.run))


def _work(options: argparse.Namespace, start: Callable[[FineTuneAgent], RunResult]) -> int:
    """Let the agent work on `start`, with the listeners and the approval that this terminal can give."""
    from ..console import RunConsole
    from ..events import json_lines
    from ..loop import FineTuneAgent

    with RunConsole() as console:
        person = sys.stdin.isatty() and sys.stderr.isatty() and not options.json
        agent = FineTuneAgent(
            settings=settings_of(options),
            approve=True if options.yes else (console.ask if person else None),
            ask=console.answer if person else None,
            dry_run=options.dry_run,
            listeners=[json_lines(sys.stdout) if options.json else console],
        )
        result: RunResult = start(agent)
    if result.report is not None and not options.json:
        here = Path.cwd()
        print(result.report.relative_to(here) if result.report.is_relative_to(here) else result.report)
    return DONE if result.ok else FAILED
