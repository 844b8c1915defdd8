"""The command that shows and changes schedules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ...tools.errors import FtagentError, UserError
from .options import DONE, Parser, add_common_options, say, settings_of

if TYPE_CHECKING:
    from ...tools.backends.hf_schedules import Standing
    from ...tools.facts import CheckpointSeries
    from ...tools.settings import Settings


def schedules(arguments: list[str]) -> int:
    """List the schedules, or change one."""
    from ...tools.schedule import change_schedule, list_schedules
    from ...tools.series_results import point_words

    parser = Parser(
        prog="ftagent schedules",
        description="The runs that repeat themselves on Hugging Face Jobs, and what was found of their checkpoints.",
    )
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
    series = {one.id: _series(settings, one) for one in found}
    if options.json:
        told = [vars(one) | {"series": s.model_dump(mode="json") if (s := series[one.id]) else None} for one in found]
        print(json.dumps(told, default=str))
        return DONE
    for one in found:
        print(_line(one))
        for point in s.points if (s := series[one.id]) else ():
            print(f"    {point_words(point)}")
    if not found:
        say("no schedules. hint: ftagent tool schedule_run --run RUN --when 'every night at 2'")
    return DONE


def _series(settings: Settings, one: Standing) -> CheckpointSeries | None:
    """Return what a schedule has found, None where it trains or its repository cannot be read: others still stand."""
    from ...tools.schedule import look_at_series

    try:
        return look_at_series(settings, one)
    except FtagentError as error:
        say(f"{one.id}: what it found cannot be read: {error.message}")
        return None


def _line(one: Standing) -> str:
    from ..approval import DOES

    when = one.when if one.kind == "cron" else f"commits to {one.when}"
    ahead = f"next {one.next_at:%Y-%m-%d %H:%M} UTC" if one.next_at else ""
    last = f"last job {one.last_job}" if one.last_job else ""
    parts = (one.id, one.state, when, one.flavor, DOES[one.does], f"run {one.run}", ahead, last)
    return "  ".join(part for part in parts if part)
