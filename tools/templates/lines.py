"""Files of JSON lines that are kept as they come: what a killed process had written is there for the next one.

It needs the standard library alone, since programs in jobs use it as well.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def append_line(file: Path, line: dict[str, Any]) -> None:
    """Append one object as a line, and wait for the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        out.write(json.dumps(line).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a file by their keys, and cut one that a killed process left half written."""
    cut_torn_line(file)
    return {line["key"]: line for line in iterate_lines(file)}


def iterate_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines; nothing where there is no file."""
    if file.exists():
        for line in file.read_bytes().splitlines():
            yield json.loads(line)


def cut_torn_line(path: Path) -> None:
    """Cut a last line that a killed process left half written."""
    if not path.exists():
        return
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        os.truncate(path, end)
