"""Stands in for `uv` on the path of a job: `uv run [options] script.py arguments` without installing anything.

The script runs with the interpreter that runs this file, so what it needs must be installed there already.
"""

from __future__ import annotations

import os
import sys
import tempfile
import urllib.request
from pathlib import Path

WITH_VALUE = {
    "--python",
    "-p",
    "--with",
    "-w",
    "--with-requirements",
    "--with-editable",
    "--index",
    "--default-index",
    "--index-url",
    "--extra-index-url",
    "--index-strategy",
    "--prerelease",
    "--exclude-newer",
    "--env-file",
    "--directory",
    "--project",
    "--cache-dir",
}


def main(arguments: list[str]) -> None:
    """Become the script, or the command, behind `uv run`."""
    if arguments[:1] == ["--version"]:
        print("uv 0.0.0 (stand-in)")
        return
    if arguments[:1] != ["run"]:
        sys.exit(f"error: this stand-in for uv knows `uv run` alone, not `uv {' '.join(arguments)}`")
    left = arguments[1:]
    while left and left[0].startswith("-") and left[0] != "-":
        option = left.pop(0)
        if option == "--":
            break
        if option in WITH_VALUE:
            left.pop(0)
    if not left:
        sys.exit("error: `uv run` needs a script or a command")
    what, *rest = left
    if what.startswith(("http://", "https://")):
        what = _downloaded(what)
    if what == "-" or what.endswith(".py"):
        os.execv(sys.executable, [sys.executable, what, *rest])
    os.execvp(what, [what, *rest])


def _downloaded(url: str) -> str:
    """Fetch a script as uv does, with the job's token where there is one."""
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    script = Path(tempfile.mkdtemp(), "script.py")
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        script.write_bytes(answer.read())
    return str(script)


if __name__ == "__main__":
    main(sys.argv[1:])
