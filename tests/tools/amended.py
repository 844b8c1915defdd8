"""A run with a fact of its past changed, as if it had been settled so at first."""

from __future__ import annotations

from ftagent.tools.facts import Fact
from ftagent.tools.run import Run

IN_ORDER = ("spec", "dataset", "hardware", "script", "preflight", "approval")


def amended(run: Run, *facts: Fact) -> Run:
    """Journal these facts, and once more all that followed them: what is settled anew forgets what stood on it."""
    changed = {type(fact): fact for fact in facts}
    before = [fact for name in IN_ORDER if (fact := getattr(run, name)) is not None]
    first = next(place for place, fact in enumerate(before) if type(fact) in changed)
    for fact in before[first:]:
        run = run.record(changed.get(type(fact), fact))
    return run
