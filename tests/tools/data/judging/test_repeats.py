from __future__ import annotations

import numpy as np
import pytest
from ftagent.tools.data.judging import repeats
from ftagent.tools.data.judging.repeats import Hashes


def test_spilled_hashes_find_the_same_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = np.random.default_rng(0).integers(0, 3_000, 5_000).astype(np.uint64)
    table = np.random.default_rng(1).integers(0, 2**64, (3_000, 2), np.uint64)[keys]

    def found() -> tuple[int, tuple[int, ...]]:
        with Hashes() as hashes:
            for start in range(0, 5_000, 100):
                hashes.add(table[start : start + 100], start)
            return hashes.duplicates()

    seen: set[int] = set()
    again = [row for row, key in enumerate(keys.tolist()) if key in seen or seen.add(key)]
    assert found() == (len(again), tuple(again[: repeats.SHOWN_DUPLICATES]))
    monkeypatch.setattr(repeats, "SPILLED_ROWS", 700)
    assert found() == (len(again), tuple(again[: repeats.SHOWN_DUPLICATES]))
