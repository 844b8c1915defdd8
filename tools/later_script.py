"""Writes `evaluate.py` and `export.py`: the script of a job after the training, which brings its programs along."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from .backends.hf_results import pushed_revision, repository_of
from .errors import ToolError
from .facts import Purpose
from .files import sha256_of, write_whole
from .rendering import render, source_of
from .run import Run
from .tasks import Task
from .trained import CHECKPOINT, HELDOUT

TEMPLATE = "step.py"
KEY_CHARS = 12
MODEL, GIVEN, LEFT, WORK_ROOM = "ftagent-model:", "ftagent-input:", "ftagent-left:", "ftagent-work:"
"""See `templates/step.py`: what a path in a request begins with, where the job puts what is meant."""


def write_later_script(run: Run, purpose: Purpose, tasks: Mapping[str, Task], pins: tuple[str, ...]) -> str:
    """Write the script of a step's job into the run's folder, and return its SHA-256.

    The same tasks on the same model make the same script, so that its hash tells whether a job did them already.

    Raises:
        ToolError: The training has pushed no model, or a file that a program reads cannot travel.
    """
    assert run.job is not None and run.script is not None
    repository = repository_of((run.folder / run.script.path).read_text(encoding="utf-8"))
    revision = pushed_revision(run, run.job.attempt)
    if repository is None or revision is None:
        raise ToolError("the training has pushed no model that a job could read.", hint="call monitor_job")
    travelling = _Travelling(run)
    work = [
        {"program": task.program, "answer": f"{name}.json", "request": travelling.moved(task.request)}
        for name, task in tasks.items()
    ]
    programs = closure_of(task.program for task in tasks.values())
    told = json.dumps([work, travelling.inputs, programs, revision], sort_keys=True)
    constants = {
        "REPOSITORY": repository,
        "REVISION": revision,
        "STEP": f"ftagent/{purpose}-{hashlib.sha256(told.encode()).hexdigest()[:KEY_CHARS]}",
        "WORK": work,
        "INPUTS": travelling.inputs,
    }
    text = render(source_of(TEMPLATE), constants, emitted(programs), pins).replace(
        "uv run evaluate.py", f"uv run {purpose}.py"
    )
    for name, pin in (pin.split("==") for pin in pins):  # this machine may have another, for another Python
        text = re.sub(rf'^#     "{re.escape(name)}==[^"]+",$', f'#     "{name}=={pin}",', text, flags=re.MULTILINE)
    write_whole(run.folder / f"{purpose}.py", text.encode())
    return hashlib.sha256(text.encode()).hexdigest()


class _Travelling:
    """Turns paths of this machine into those of a job, and collects the files that must go along, with their hashes.

    They go with the run's record (`backends/hf_record.py`), since a request holds no more than a script.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._home = run.folder.resolve()
        self.inputs: dict[str, str] = {}

    def moved(self, value: Any) -> Any:
        """Return a request in which no path is one of this machine."""
        match value:
            case dict():
                return {name: self.moved(item) for name, item in value.items()}
            case list() | tuple():
                return [self.moved(item) for item in value]
            case str() if Path(value).is_absolute() and Path(value).resolve().is_relative_to(self._home):
                return self._placed(Path(value).resolve())
            case _:
                return value

    def _placed(self, path: Path) -> str:
        """Return where the job finds a file: in the pushed model, or in the run's record on the Hub."""
        inside = path.relative_to(self._home)
        if inside.parts[:1] == (CHECKPOINT,):
            return MODEL + inside.relative_to(CHECKPOINT).as_posix().removeprefix(".")
        if inside.as_posix() == HELDOUT:
            return MODEL + HELDOUT
        name = inside.as_posix()
        try:
            self.inputs[name] = sha256_of(path)
        except OSError as error:
            raise ToolError(f"`{inside}` cannot travel with a job: {error}.") from error
        return GIVEN + name


def closure_of(programs: Iterable[str]) -> dict[str, str]:
    """Return the text of programs and of those beside them that they import or start, by file name."""
    wanted, found = list(programs), dict[str, str]()
    beside = {entry.name for entry in files("ftagent.tools.templates").iterdir()}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = source_of(name)
            wanted += sorted(_used(found[name]) & beside)
    return dict(sorted(found.items()))


def _used(source: str) -> set[str]:
    """Return the file names of all modules that a program imports, and all texts that might be file names."""
    nodes = list(ast.walk(ast.parse(source)))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {f"{module}.py" for module in modules} | texts


def emitted(programs: Mapping[str, str]) -> str:
    """Return programs as readable text in a dict; one that raw text cannot hold is written as any other literal."""
    entries = (f'    "{name}": {_quoted(text)},\n' for name, text in programs.items())
    return "PROGRAMS = {\n" + "".join(entries) + "}"


def _quoted(text: str) -> str:
    raw = "'''" not in text and not text.endswith(("\\", "'"))
    return f"r'''{text}'''" if raw else repr(text)
