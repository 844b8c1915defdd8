"""The report of an experiment: `training_reports/<model>-<dataset>-<method>.md`, rendered from journals alone.

Two runs of one experiment share a report. It is written anew after every journalled event; only the notes block at
its end belongs to people and is carried over as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UnreadableJournal
from .facts import Candidate, Comparison, Parameter, Range
from .files import sha256_of, write_whole
from .journal import JOURNAL, Event, Journal, Listener
from .ollama import hub_lines, serve_lines
from .plots import draw_lengths
from .rendering import source_of
from .run import Run, experiment_name, llm_words, refold, report_path
from .statistics import in_words
from .wording import duration

if TYPE_CHECKING:
    from jinja2 import Template

LENGTHS = "lengths.png"
NOTES_BEGIN = "<!-- notes: yours; ftagent never changes what stands below this line -->"
NOTES_END = "<!-- end of notes -->"


def writer(journal: Journal) -> Listener:
    """Return a listener that keeps the report of this journal's experiment true."""

    def write(event: Event) -> None:
        if event.seq is not None and journal.folder is not None:
            run = refold(journal)
            if event.kind == "validate_dataset" or not (run.folder / LENGTHS).exists():
                _draw_lengths(run)
            write_report(run)

    return write


def _draw_lengths(run: Run) -> None:
    if run.dataset is not None and run.dataset.histogram:
        draw_lengths(run.folder / LENGTHS, run.dataset.histogram, run.dataset.max_length)


def write_report(run: Run) -> Path:
    """Render the report of `run`'s experiment and put it in place of the former one, in one step."""
    from filelock import FileLock

    path = report_path(run)
    # Runs of one experiment, in threads or processes, take turns: the last to write has seen what all others wrote.
    with FileLock(run.folder.parent / ".lock", poll_interval=0.01):
        runs, unread = experiment_runs(run)
        text = render(runs, unread=unread, notes=_notes(path))
        write_whole(path, text.encode())
    return path


def experiment_runs(run: Run) -> tuple[list[Run], list[UnreadableJournal]]:
    """Return the runs that share `run`'s report, oldest first, `run` as it is in memory; and what cannot be read."""
    journals = [path for path in run.folder.parent.glob(f"*/{JOURNAL}") if path.parent != run.folder]
    stamps = [(path, path.stat()) for path in journals]
    others = [_as_journalled(path.parent, stamp.st_size, stamp.st_mtime_ns) for path, stamp in stamps]
    runs = [run, *(other for other in others if isinstance(other, Run))]
    return sorted(runs, key=lambda r: r.id), [other for other in others if isinstance(other, UnreadableJournal)]


@lru_cache(maxsize=256)
def _as_journalled(folder: Path, size: int, mtime_ns: int) -> Run | UnreadableJournal | None:
    """Return the run of a journal of this size and time: every event of a run asks for all runs beside it.

    None for one that begins at this moment and has no line yet; it writes the report itself a moment later.
    """
    del size, mtime_ns
    try:
        journal = Journal(folder.name, folder)
        return refold(journal) if journal.events else None
    except UnreadableJournal as error:
        return error


def render(runs: list[Run], *, unread: Sequence[UnreadableJournal] = (), notes: str = "") -> str:
    """Return the report as Markdown.

    Args:
        runs: The runs of one experiment, oldest first.
        unread: Why others of them are not there.
        notes: What people wrote into the notes block.
    """
    latest = runs[-1]
    text = _template().render(
        name=experiment_name(latest.spec) if latest.spec else latest.id,
        runs=runs,
        unread=unread,
        latest=latest,
        verdict=verdict(latest),
        link=_link,
        hub=_hub(),
        advice=advice,
        fitting=_fitting,
        serve_lines=lambda run, file: serve_lines(_from_workdir(run, file)),
        hub_lines=hub_lines,
        unfounded=unfounded,
        in_words=in_words,
        llm_words=llm_words,
        has=lambda run, name: (run.folder / name).exists(),
        notes_begin=NOTES_BEGIN,
        notes_end=NOTES_END,
        notes=notes or "\n",
    )
    return re.sub(r"\n{3,}", "\n\n", text)


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, keep_trailing_newline=True
    )
    environment.filters.update(cell=cell, hours=_hours, usd=_usd, size=_size, verbatim=_verbatim, number=_number)
    return environment.from_string(source_of("report.md"))


