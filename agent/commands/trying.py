"""`ftagent try [RUN] PROMPT`: base and tuned model, side by side where a terminal is wide enough to read them."""

from __future__ import annotations

import json
import sys

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from ...tools.errors import UserError
from ...tools.run import find_run
from ...tools.settings import carried_over
from ...tools.trying import Tried, try_run
from ..console import RunConsole
from .options import DONE, Parser, add_common_options, settings_of

READABLE = 50
"""Columns that an answer needs; two of them, and their frames, stand side by side."""


def try_(arguments: list[str]) -> int:
    """Ask both models, print both answers, and return the exit code."""
    parser = Parser(prog="ftagent try", description="Ask the base and the tuned model the same.")
    parser.add_argument("run", nargs="?", help="run id, or the end of one (default: the newest)")
    parser.add_argument("prompt", help="what to ask")
    parser.add_argument("--tokens", type=int, default=256, metavar="N", help="the longest answer (default: 256)")
    add_common_options(parser)
    options = parser.parse_args(arguments)
    if options.tokens < 1:
        raise UserError(f"an answer of {options.tokens} tokens is none.", hint="--tokens 1 or more")
    settings = settings_of(options)
    run = find_run(settings.workdir, options.run)
    run = run.model_copy(update={"settings": carried_over(run.settings, settings)})
    with RunConsole() as console:
        run.journal.listeners.append(console)
        tried = try_run(run, options.prompt, tokens=options.tokens)
    if options.json:
        print(json.dumps(vars(tried), ensure_ascii=False))
    else:
        _show(tried)
    return DONE


def _show(tried: Tried) -> None:
    console = Console(highlight=False)
    answers = {"base": tried.base or "(nothing)", "tuned": tried.tuned or "(nothing)"}
    if sys.stdout.isatty():
        width = console.width // 2 - 1 if console.width >= 2 * READABLE else console.width
        console.print(Columns([Panel(Text(said), title=name, width=width) for name, said in answers.items()]))
    else:
        for name, said in answers.items():
            print(f"{name}:\n{said}\n")
    print(f"both by {tried.engine}, greedily", file=sys.stderr)
