"""Print the confusion table of the recogniser over the corpus: what each log should be, and what it is taken for."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ftagent.tools.failures.recognise import JobEnd, recognise
from ftagent.tools.failures.table import BY_NAME

from tests.failures.corpus import NONE, Log, read_corpus


def taken_for(log: Log) -> str:
    """Return the class that the recogniser sees in one log."""
    end = JobEnd(stage=log.stage, exit_code=log.exit_code, reason=log.reason, tail=log.lines)
    failure = recognise(end)
    return failure.name if failure else NONE


def main() -> int:
    """Print the table and what is confused; the exit status is 1 where anything is."""
    logs = read_corpus()
    pairs = [(log, taken_for(log)) for log in logs]
    print(f"{'class':<22}{'logs':>5}{'found':>7}{'missed':>8}{'wrong':>7}  repair")
    for name in (*BY_NAME, NONE):
        of_class = [seen for log, seen in pairs if log.failure == name]
        wrong = Counter(log.failure for log, seen in pairs if seen == name and log.failure != name)
        found = of_class.count(name)
        ladder = " → ".join(BY_NAME[name].ladder) or "a person" if name in BY_NAME else ""
        print(f"{name:<22}{len(of_class):>5}{found:>7}{len(of_class) - found:>8}{wrong.total():>7}  {ladder}")
    confused = [(log, seen) for log, seen in pairs if seen != log.failure]
    failures = sum(log.failure != NONE for log in logs)
    made = sum(log.source.startswith("made here") for log in logs)
    print(f"\n{failures} failures ({made} of all logs made here), {len(logs) - failures} logs that show none")
    for log, seen in confused:
        print(f"  {log.name}: {log.failure} taken for {seen}")
    print(f"{len(logs) - len(confused)} of {len(logs)} right")
    return int(bool(confused))


if __name__ == "__main__":
    sys.exit(main())
