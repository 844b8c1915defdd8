"""Commands that look at runs: which there are, where one stands, its job; and the one that ends a job."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING

from ...tools.errors import UserError
from .options import DONE, EXAMPLE, FAILED, looking, say, settings_of

if TYPE_CHECKING:
    from ...tools.facts import JobReport
    from ...tools.journal import Listener
    from ...tools.run import Run
    from ...tools.settings import Settings


def runs(arguments: list[str]) -> int:
    """List the runs of this folder."""
    from ...tools.jobs import status_now
    from ...tools.run import experiment_name, read_runs

    options = looking("ftagent runs", "List the runs of this folder, newest first.", arguments, with_run=False)
    runs, unread = read_runs(settings_of(options).workdir)
    if options.json:
        print(json.dumps([{"id": run.id, "status": status_now(run), "cost_usd": run.cost_usd} for run in runs]))
    else:
        for run in runs:
            print(f"{run.id}  {status_now(run):<10}  {experiment_name(run.spec) if run.spec else '–'}")
        if not (runs or unread):
            say(f"no runs yet. hint: {EXAMPLE}")
    for error in unread:
        say(str(error))
    return DONE


def show(arguments: list[str]) -> int:
    """Show where a run stands."""
    from ...tools.report import show_run
    from ...tools.run import find_run

    options = looking("ftagent show", "Show where a run stands: its report.", arguments)
    run = find_run(settings_of(options).workdir, options.run)
    if options.json:
        print(json.dumps({**run.model_dump(mode="json"), "status": run.status, "cost_usd": run.cost_usd}))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(show_run(run)))
    else:
        print(show_run(run))
    return DONE


def watch(arguments: list[str]) -> int:
    """Look on while a run's job works."""
    from ..console import RunConsole
    from ..events import json_lines

    options = looking("ftagent watch", "Look on while a run's job works; Ctrl-C leaves it running.", arguments)
    run = _with_a_job(options)
    with RunConsole() as console:
        report, said = look_on(run, settings_of(options), json_lines(sys.stdout) if options.json else console)
    if options.json:
        print(report.model_dump_json())
    say(said)
    if run.report is None or run.ended is None:
        say(f"hint: `ftagent resume {run.id}` goes on from here")
    return DONE if report.health in ("done", "healthy", "warned") else FAILED


def look_on(run: Run, settings: Settings, listener: Listener) -> tuple[JobReport, str]:
    """Follow a run's job to its end, and return how it ended, as data and in words."""
    from ...tools.monitor import monitor_job
    from ..notify import notifiers

    run.journal.listeners += [listener, *notifiers(settings)]
    run.journal.tell("step", tool="monitor_job")
    report = monitor_job(run)
    said = f"the job is {report.stage.replace('_', ' ')}: {report.reason}"
    run.journal.tell("watched", stage=report.stage, text=said)
    return report, said


def _with_a_job(options: argparse.Namespace) -> Run:
    """Return the run that was named; without a name the newest one whose job works, else the newest of all."""
    from ...tools.attach import find_or_attach
    from ...tools.jobs import status_now
    from ...tools.run import list_runs

    settings = settings_of(options)
    if options.run is None:
        for run in list_runs(settings.workdir):
            if run.job is not None and status_now(run) in ("queued", "running"):
                return run
    return find_or_attach(settings, options.run)


def cancel(arguments: list[str]) -> int:
    """End a run's job."""
    from ...tools.jobs import cancel_job

    options = looking("ftagent cancel", "End a run's job and everything it started.", arguments)
    run = _with_a_job(options)
    report = cancel_job(run)
    record_end(run, report)
    print(report.model_dump_json() if options.json else f"{report.stage}: {report.reason} (${report.cost_usd:.2f})")
    return DONE


def record_end(run: Run, report: JobReport) -> None:
    """Journal how a job ended, unless another process watches the run: that one journals what it sees."""
    with contextlib.suppress(UserError):
        run.journal.acquire()
        run.record(report)
        run.journal.release()
