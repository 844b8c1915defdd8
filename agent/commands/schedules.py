"""The command that shows and changes schedules."""

from __future__ import annotations

import json

from ...tools.errors import UserError
from .options import DONE, Parser, add_common_options, say, settings_of


def schedules(arguments: list[str]) -> int:
    """List the schedules, or change one."""
    from ...tools.schedule import change_schedule, list_schedules

    parser = Parser(prog="ftagent schedules", description="The runs that repeat themselves on Hugging Face Jobs.")
    parser.add_argument("action", nargs="?", choices=("list", "suspend", "resume", "delete"), default="list")
    parser.add_argument("id", nargs="?", help="the schedule, for all but `list`")
    add_common_options(parser)
    options = parser.parse_args(arguments)
    settings = settings_of(options)
    if options.action != "list":
        if not options.id:
            raise UserError(f"{options.action} which schedule?", hint="`ftagent schedules` lists them")
        change_schedule(settings, options.id, options.action)
    found = list_schedules(settings)
    if options.json:
        print(json.dumps([vars(one) for one in found], default=str))
        return DONE
    for one in found:
        when = one.when if one.kind == "cron" else f"commits to {one.when}"
        ahead = f"next {one.next_at:%Y-%m-%d %H:%M} UTC" if one.next_at else ""
        last = f"last job {one.last_job}" if one.last_job else ""
        print("  ".join(part for part in (one.id, one.state, when, one.flavor, f"run {one.run}", ahead, last) if part))
    if not found:
        say("no schedules. hint: ftagent tool schedule_run --run RUN --when 'every night at 2'")
    return DONE
