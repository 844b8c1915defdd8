"""Prints what preflight says of every mutant and of every sound run: `make bench-preflight`."""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Judge all, print the tables, and return 1 where a mutant got through or a sound run did not."""
    package = sys.modules["tests"] = ModuleType("tests")
    package.__path__ = [str(ROOT)]
    table = import_module("tests.mutants.table")
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="ftagent-mutants-") as home:
        lines, failures = table.judge_all(Path(home), only, told=lambda line: print(line, file=sys.stderr, flush=True))
    print("\n".join(lines))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
