"""Does this data train with this method? Read its values, map its rows, and let TRL itself say yes or no."""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path

from .data.judging.checked import Checked
from .data.judging.contamination import overlap
from .data.judging.findings import data_problems, token_problems
from .data.judging.lengths import choose_max_length, cuts, histogram, percentiles
from .data.judging.proof import TIMEOUT_S, WORKER, Proof, TrlRefusal, give, hear
from .data.judging.quality import quality_problems
from .data.judging.rows import Rows
from .data.judging.scan import Scan, scan
from .data.judging.side import Side, columns_read, read_side, unusable
from .data.reading.formats import are_near
from .data.reading.sources import Source, open_source, resolve_dataset
from .data.shaping.shapes import SELECT_COLUMNS, Refusal, recognise
from .errors import InputError, ToolError
from .facts import GENERATING_METHODS, DatasetRef, DatasetReport, Holdout, Lengths, Missing, Overrides, Problem, Spec
from .gates import require
from .rewards.settled import rewards_for
from .run import Run
from .wording import one_line
from .worker import Worker

TOOL = "validate_dataset"
DEFAULT_BENCHMARKS = ("humaneval",)
"""What rows are held against when no benchmark was named: the one whose items are always at hand."""

HOLDOUT_REASONS = {
    "split_by_column": "the rows say so in their `split` column",
    "split_given": "the dataset brings an evaluation split",
    "split_by_seed": "the dataset brings none: a tenth, drawn with a fixed seed",
}


class DataRefused(InputError):
    """The data lacks what the method needs: a verdict, too, for those who asked for nothing else.

    Args:
        message: The value and the reason.
        hint: The nearest thing that would do.
        report: The verdict as a fact.
    """

    def __init__(self, message: str, *, hint: str, report: DatasetReport) -> None:
        super().__init__(message, hint=hint)
        self.report = report


def validate_dataset(
    run: Run,
    *,
    full: bool = False,
    show: int = 0,
    max_length: int | None = None,
    split: str | None = None,
    subset: str | None = None,
) -> DatasetReport:
    """Find out whether the run's dataset trains with its method, and how its rows have to be mapped.

    Returns the verdict (`ready` or `mapped`), exact rows, token lengths with the model's tokenizer and chat template,
    the `max_length` that fits them and what shorter ones would cost, duplicates, overlap with benchmarks, problems
    with row numbers, the held-out rows, and what TRL did when it prepared the rows and trained on some of them for one
    step. Without arguments everything is chosen by the data: the train split, an evaluation split if there is one, else
    a seeded hold-out, and the shortest `max_length` that cuts next to nothing. A stated `max_length` is kept.

    Args:
        run: The run, with its plan.
        full: Read every row of a large set, too; without it, at most 1,500 are read, tokenised and checked. A run that
            will train reads every row in any case where the set lies here, or is small.
        show: Tell the run's listeners this many rows as the trainer sees them, with the tokens that carry loss.
        max_length: Cut rows at this many tokens.
        split: The split to train on.
        subset: The subset (configuration) of a Hub dataset.

    Raises:
        InputError: The data cannot train with this method; the message says what is missing, the hint what would do.
    """
    require(TOOL, run)
    began = time.monotonic()
    spec, model = _planned(run.spec)
    spec = spec.model_copy(update={"subset": subset or spec.subset, "split": split or spec.split})
    stated = _stated_length(spec, max_length)
    _hold_to_rows(spec.overrides)
    seen = _look(run, spec, model, stated, full=full, show=show)
    report = _judge(seen, spec, stated)
    return report.model_copy(update={"seconds": round(time.monotonic() - began, 2)})


def _planned(spec: Spec | None) -> tuple[Spec, str]:
    if spec is None or spec.model_ref is None:
        raise ToolError("the plan was made offline: its dataset and model are not looked up.", hint="call plan_run")
    if not spec.dataset:
        raise InputError("no dataset is named.", hint="--dataset FILE, FOLDER or OWNER/NAME")
    return spec, spec.model_ref.path or spec.model_ref.id


def _hold_to_rows(overrides: Overrides) -> None:
    if overrides.max_train_samples is not None and overrides.max_train_samples <= 0:
        raise InputError(f"max_train_samples {overrides.max_train_samples} trains on nothing.", hint="say at least 1")


def _stated_length(spec: Spec, given: int | None) -> int | None:
    stated = given if given is not None else spec.overrides.max_length
    if stated is not None and stated < 1:
        raise InputError(f"max_length {stated} keeps no token.", hint="leave it out, and the data decides")
    return stated


# --- reading the rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What reading a dataset found, and what TRL said of its rows."""

    ref: DatasetRef
    source: Source
    rows: Rows
    scanned: Scan | None
    """None where the rows that were read are all that is looked at."""
    problems: tuple[Problem, ...]
    """Of the rows' quality."""
    proof: Proof


