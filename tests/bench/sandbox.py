"""Prints what became of every attack on the sandbox, jail by jail, and how many items a second it judges.

Run it as root and as another user: they get different jails.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ftagent.tools.sandbox.checked import DEFAULT_LIMITS, Limits, SandboxUnavailable, _run

sys.path.insert(0, str(Path(__file__).parent.parent / "tools" / "sandbox"))
from attacks import FORGERIES, GREED  # pyright: ignore[reportMissingImports]

JAILS = ("namespaces", "bwrap", "landlock", "weak")
RIGHT = ("def f(x):\n    return x + 1", "assert f(1) == 2")
ITEMS = 100


def available() -> list[str]:
    """Return the jails that hold here, and say why the others do not."""
    found = []
    for jail in JAILS:
        try:
            outcome = _run(jail, *RIGHT, DEFAULT_LIMITS)
        except (SandboxUnavailable, FileNotFoundError) as error:
            print(f"{jail}: {error}")
            continue
        found += [jail] * outcome.passed
    return found


def attack_table(jails: list[str]) -> int:
    """Print one line an attack, and return how many passed."""
    passed = 0
    print(f"{'attack':55}" + "".join(f"{jail:12}" for jail in jails))
    for attack in (*FORGERIES, *GREED):
        cells, why = [], ""
        for jail in jails:
            covered = ("namespaces" if jail == "bwrap" else jail) in attack.jails
            outcome = _run(jail, attack.program, attack.check, Limits(seconds=2))
            why = outcome.why
            passed += covered and outcome.passed
            cells.append("passed" if outcome.passed else f"{outcome.seconds:.2f} s")
            cells[-1] += "" if covered else "*"
        print(f"{attack.name:55}" + "".join(f"{cell:12}" for cell in cells) + why[:60])
    print("* is not covered by this jail")
    return passed


def speed(jail: str) -> None:
    """Print items a second on all cores, and the CPU time of one, the interpreter's start within."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(lambda _: _run(jail, *RIGHT, DEFAULT_LIMITS), range(ITEMS)))
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(outcome.passed for outcome in outcomes)
    cpu_ms = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / ITEMS * 1000
    print(f"{jail}: {ITEMS / seconds:.0f} items/s on {os.cpu_count()} cores, {cpu_ms:.0f} ms of CPU an item")


if __name__ == "__main__":
    jails = available()
    passed = attack_table(jails)
    for jail in jails:
        speed(jail)
    sys.exit(bool(passed))
