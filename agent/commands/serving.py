"""The command that serves the tools to other programs."""

from __future__ import annotations

import importlib.util

from ...tools.errors import UserError
from .options import DONE, Parser, settings_of


def mcp(arguments: list[str]) -> int:
    """Serve the tools over the Model Context Protocol on stdio."""
    parser = Parser(prog="ftagent mcp", description="The tools over the Model Context Protocol, on stdin and stdout.")
    parser.add_argument("--yes", action="store_true", help="approve what stays under the cap; needs --max-cost")
    parser.add_argument("--max-cost", type=float, metavar="USD", help="hard cap a run, over GPU and LLM money together")
    parser.add_argument("--workdir", metavar="DIR", help="where training_reports/ lies (default: here)")
    options = parser.parse_args(arguments)
    if options.yes and options.max_cost is None:
        raise UserError("--yes without a cap would approve any price.", hint="ftagent mcp --yes --max-cost 5")
    if importlib.util.find_spec("mcp") is None:
        raise UserError("the protocol's library is not installed.", hint="pip install 'ftagent[mcp]'")
    from ..mcp import serve

    serve(settings_of(options), yes=options.yes)
    return DONE
