from __future__ import annotations

import doctest
import sys

from . import server


def test_the_example_in_the_packages_docstring_runs() -> None:
    package = sys.modules[server.__package__ or ""]
    result = doctest.testmod(package)
    assert result.failed == 0
    assert result.attempted > 8
