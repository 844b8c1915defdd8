"""The command line: one instruction, or one of a few commands.

Only argparse and the errors are imported before the command is known; `--help` costs little more than a bare Python.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..tools.errors import FtagentError, UserError

if TYPE_CHECKING:
    from ..tools.run import Run
    from ..tools.settings import Settings
    from .loop import RunResult

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130

USAGE = """\
ftagent INSTRUCTION            do it: one sentence in, a fine-tuned model out
ftagent resume [RUN]           go on where a run stands
ftagent runs                   list the runs of this folder
ftagent show [RUN]             where a run stands
ftagent watch [RUN]            look on, live
ftagent cancel [RUN]           end a run's job
ftagent schedules [list|suspend ID|resume ID|delete ID]
ftagent tool NAME ...          one tool, for other agents and scripts
ftagent skills [list|show NAME|path]
ftagent doctor                 what is installed, reachable and allowed
"""

EXAMPLE = 'ftagent "fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl" --yes'


class _Parser(argparse.ArgumentParser):
    """An argparse parser whose errors read like all others."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}.", hint=f"{self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0 done, 1 failed, 2 wrong use, 3 needs approval or was declined, 4 over budget, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except FtagentError as error:
        return _fail(error)
    except BrokenPipeError:
        # The reader has gone (`| head`): what the interpreter flushes at its end must go nowhere, not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        if (explained := _explain(error)) is None:
            raise
        return _fail(explained)
    except KeyboardInterrupt:
        _say("interrupted: what was done is kept, and a job that was started goes on by itself.")
        _say("hint: `ftagent watch` looks on, `ftagent resume` goes on, `ftagent cancel` ends the job")
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in _COMMANDS:
        return _COMMANDS[arguments[0]](arguments[1:])
    return _run(arguments)


# --- the instruction -----------------------------------------------------------------------------------------------


def _run(arguments: list[str]) -> int:
    parser = _Parser(
        prog="ftagent",
        usage=argparse.SUPPRESS,
        description=USAGE,
        epilog=f"example: {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("instruction", nargs="*", help=argparse.SUPPRESS)
    _add_run_options(parser)
    options = parser.parse_args(arguments)
    instruction = " ".join(options.instruction)
    if not instruction.strip():
        raise UserError("there is no instruction.", hint=EXAMPLE)
    return _work(options, lambda agent: agent.run(instruction))


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--llm", metavar="ID", help="planner: any litellm model id, or `builtin` (the default)")
    parser.add_argument("--llm-base-url", metavar="URL", help="an OpenAI-compatible server for --llm openai/NAME")
    parser.add_argument("--backend", choices=("local", "hf-jobs"), help="where the job runs (default: local)")
    parser.add_argument("--max-cost", type=float, metavar="USD", help="hard cap over GPU and LLM money together")
    parser.add_argument("--yes", action="store_true", help="approve what stays under the cap")
    parser.add_argument("--dry-run", action="store_true", help="all that is free: stop before anything is submitted")
    _add_common_options(parser)


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON on stdout, words on stderr")
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="where training_reports/ lies (default: here)")


def _settings(options: argparse.Namespace) -> Settings:
    from ..tools.settings import load_settings

    known = {"llm", "llm_base_url", "backend", "workdir"}
    flags: dict[str, Any] = {name: getattr(options, name, None) for name in known}
    return load_settings(flags | {"max_cost_usd": getattr(options, "max_cost", None)})


def _work(options: argparse.Namespace, start: Any) -> int:
    """Let the agent work on `start`, with the listeners and the approval that this terminal can give."""
    from .console import RunConsole
    from .events import json_lines
    from .loop import FineTuneAgent

    with RunConsole() as console:
        person = sys.stdin.isatty() and sys.stderr.isatty() and not options.json
        agent = FineTuneAgent(
            settings=_settings(options),
            approve=True if options.yes else (console.ask if person else None),
            ask=console.answer if person else None,
            dry_run=options.dry_run,
            listeners=[json_lines(sys.stdout) if options.json else console],
        )
        result: RunResult = start(agent)
    if result.report is not None and not options.json:
        print(result.report)
    return DONE if result.ok else FAILED


def _resume(arguments: list[str]) -> int:
    parser = _Parser(prog="ftagent resume", description="Go on with a run where its journal ends.")
    parser.add_argument("run", nargs="?", help="run id, or the end of one (default: the newest)")
    _add_run_options(parser)
    options = parser.parse_args(arguments)
    return _work(options, lambda agent: agent.resume(options.run))


# --- looking -------------------------------------------------------------------------------------------------------


def _runs(arguments: list[str]) -> int:
    from ..tools.jobs import status_now
    from ..tools.run import experiment_name, list_runs

    options = _common("ftagent runs", "List the runs of this folder, newest first.", arguments, with_run=False)
    runs = list_runs(_settings(options).workdir)
    if options.json:
        print(json.dumps([{"id": run.id, "status": status_now(run), "cost_usd": run.cost_usd} for run in runs]))
    else:
        for run in runs:
            print(f"{run.id}  {status_now(run):<10}  {experiment_name(run.spec) if run.spec else '–'}")
        if not runs:
            _say(f"no runs yet. hint: {EXAMPLE}")
    return DONE


