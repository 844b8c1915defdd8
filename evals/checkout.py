"""The worlds are made of what the tests keep: a Hub on this machine, small models, ended jobs, configs of real ones."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from ..tools.errors import UserError

ROOT = Path(str(files("ftagent")))


def use_checkout() -> None:
    """Let `tests.…` be imported, by whatever name and from whatever folder ftagent was started.

    Raises:
        UserError: ftagent was installed without its tests.
    """
    if not (ROOT / "tests" / "hub").is_dir():
        raise UserError(f"`{ROOT}` has no tests, and worlds are made of them.", hint="run the evals from a checkout")
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
