"""Commands beside the runs: what this machine has and allows, and one tool at a time."""

from __future__ import annotations

import json

from .options import DONE, Parser, looking, settings_of


def doctor(arguments: list[str]) -> int:
    """Say what is installed, reachable and allowed."""
    from ..doctor import checks

    options = looking("ftagent doctor", "What is installed, reachable and allowed.", arguments, with_run=False)
    found = checks(settings_of(options))
    if options.json:
        print(json.dumps([vars(check) for check in found]))
    else:
        for check in found:
            print(
                f"{'✓' if check.ok else '✗'} {check.name}: {check.detail}" + (f" → {check.mend}" if check.mend else "")
            )
    return DONE


def tool(arguments: list[str]) -> int:
    """Run one tool."""
    from ..tool_face import run_tool

    return run_tool(arguments, Parser, settings_of)