def _show(arguments: list[str]) -> int:
    from ..tools.report import show_run
    from ..tools.run import find_run

    options = _common("ftagent show", "Show where a run stands: its report.", arguments)
    run = find_run(_settings(options).workdir, options.run)
    if options.json:
        print(json.dumps({**run.model_dump(mode="json"), "status": run.status, "cost_usd": run.cost_usd}))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(show_run(run)))
    else:
        print(show_run(run))
    return DONE


def _watch(arguments: list[str]) -> int:
    from ..tools.monitor import monitor_job
    from .console import RunConsole
    from .events import json_lines
    from .notify import notifiers

    options = _common("ftagent watch", "Look on while a run's job works; Ctrl-C leaves it running.", arguments)
    run = _with_a_job(options)
    with RunConsole() as console:
        run.journal.listeners += [json_lines(sys.stdout) if options.json else console, *notifiers(_settings(options))]
        run.journal.tell("step", tool="monitor_job")
        report = monitor_job(run)
        said = f"the job is {report.stage.replace('_', ' ')}: {report.reason}"
        run.journal.tell("watched", stage=report.stage, text=said)
    if options.json:
        print(report.model_dump_json())
    _say(said)
    if run.report is None or run.ended is None:
        _say(f"hint: `ftagent resume {run.id}` goes on from here")
    return DONE if report.health in ("done", "healthy", "warned") else FAILED


def _with_a_job(options: argparse.Namespace) -> Run:
    """Return the run that was named; without a name the newest one whose job works, else the newest of all."""
    from ..tools.jobs import status_now
    from ..tools.run import find_run, list_runs

    workdir = _settings(options).workdir
    if options.run is None:
        for run in list_runs(workdir):
            if run.job is not None and status_now(run) in ("queued", "running"):
                return run
    return find_run(workdir, options.run)


def _cancel(arguments: list[str]) -> int:
    from ..tools.jobs import cancel_job

    options = _common("ftagent cancel", "End a run's job and everything it started.", arguments)
    run = _with_a_job(options)
    report = cancel_job(run)
    with contextlib.suppress(UserError):  # another process watches this run: it journals what it sees
        run.journal.acquire()
        run.record(report)
        run.journal.release()
    print(report.model_dump_json() if options.json else f"{report.stage}: {report.reason} (${report.cost_usd:.2f})")
    return DONE


def _schedules(arguments: list[str]) -> int:
    from ..tools.schedule import change_schedule, list_schedules

    parser = _Parser(prog="ftagent schedules", description="The runs that repeat themselves on Hugging Face Jobs.")
    parser.add_argument("action", nargs="?", choices=("list", "suspend", "resume", "delete"), default="list")
    parser.add_argument("id", nargs="?", help="the schedule, for all but `list`")
    _add_common_options(parser)
    options = parser.parse_args(arguments)
    settings = _settings(options)
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
        _say("no schedules. hint: ftagent tool schedule_run --run RUN --when 'every night at 2'")
    return DONE


def _skills(arguments: list[str]) -> int:
    from importlib.resources import files

    from ..tools.skills import load_skills, read_skill

    parser = _Parser(prog="ftagent skills", description="What ftagent knows, for you and for other agents.")
    parser.add_argument("action", nargs="?", choices=("list", "show", "path"), default="list")
    parser.add_argument("name", nargs="?", help="the skill, for `show`")
    options = parser.parse_args(arguments)
    if options.action == "path":
        print(files("ftagent.skills"))
    elif options.action == "show":
        print(read_skill(options.name or ""))
    else:
        for skill in load_skills():
            print(f"{skill.name}: {skill.description}")
    return DONE


def _doctor(arguments: list[str]) -> int:
    from .doctor import checks

    options = _common("ftagent doctor", "What is installed, reachable and allowed.", arguments, with_run=False)
    found = checks(_settings(options))
    if options.json:
        print(json.dumps([vars(check) for check in found]))
    else:
        for check in found:
            print(
                f"{'✓' if check.ok else '✗'} {check.name}: {check.detail}" + (f" → {check.mend}" if check.mend else "")
            )
    return DONE


def _common(prog: str, description: str, arguments: list[str], *, with_run: bool = True) -> argparse.Namespace:
    parser = _Parser(prog=prog, description=description)
    if with_run:
        parser.add_argument("run", nargs="?", help="run id, or the end of one (default: the newest)")
    _add_common_options(parser)
    return parser.parse_args(arguments)


# --- one tool ------------------------------------------------------------------------------------------------------


def _tool(arguments: list[str]) -> int:
    from .tool_face import run_tool

    return run_tool(arguments, _Parser, _settings)


# --- errors --------------------------------------------------------------------------------------------------------


def _fail(error: FtagentError) -> int:
    """Say an error in one line on stderr and return its exit code."""
    _say(f"error: {error.message}" + (f" hint: {error.hint}" if error.hint else ""))
    return error.exit_code


def _explain(error: OSError) -> UserError | None:
    """Return what a person can do about a full disk or a folder that cannot be written; None for all else."""
    where = f"`{error.filename}`" if error.filename else "the disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"no space is left on {where}.", hint="free some, or choose another folder with --workdir")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"{where} cannot be written.", hint="choose another folder with --workdir")
    return None


def _say(text: str) -> None:
    print(" ".join(text.splitlines()), file=sys.stderr)


_COMMANDS = {
    "resume": _resume,
    "runs": _runs,
    "show": _show,
    "watch": _watch,
    "cancel": _cancel,
    "schedules": _schedules,
    "tool": _tool,
    "skills": _skills,
    "doctor": _doctor,
}
