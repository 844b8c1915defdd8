"""What all commands share: the parser, the options, the settings that they make, and words on stderr."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ...tools.errors import UserError

if TYPE_CHECKING:
    from ...tools.settings import Settings

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130

EXAMPLE = 'ftagent "fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl" --yes'


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors read like all others."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}.", hint=f"{self.prog} --help")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what a command takes that lets the planner work."""
    parser.add_argument("--llm", metavar="ID", help="planner: any litellm model id, or `builtin` (the default)")
    parser.add_argument("--llm-base-url", metavar="URL", help="an OpenAI-compatible server for --llm openai/NAME")
    parser.add_argument("--backend", choices=("local", "hf-jobs"), help="where the job runs (default: local)")
    parser.add_argument("--max-cost", type=float, metavar="USD", help="hard cap over GPU and LLM money together")
    parser.add_argument("--yes", action="store_true", help="approve what stays under the cap")
    parser.add_argument("--dry-run", action="store_true", help="all that is free: stop before anything is submitted")
    add_common_options(parser)


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes."""
    parser.add_argument("--json", action="store_true", help="JSON on stdout, words on stderr")
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="where training_reports/ lies (default: here)")


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings that these options lay over environment and file."""
    from ...tools.settings import load_settings

    known = {"llm", "llm_base_url", "backend", "workdir"}
    flags: dict[str, Any] = {name: getattr(options, name, None) for name in known}
    return load_settings(flags | {"max_cost_usd": getattr(options, "max_cost", None)})


def looking(prog: str, description: str, arguments: list[str], *, with_run: bool = True) -> argparse.Namespace:
    """Parse the options of a command that looks at runs or at this machine."""
    parser = Parser(prog=prog, description=description)
    if with_run:
        parser.add_argument("run", nargs="?", help="run id, or the end of one (default: the newest)")
    add_common_options(parser)
    return parser.parse_args(arguments)


def say(text: str) -> None:
    """Say one line on stderr."""
    print(" ".join(text.splitlines()), file=sys.stderr)
