"""What can go wrong, by who acts on it.

    FtagentError
    ├── ToolError             the planner: another argument or another tool may mend it
    │   ├── GateClosed        the step is not legal yet; the hint names what opens it
    │   └── InputError        (also UserError) what was given cannot be used
    ├── UserError             the person: one line on stderr, exit 2
    │   └── UnreadableJournal a run that this version cannot read
    ├── ApprovalNeeded        nobody has allowed this spending, or somebody declined: exit 3
    ├── BudgetExceeded        the cap is reached: exit 4
    └── Stopped               somebody ended the work from outside: exit 130

Everything else is a bug and shows itself. A message carries the value, the reason and, in `hint`, the way out.
"""

from __future__ import annotations


class FtagentError(Exception):
    """The root of everything that ftagent raises on purpose.

    Args:
        message: What happened, with the value that caused it, in one line.
        hint: The way out, as something to do or to type.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} hint: {self.hint}" if self.hint else self.message


class ToolError(FtagentError):
    """A tool could not do its work; the planner may try something else."""

    code = "tool_error"


class GateClosed(ToolError):
    """A tool was called before what it stands on was settled."""

    code = "gate_closed"


class UserError(FtagentError):
    """Only the person can mend this: wrong use, a full disk, a folder that cannot be written."""

    code = "user_error"
    exit_code = 2


class UnreadableJournal(UserError):
    """A journal has a line that is damaged, or that another version of ftagent wrote."""

    code = "unreadable"


class InputError(ToolError, UserError):
    """A model, dataset or value that was given cannot be used; a planner may still find the right one."""

    code = "bad_input"
    exit_code = 2


class ApprovalNeeded(FtagentError):
    """The step costs something and nobody has approved it."""

    code = "needs_approval"
    exit_code = 3


class BudgetExceeded(FtagentError):
    """The step would go over the cap that was set."""

    code = "over_budget"
    exit_code = 4


class Stopped(FtagentError):
    """Somebody asked from outside, such as from another thread, that the work ends here."""

    code = "stopped"
    exit_code = 130
