"""The command line: one instruction, or one of a few commands.

Only argparse and the errors are imported before the command is known; `--help` costs little more than a bare Python.
The commands themselves are in `commands/`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword

from ..tools.errors import FtagentError, UserError
from .commands.options import FAILED, INTERRUPTED, say
from .commands.working import instruct

USAGE = """\
ftagent INSTRUCTION            do it: one sentence in, a fine-tuned model out
ftagent                        talk: instructions, questions about runs, changes
ftagent resume [RUN]           go on where a run stands
ftagent runs                   list the runs of this folder
ftagent show [RUN]             where a run stands
ftagent watch [RUN]            look on, live
ftagent cancel [RUN]           end a run's job
ftagent try [RUN] PROMPT       ask the base and the tuned model the same
ftagent schedules [list|suspend ID|resume ID|delete ID]
ftagent tool NAME ...          one tool, for other agents and scripts
ftagent mcp                    the tools over the Model Context Protocol, on stdio
ftagent skills [list|show NAME|path|install|uninstall]
ftagent doctor                 what is installed, reachable and allowed
"""

COMMANDS = {
    "resume": "working",
    "runs": "looking",
    "show": "looking",
    "watch": "looking",
    "cancel": "looking",
    "try": "trying",
    "schedules": "schedules",
    "tool": "machine",
    "mcp": "serving",
    "skills": "skills",
    "doctor": "machine",
}
"""Command -> the module of `commands/` that has a function of that name (`try_` for `try`)."""


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
        say("interrupted: what was done is kept, and a job that was started goes on by itself.")
        say("hint: `ftagent watch` looks on, `ftagent resume` goes on, `ftagent cancel` ends the job")
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        module = import_module(f"{__package__}.commands.{COMMANDS[arguments[0]]}")
        name = f"{arguments[0]}_" if iskeyword(arguments[0]) else arguments[0]
        return getattr(module, name)(arguments[1:])
    return instruct(arguments, USAGE)


def _fail(error: FtagentError) -> int:
    """Say an error in one line on stderr and return its exit code."""
    say(f"error: {error.message}" + (f" hint: {error.hint}" if error.hint else ""))
    return error.exit_code


def _explain(error: OSError) -> UserError | None:
    """Return what a person can do about a full disk or a folder that cannot be written; None for all else."""
    where = f"`{error.filename}`" if error.filename else "the disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"no space is left on {where}.", hint="free some, or choose another folder with --workdir")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"{where} cannot be written.", hint="choose another folder with --workdir")
    return None