def _look(run: Run, spec: Spec, model: str, stated: int | None, *, full: bool, show: int) -> Seen:
    """Read the rows while the worker imports TRL, and look at their quality while TRL prepares them.

    Raises:
        DataRefused: They are not what the method needs, none of them is usable, or TRL refuses them.
    """
    with Worker(run.settings, WORKER, log=run.log(TOOL), timeout_s=TIMEOUT_S) as worker:
        run.journal.tell("progress", step=f"reading {one_line(spec.dataset)}")
        ref = spec.dataset_ref or resolve_dataset(spec.dataset, run.settings, hashed=False)
        named = spec.overrides.benchmarks
        source = open_source(ref, run.settings, spec.subset, spec.split, benchmarks=named or ())
        benchmarks = named or DEFAULT_BENCHMARKS
        rows = _read(source, spec, benchmarks)
        run.journal.tell("progress", step=f"letting TRL prepare {len(rows.train.keys) + len(rows.heldout.keys)} rows")
        give(worker, rows, model=model, method=spec.method, show=show, stated=stated)
        problems = quality_problems(*(_checked(side) for side in rows.sides))
        scanned = _scan(run, source, rows, benchmarks) if _reads_all(source, spec, rows, full=full) else None
        proof = hear(worker)
    if isinstance(proof, TrlRefusal):
        raise _refused(source, spec, Missing(missing=proof.missing, nearest=proof.way_out(run.log(TOOL))))
    for example in proof.examples:
        run.journal.tell("example", **example)
    return Seen(ref=ref, source=source, rows=rows, scanned=scanned, problems=problems, proof=proof)


def _read(source: Source, spec: Spec, benchmarks: tuple[str, ...]) -> Rows:
    """Recognise the rows, filter and map them, and leave out those that a benchmark would ask for.

    Raises:
        DataRefused: They are not what the method needs, or none of them is usable.
    """
    shape = recognise(source.columns, source.sample, spec.method)
    if isinstance(shape, Refusal):
        raise _refused(source, spec, Missing(missing=shape.missing, nearest=shape.nearest))
    train = read_side(source.train, source.train_total, shape)
    heldout = read_side(source.heldout, source.heldout_total, shape)
    found = overlap(itertools.chain(_checked(train), _checked(heldout)), benchmarks)
    rows = Rows(
        shape=shape,
        train=train.without(found.hits),
        heldout=heldout.without(found.hits),
        overlap=found,
        exact=source.exact,
    )
    if not rows.train.keys:
        raise _refused(source, spec, _nothing_usable(rows))
    return rows


def _nothing_usable(rows: Rows) -> Missing:
    which = "training row" if rows.heldout.keys else "row"
    reasons = [f"{reason} ({len(numbers)} rows)" for reason, numbers in unusable(*rows.sides).items()]
    if rows.overlap.hits:
        reasons.append(f"overlap with a benchmark ({len(rows.overlap.hits)} rows)")
    return Missing(
        missing=f"no {which} can be trained on: {', '.join(reasons)}",
        nearest=f"a row of this shape ({rows.shape.kind}) has all of its parts, and ends with its answer if it has one",
    )


def _checked(side: Side) -> list[Checked]:
    return [Checked(number=number, columns=row) for number, row in side.mapped.items()]


def _reads_all(source: Source, spec: Spec, rows: Rows, *, full: bool) -> bool:
    """Whether every row is read: where somebody asks for it, and for a run that will train on them if that is cheap.

    The plan of a run has its dataset pinned; that of a lone tool has not, and its verdict comes from a sample.
    """
    if rows.are_whole:
        return False
    return full or (spec.dataset_ref is not None and are_near(source.files))


def _scan(run: Run, source: Source, rows: Rows, benchmarks: tuple[str, ...]) -> Scan:
    def tell(done: int, total: int | None) -> None:
        run.journal.tell("progress", step="reading every row", done=done, total=total)

    columns = columns_read(rows.train, rows.shape)
    return scan(source.files, source.format, columns=columns, benchmarks=benchmarks, on_progress=tell)


def _refused(source: Source, spec: Spec, refusal: Missing) -> DataRefused:
    report = DatasetReport(
        verdict="refused",
        method=spec.method,
        subset=source.subset,
        split=source.split,
        rows=source.train_total + source.heldout_total,
        mapping=None,
        refusal=refusal,
        trainer_columns=(),
        lengths=Lengths(p50=0, p95=0, p99=0, max=0),
        max_length=0,
        truncated_share=0.0,
        duplicates=0,
        overlap=None,
        problems=(Problem(kind="refused", count=1, detail=f"{refusal.missing}; {refusal.nearest}"),),
        choices=source.choices,
    )
    message = f"`{one_line(source.id)}` cannot train with {spec.method}: {refusal.missing}."
    return DataRefused(message, hint=refusal.nearest, report=report)


