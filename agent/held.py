"""What a planner may not choose by itself, since text from outside may have told it: files that the person never named.

A file can be code that is run, or a secret that is read; and hardware is money, which `--yes` without a cap covers only
as far as the rules choose it.
"""

from __future__ import annotations

from typing import Any

from ..tools.errors import ApprovalNeeded, ToolError
from ..tools.facts import Note, Quote
from ..tools.jobs import cost_cap
from ..tools.run import Run

FILES = {"evaluate_model": ("metric", "rows"), "plan_run": ("model", "dataset")}
"""Arguments that can name a file."""
CHOSEN = "chosen"
"""The code of the note that says what hardware a planner asked for."""


def hold_to_words(run: Run, request: str | None, name: str, arguments: dict[str, Any]) -> None:
    """Refuse an argument that names a file which the person named nowhere.

    Args:
        run: Has the person's answers.
        request: The person's own words; None where a person or a program calls the tool itself.
        name: The tool.
        arguments: What the planner gives it.

    Raises:
        ToolError: With the file, and the way out.
    """
    if request is None:
        return
    said = " ".join((request, *(answer.answer for answer in run.answers)))
    for argument in FILES.get(name, ()):
        value = arguments.get(argument)
        if isinstance(value, str) and _may_be_a_file(name, argument, value) and value.strip() not in said:
            raise ToolError(
                f"the person named no file `{value}`, and a planner cannot choose one.",
                hint=f"leave `{argument}` out, or ask them",
            )


def _may_be_a_file(name: str, argument: str, value: str) -> bool:
    if name == "evaluate_model":
        return argument == "rows" or ".py:" in value
    return value.lstrip()[:1] in ("/", ".", "~", "\\") or value.count("/") > 1 or ":" in value


def note_choice(run: Run, arguments: dict[str, Any]) -> Run:
    """Journal what was asked of `pick_hardware` beside the instruction; a bare call takes an earlier choice back.

    Args:
        run: The run, with its hardware.
        arguments: What was given.
    """
    asked = ", ".join(f"{name} {value}" for name, value in arguments.items())
    if asked:
        return run.record(Note(code=CHOSEN, text=f"pick_hardware was asked for {asked}."))
    if _choice(run):
        return run.record(Note(code=CHOSEN, text=""))
    return run


def hold_to_choice(run: Run, quote: Quote) -> None:
    """Refuse that `--yes` without a cap spends on what a planner asked for and no rule chose.

    Args:
        run: The run.
        quote: What is to be spent.

    Raises:
        ApprovalNeeded: With what would do.
    """
    if quote.reserve_usd > 0 and cost_cap(run) is None and (choice := _choice(run)):
        raise ApprovalNeeded(
            f"{choice} That could cost ${quote.reserve_usd:.2f}, and --yes without a cap does not cover it.",
            hint=f"`ftagent resume {run.id} --yes --max-cost {quote.reserve_usd:.2f}`",
        )


def _choice(run: Run) -> str:
    return next((note.text for note in reversed(run.notes) if note.code == CHOSEN), "")
