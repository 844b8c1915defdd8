"""Print what `import ftagent` and `ftagent --help` cost over a bare Python: medians of interleaved runs, in ms."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
TARGET_MS = {"import ftagent": 50, "ftagent --help": 150}


def milliseconds(command: list[str]) -> float:
    """Return how long one run of `command` takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Measure the three commands in turn, so that noise hits all alike."""
    commands = {
        "bare python": [sys.executable, "-c", "pass"],
        "import ftagent": [sys.executable, "-c", "import ftagent"],
        "ftagent --help": [str(Path(sys.executable).with_name("ftagent")), "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(milliseconds(command))
    bare = statistics.median(times["bare python"])
    print(f"{'':16}{'median':>9}{'over bare':>11}{'to reach':>10}")
    for name, values in times.items():
        median = statistics.median(values)
        goal = f"< {TARGET_MS[name]}" if name in TARGET_MS else ""
        print(f"{name:16}{median:6.0f} ms{median - bare:8.0f} ms{goal:>10}")


if __name__ == "__main__":
    main()
