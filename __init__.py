"""ftagent: one sentence in, a fine-tuned model out.

    from ftagent import FineTuneAgent

    agent = FineTuneAgent(approve=True)
    result = agent.run("fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl")

Public names are loaded when they are first used, so that `import ftagent` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent.loop import FineTuneAgent, RunResult
    from .tools.errors import ApprovalNeeded, BudgetExceeded, FtagentError, ToolError, UserError
    from .tools.journal import Event
    from .tools.run import Run

__version__ = "0.1.0"

_HOMES = {
    "FineTuneAgent": "agent.loop",
    "RunResult": "agent.loop",
    "Event": "tools.journal",
    "Run": "tools.run",
    "ApprovalNeeded": "tools.errors",
    "BudgetExceeded": "tools.errors",
    "FtagentError": "tools.errors",
    "ToolError": "tools.errors",
    "UserError": "tools.errors",
}

__all__ = [
    "ApprovalNeeded",
    "BudgetExceeded",
    "Event",
    "FineTuneAgent",
    "FtagentError",
    "Run",
    "RunResult",
    "ToolError",
    "UserError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ftagent' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
