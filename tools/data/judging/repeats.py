"""Exact duplicates among any number of rows: their hashes are held in memory, and spilled to files beyond a limit."""

from __future__ import annotations

import errno
import itertools
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ...errors import UserError

SHOWN_DUPLICATES = 20
SPILLED_ROWS = 2**21
"""Rows whose hashes are held in memory: 48 MiB, and three times as much while they are sorted."""
PARTITIONS = 256
"""Files that spilled hashes go to, by their first byte: a billion distinct rows are 94 MB in each of them."""


class Hashes:
    """The hashes of all rows; beyond `SPILLED_ROWS` they lie in files that are gone when the block is left."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.held_rows = 0
        self.found = 0
        self.first: list[int] = []
        self.folder: Path | None = None
        self.stack = ExitStack()

    def __enter__(self) -> Hashes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def add(self, hashes: Any, first_row: int) -> None:
        """Take the two hashes of each row of a batch."""
        import numpy as np

        rows = np.arange(first_row, first_row + len(hashes), dtype=np.uint64)
        self.held.append(np.column_stack([hashes, rows]))
        self.held_rows += len(hashes)
        if self.held_rows >= SPILLED_ROWS:
            self._spill()

    def duplicates(self) -> tuple[int, tuple[int, ...]]:
        """Return how many rows were there before, and the first of their numbers."""
        import numpy as np

        if self.folder is None:
            self._distinct_held()
        else:
            self._spill()
            for file in sorted(self.folder.iterdir()):
                self._distinct(np.fromfile(file, np.uint64).reshape(-1, 3))
        return self.found, tuple(self.first)

    def _distinct_held(self) -> Any:
        import numpy as np

        held = np.concatenate([np.empty((0, 3), np.uint64), *self.held])
        self.held, self.held_rows = [], 0
        return self._distinct(held)

    def _distinct(self, held: Any) -> Any:
        """Count the duplicates among hashes with their rows, in ascending order of rows, and return what is left."""
        import numpy as np

        held = held[np.argsort(held[:, 0], kind="stable")]
        again = np.concatenate([[False], (held[1:, :2] == held[:-1, :2]).all(axis=1)])[: len(held)]
        rows = held[again, 2]
        self.found += len(rows)
        least = np.partition(rows, SHOWN_DUPLICATES)[:SHOWN_DUPLICATES] if len(rows) > SHOWN_DUPLICATES else rows
        self.first = sorted({*self.first, *map(int, least)})[:SHOWN_DUPLICATES]
        return held[~again]

    def _spill(self) -> None:
        """Append what is held, without its duplicates, to the files of its partitions.

        Raises:
            UserError: The disk is full.
        """
        import numpy as np

        if self.folder is None:
            self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="ftagent-scan-")))
        held = self._distinct_held()
        parts = (held[:, 0] >> np.uint64(56)).astype(np.intp)
        starts = np.searchsorted(parts, np.arange(PARTITIONS + 1))
        try:
            for number, (start, end) in enumerate(itertools.pairwise(starts)):
                with (self.folder / f"{number:03}").open("ab") as file:
                    held[start:end].tofile(file)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise UserError(
                f"no space is left for the hashes of the rows in `{self.folder.parent}`.",
                hint="free some, or set TMPDIR to a folder on another disk",
            ) from error
