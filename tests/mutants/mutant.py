"""What a mutant is: one thing that is wrong with a run which would otherwise train, and what must stop it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ftagent.tools.facts import Method
from ftagent.tools.run import Run


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One way to break a run."""

    check: str
    """The check that must stop it."""
    says: str
    """A pattern that its message must have: what is wrong, and how to mend it."""
    method: Method = "sft"
    edits: tuple[tuple[str, str], ...] = ()
    """Text of the script, and what stands there instead."""
    wreck: Callable[[Run], object] | None = None
    """What is done to the model, the tokenizer, the data or the run's folder."""
    made_with: dict[str, Any] = field(default_factory=dict)
    """Arguments of `run_of`, where the sound run is another one."""
    ends_process: bool = False
    """Whether it takes the whole process with it, and so needs one of its own."""
    environment: dict[str, str] = field(default_factory=dict)


def mutant(check: str, says: str, *edits: tuple[str, str], method: Method = "sft", **more: Any) -> Mutant:
    """Return a mutant; its first words are what must stop it."""
    return Mutant(check=check, says=says, edits=edits, method=method, **more)
