"""The sandbox as text that a training script carries: the script stands alone, and so does this text."""

from __future__ import annotations

import inspect

from ..emitting import definitions
from . import checked

IMPORTS = (
    "contextlib json os secrets select shutil signal subprocess sys tempfile time",
    {"dataclasses": "asdict, dataclass", "functools": "cache", "pathlib": "Path", "typing": "BinaryIO, TypedDict"},
)
"""What a script that carries the sandbox imports, in the order of the house's format."""


def sandbox_source() -> str:
    """Return the source of `run_checked` and all that it uses, without the imports.

    What runs inside the jail stands in it as one raw string, so that its names cannot meet the script's own.
    """
    inside = checked.inside_text()
    if "'''" in inside:
        raise ValueError("the text of the jail cannot stand in a raw string: it has three single quotes in a row")
    jail = f"# What runs in the jail, in an interpreter of its own.\nINSIDE = r'''{inside}'''"
    reader = "def inside_text() -> str:\n    return INSIDE"
    sources = dict(definitions(inspect.getsource(checked))) | {"inside_text": reader}
    return "\n\n\n".join([jail, *sources.values()])