def show_run(run: Run) -> str:
    """Say where the run stands: its report, as Markdown.

    Args:
        run: The run to show.
    """
    if run.journal.folder is None:
        return f"{run.id}: {run.status}. {verdict(run)}"
    return render([run])


def verdict(run: Run) -> str:
    """Say in one line what came out."""
    if run.evaluation is not None:
        first = run.evaluation.comparisons[0]
        if why := unfounded(run, first):
            return f"The evaluation does not stand: {why}."
        return in_words(first)
    if run.preflight is not None and not run.preflight.ok:
        return "Preflight stopped the script before anything was spent."
    if run.report is not None and run.report.health not in ("done", "healthy"):
        return f"The training ended as {run.report.health.replace('_', ' ')}: {run.report.reason}"
    return f"The run is {run.status}; nothing has been evaluated yet."


def unfounded(run: Run, comparison: Comparison) -> str:
    """Say why a score does not stand on the file that it came from; empty where it does."""
    assert run.evaluation is not None
    name = comparison.file or run.evaluation.items
    if not (run.folder / name).is_file():
        return f"`{name}`, from which its scores came, is not there"
    written = run.evaluation.files.get(name)
    if written is None and comparison.file:
        return f"the evaluation has no hash of `{name}`"
    if written not in (None, sha256_of(run.folder / name)):
        return f"`{name}` was changed since its scores were taken from it"
    return ""


def advice(run: Run) -> list[str]:
    """Say what a person may do next."""
    if run.ended is None or run.ended.status in ("failed", "timed_out", "cancelled", "dry_run"):
        lines = [f"Go on where it stands: `ftagent resume {run.id}`"]
        if run.report is not None and run.report.health not in ("done", "healthy"):
            lines.append(f"Read the end of the log: {_link(run, 'train.log')}")
            if run.report.failure:
                lines.insert(0, f"Decide: {run.report.failure.advice}.")
        return lines
    lines = []
    if run.evaluation is not None and run.evaluation.verdict != "better":
        lines.append("Train longer or on more rows: this many items show no gain.")
    if run.export is not None and run.export.files:
        lines.append("Talk to the model with one of the lines under *Artefacts*.")
    if private := [published for published in run.published if published.private]:
        lines.append(f"Read the card, and make it public if you want: {private[-1].url}")
    if not run.published:
        lines.append(f"Share it: the adapter lies in {_link(run, 'checkpoint')}.")
    return lines


def cell(value: Any) -> str:
    """Return a value for a Markdown table: one line, with nothing that ends the cell or starts markup."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


def _link(run: Run, name: str) -> str:
    """Return a link to a file of the run's folder, relative to the report."""
    target = run.folder / name
    label = f"`{name}`"
    return f"[{label}]({run.folder.parent.name}/{run.id}/{name})" if target.exists() else label


def _hub() -> str:
    """Return where the Hub is, as links have it."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def _from_workdir(run: Run, name: str) -> Path:
    """Return the path that a person types who stands where `training_reports/` lies, wherever that was moved to."""
    return (run.folder / name).relative_to(run.folder.parents[2])


def _notes(path: Path) -> str:
    if not path.exists():
        return ""
    _, begin, rest = path.read_text(encoding="utf-8").partition(NOTES_BEGIN)
    return rest.rpartition(NOTES_END)[0] if begin else ""


def _fitting(candidates: tuple[Candidate, ...], most: int = 8) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (not c.fits, c.cost_usd, c.hours))[:most]


def _hours(value: Range | float) -> str:
    if isinstance(value, Range):
        return f"{_hours(value.low)} – {_hours(value.high)}, expected {_hours(value.expected)}"
    return duration(3600 * value)


def _usd(value: Range | float) -> str:
    if isinstance(value, Range):
        return _usd(value.expected) if value.low == value.high else f"{_usd(value.low)} – {_usd(value.high)}"
    return f"${value:.2f}"


def _size(value: int) -> str:
    return f"{value / 1e6:.1f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB"


def _number(value: Any) -> str:
    if isinstance(value, Parameter):
        value = value.value
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _verbatim(text: str) -> str:
    """Return foreign text as a block in which nothing is markup: fenced by more backticks than it holds in a row."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}text\n{text.strip() or '(nothing)'}\n{fence}"
