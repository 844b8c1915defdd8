"""The corpus of ended jobs: one file each, a header that says what must be recognised, then the end of the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftagent.tools.facts import Stage
from pydantic import TypeAdapter

STAGE: TypeAdapter[Stage] = TypeAdapter(Stage)
FOLDER = Path(__file__).parent / "corpus"
NONE = "none"
"""What stands for a class where nothing must be recognised."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """How one job ended, and what that must be recognised as."""

    name: str
    source: str
    """Where the shape comes from: made here, or the thread or source file that has it."""
    failure: str
    stage: Stage
    exit_code: int | None
    reason: str
    lines: tuple[str, ...]


def write_log(log: Log) -> None:
    """Put one log into the corpus."""
    head = [f"# source: {log.source}", f"# class: {log.failure}", f"# stage: {log.stage}"]
    if log.exit_code is not None:
        head.append(f"# exit: {log.exit_code}")
    if log.reason:
        head.append(f"# reason: {log.reason}")
    (FOLDER / f"{log.name}.log").write_text("\n".join([*head, "#", *log.lines]) + "\n", encoding="utf-8")


def read_log(path: Path) -> Log:
    """Read one file of the corpus."""
    head, _, body = path.read_text(encoding="utf-8").partition("\n#\n")
    fields = dict(line.removeprefix("# ").split(": ", 1) for line in head.splitlines())
    return Log(
        name=path.stem,
        source=fields["source"],
        failure=fields["class"],
        stage=STAGE.validate_python(fields["stage"]),
        exit_code=int(fields["exit"]) if "exit" in fields else None,
        reason=fields.get("reason", ""),
        lines=tuple(body.splitlines()),
    )


def read_corpus() -> list[Log]:
    """Return every log, in the order of their names."""
    return [read_log(path) for path in sorted(FOLDER.glob("*.log"))]