# --- the report -------------------------------------------------------------------------------------------------------


def _judge(seen: Seen, spec: Spec, stated: int | None) -> DatasetReport:
    """Return the verdict with all that a person should know about the rows, and the rewards that they allow."""
    rows, proof, scanned = seen.rows, seen.proof, seen.scanned
    kept = rows.kept(map(int, proof.left_out), scanned, is_one_split=seen.source.holdout != "split_given")
    report = _report(seen.source, spec, rows, kept, proof, stated)
    found = (
        *data_problems(seen.ref, kept, scanned),
        *seen.problems,
        *token_problems(proof, report, exact=rows.exact),
    )
    rewards = rewards_for(spec, report.trainer_columns, list(rows.train.mapped.values()), Path.cwd())
    if isinstance(rewards, Missing):
        detail = f"{rewards.missing}; {rewards.nearest}"
        found, rewards = (*found, Problem(kind="no reward", count=report.rows, detail=detail)), ()
    duplicates = scanned.duplicates if scanned else report.duplicates
    return report.model_copy(update={"problems": found, "rewards": rewards, "duplicates": duplicates})


def _report(source: Source, spec: Spec, rows: Rows, kept: Rows, proof: Proof, stated: int | None) -> DatasetReport:
    train, heldout = kept.sides
    taken = train_samples(train.rows, spec.overrides)
    scale = train.scale * taken / train.rows
    length = stated or choose_max_length(proof.lengths, proof.context)
    counts = _counts(source, proof, length, generates=spec.method in GENERATING_METHODS)
    is_whole = not (kept.left_out or unusable(*rows.sides))
    mapping = rows.shape.mapping or (SELECT_COLUMNS if proof.as_is or not is_whole else None)
    return DatasetReport(
        verdict="mapped" if mapping else "ready",
        method=spec.method,
        subset=source.subset,
        split=source.split,
        rows=taken + heldout.rows,
        trainable_rows=train.rows if taken < train.rows else None,
        mapping=mapping,
        filter=_filter(rows),
        left_out=kept.left_out,
        shape=rows.shape.kind,
        trainer_columns=rows.shape.trainer_columns,
        column_types=rows.column_types,
        lengths=percentiles(proof.lengths),
        histogram=histogram(proof.lengths),
        cuts=cuts(proof.at, proof.counted, length, proof.lengths[-1]),
        max_length=length,
        truncated_share=sum(tokens > length for tokens in proof.lengths) / len(proof.lengths),
        duplicates=len(kept.repeated),
        overlap=len(kept.overlap.hits) if rows.overlap.benchmarks else None,
        benchmarks=tuple(rows.overlap.benchmarks),
        choices=source.choices | ({"mapping": rows.shape.rule} if rows.shape.rule else {}),
        holdout=Holdout(function=source.holdout, rows=heldout.rows, reason=HOLDOUT_REASONS[source.holdout]),
        train_tokens=round(counts["tokens"] * scale),
        trained_tokens=round(counts["trained"] * scale),
        loss_on=proof.loss_on,
        proof=proof.in_words(),
        sampling=_sampling(rows),
        fingerprint="sha256:" + hashlib.sha256(b"".join([*train.keys.values(), *heldout.keys.values()])).hexdigest(),
    )


def train_samples(rows: int, overrides: Overrides) -> int:
    """Return how many of the rows of the training side are trained on, as the script's `taken` counts them.

    Args:
        rows: Those that can be trained on.
        overrides: What was stated; `max_train_samples` below 1 is a share.
    """
    most = rows if overrides.max_train_samples is None else overrides.max_train_samples
    return min(rows, int(most) if most >= 1 else max(1, round(most * rows)))


def _counts(source: Source, proof: Proof, length: int, *, generates: bool) -> dict[str, int]:
    counts = proof.at[str(length)]
    if counts["trained"] == 0 and not generates:
        raise InputError(
            f"at max_length {length} no row of `{one_line(source.id)}` keeps a token of its answer.",
            hint=f"the longest row has {proof.lengths[-1]} tokens",
        )
    return counts


def _filter(rows: Rows) -> str | None:
    """Name the filter where it has something to do; rows that nobody has read may need it."""
    return rows.shape.filter if unusable(*rows.sides) or not rows.are_whole else None


def _sampling(rows: Rows) -> str:
    """Say how many rows were read, and how far a share of them may be off.

    The half width of a 95 % interval for a share of n rows is at most 0.98 / √n (normal approximation, at one half).
    """
    if rows.are_whole:
        return ""
    read, total = (sum(getattr(side, name) for side in rows.sides) for name in ("read", "total"))
    of = f"{read:,} of {'' if rows.exact else 'about '}{total:,} rows were read, from all over the set"
    return f"{of}: a share of them is right to within {98 / math.sqrt(read):.1f} points (95 %)"
