"""Print the zoo's confusion table, measured anew: what ftagent says of each set, and what TRL does with it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.zoo.sets import ZOO
from tests.zoo.table import compare, render
from tests.zoo.truth import measure, save_truth
from tests.zoo.whole import whole_tool


def main() -> int:
    """Measure, keep the truth for the fast tests, judge, and print; the exit status is 1 where anything disagrees."""
    zoo = list(ZOO.values())
    truth = measure(zoo)
    save_truth(truth)
    began = time.monotonic()
    with whole_tool() as judge:
        cells = compare(zoo, truth, judge)
    print(render(cells, truth))
    print(f"\nftagent's whole tool judged them in {time.monotonic() - began:.0f} s")
    return int(any(cell.complaints for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
