"""Does this data train with this method? Read its values, map its rows, and let TRL itself say yes or no."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import InputError, ToolError
from .facts import DatasetRef, DatasetReport, Holdout, Lengths, Problem, Spec
from .gates import require
from .run import Run
from .shapes import FILTERS, HOLDOUTS, MAPPINGS, Refusal, Row, Shape, one_line, recognise, source_of
from .sources import NUMBER, Source, load_rows
from .worker import run_worker

TOOL = "validate_dataset"

# What is read of the training rows without `full`, and of the held-out rows: about 8 s of TRL's preparation at 110
# tokens a row, and about XX s at 19,000 (measured on two cores).
SCANNED_ROWS = 5_000
SCANNED_CHARACTERS = 4_000_000
SHOWN_ROWS = 5

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}

# Lengths that `max_length` is chosen from: powers of two and the steps halfway between them.
BUCKETS = tuple(sorted(base << shift for base in (128, 192) for shift in range(11)))

HOLDOUT_REASONS = {
    "split_by_column": "the rows say so in their `split` column",
    "split_given": "the dataset brings an evaluation split",
    "split_by_seed": "the dataset brings none: a tenth, drawn with a fixed seed",
}
PROVEN_METHODS = ("sft",)
WORKER_TIMEOUT_S = 3600.0


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
    the `max_length` that fits them, duplicates, problems with row numbers, the held-out rows, and what TRL did when it
    prepared the rows and trained on some of them for one step. Without arguments everything is chosen by the data:
    the train split, an evaluation split if there is one, else a seeded hold-out, and the shortest `max_length` that
    cuts next to nothing. A stated `max_length` is kept.

    Args:
        run: The run, with its plan.
        full: Read every row; without it, at most 5,000 are tokenised and checked.
        show: Tell the run's listeners this many rows as the trainer sees them, with the tokens that carry loss.
        max_length: Cut rows at this many tokens.
        split: The split to train on.
        subset: The subset (configuration) of a Hub dataset.

    Raises:
        InputError: The data cannot train with this method; the message says what is missing, the hint what would do.
    """
    require(TOOL, run)
    began = time.monotonic()
    spec, ref, model = _planned(run.spec)
    stated_length = max_length if max_length is not None else spec.overrides.max_length
    if stated_length is not None and stated_length < 1:
        raise InputError(f"max_length {stated_length} keeps no token.", hint="leave it out, and the data decides")

    run.journal.tell("progress", step=f"reading {one_line(ref.id)}")
    source = load_rows(ref, subset or spec.subset, split or spec.split)
    shape = _recognise(source, spec)
    scan = _scan(source, shape, None if full else _row_limit(source.sample))
    run.journal.tell("progress", step=f"letting TRL prepare {len(scan.train) + len(scan.heldout)} rows")
    proof = _prove(run, model, source, shape, scan, stated_length, show)

    lengths = sorted(proof["lengths"])
    length = stated_length or choose_max_length(lengths, proof["context"])
    counts = proof["at"][str(length)]
    if counts["trained"] == 0:
        raise InputError(
            f"at max_length {length} no row of `{one_line(ref.id)}` keeps a token of its answer.",
            hint=f"the longest row has {lengths[-1]} tokens",
        )
    return DatasetReport(
        verdict="mapped" if shape.mapping else "ready",
        method=spec.method,
        subset=source.subset,
        split=source.split,
        rows=scan.rows,
        mapping=shape.mapping,
        filter=_filter(shape, scan),
        trainer_columns=shape.trainer_columns,
        lengths=Lengths(**{name: percentile(lengths, at) for name, at in PERCENTILES.items()}),
        max_length=length,
        truncated_share=sum(tokens > length for tokens in lengths) / len(lengths),
        duplicates=len(scan.duplicates),
        overlap=None,
        problems=(*_data_problems(scan), *_token_problems(proof, shape, length)),
        holdout=Holdout(function=source.holdout, rows=len(scan.heldout), reason=HOLDOUT_REASONS[source.holdout]),
        train_tokens=round(counts["tokens"] * scan.scale),
        trained_tokens=round(counts["trained"] * scan.scale),
        loss_on=proof["loss_on"],
        proof=(
            f"SFTTrainer (trl {proof['trl']}) prepared {len(lengths)} rows and took one step on "
            f"{proof['proven_rows']} of them: loss {proof['loss']:.3g}."
        ),
        fingerprint=scan.fingerprint,
        seconds=round(time.monotonic() - began, 2),
    )


def choose_max_length(lengths: Sequence[int], context: int | None) -> int:
    """Return the shortest bucket that holds every row, up to the model's context.

    Outliers are cut: the longest hundredth of the rows, at least one, where they are more than twice as long as all
    others. The longest length sets the memory of the whole training.

    Args:
        lengths: Tokens of each row, in ascending order.
        context: The most tokens that the model takes, where it says so.
    """
    others = lengths[: -max(1, len(lengths) // 100)][-1]
    wanted = lengths[-1] if lengths[-1] <= 2 * others else others
    bucket = next((bucket for bucket in BUCKETS if bucket >= wanted), BUCKETS[-1])
    return min(bucket, context or bucket)


def percentile(ascending: Sequence[int], share: float) -> int:
    """Return the smallest value that at least `share` of all values do not exceed."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def _planned(spec: Spec | None) -> tuple[Spec, DatasetRef, str]:
    if spec is None or spec.dataset_ref is None or spec.model_ref is None:
        raise ToolError("the plan was made offline: its dataset and model are not looked up.", hint="call plan_run")
    return spec, spec.dataset_ref, spec.model_ref.path or spec.model_ref.id


# --- reading the rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the rows hold, row numbers counted from 0 in the dataset as it was loaded."""

    train: dict[int, bytes]
    """Number and hash of each usable training row, as it is mapped."""
    heldout: dict[int, bytes]
    unusable: dict[str, list[int]]
    """Reason to row numbers."""
    every: tuple[int, int]
    """Only each n-th training and held-out row was looked at."""
    unread: int
    """Rows that were not looked at."""

    @property
    def rows(self) -> int:
        """All rows but those that are known to be unusable."""
        return len(self.train) + self.unread + len(self.heldout)

    @property
    def scale(self) -> float:
        """All training rows over those that were looked at."""
        return 1 + self.unread / (len(self.train) + sum(map(len, self.unusable.values())))

    @property
    def duplicates(self) -> list[int]:
        """Rows that were there before, anywhere."""
        seen: set[bytes] = set()
        return [number for number, key in self._rows if key in seen or seen.add(key)]

    @property
    def leaked(self) -> list[int]:
        """Held-out rows that are among the training rows."""
        trained = set(self.train.values())
        return [number for number, key in self.heldout.items() if key in trained]

    @property
    def fingerprint(self) -> str:
        """A hash over all mapped rows, in order."""
        return "sha256:" + hashlib.sha256(b"".join(key for _, key in self._rows)).hexdigest()

    @property
    def _rows(self) -> list[tuple[int, bytes]]:
        return [*self.train.items(), *self.heldout.items()]


def _recognise(source: Source, spec: Spec) -> Shape:
    shape = recognise(source.rows.column_names, source.sample, spec.method)
    if isinstance(shape, Refusal):
        raise InputError(
            f"`{one_line(source.id)}` cannot train with {spec.method}: {shape.missing}.", hint=shape.nearest
        )
    if spec.method not in PROVEN_METHODS:
        raise ToolError(
            f"`{one_line(source.id)}` has what {spec.method} needs, but its trainer cannot be proven yet.",
            hint=f"methods that can: {', '.join(PROVEN_METHODS)}",
        )
    return shape


def _row_limit(sample: Sequence[Row]) -> int:
    characters = sum(len(str(row)) for row in sample) / len(sample)
    return max(1, min(SCANNED_ROWS, int(SCANNED_CHARACTERS / characters)))


def _scan(source: Source, shape: Shape, limit: int | None) -> Scan:
    """Read the rows as training will: hold out, filter, map.

    Raises:
        InputError: No training row, or no held-out row, is usable.
    """
    sides = HOLDOUTS[source.holdout](source.rows.add_column(NUMBER, list(range(len(source.rows)))))
    every = [math.ceil(len(side) / (limit or len(side))) for side in sides]
    read = [side.select(range(0, len(side), step)) for side, step in zip(sides, every, strict=True)]
    unusable: dict[str, list[int]] = defaultdict(list)
    train, heldout = (dict(_hashes(side, shape, unusable)) for side in read)
    if not (train and heldout):
        reasons = ", ".join(f"{reason} ({len(rows)} rows)" for reason, rows in unusable.items())
        which = "held-out row" if train else "training row" if heldout else "row"
        raise InputError(
            f"no {which} of `{one_line(source.id)}` can be trained on: {reasons}.",
            hint=f"a row of this shape ({shape.kind}) ends with an answer, and all of its parts are text",
        )
    unread = sum(map(len, sides)) - sum(map(len, read))
    return Scan(train=train, heldout=heldout, unusable=dict(unusable), every=every, unread=unread)


def _hashes(side: Any, shape: Shape, unusable: dict[str, list[int]]) -> Iterator[tuple[int, bytes]]:
    """Yield number and hash of every usable row, and note the others."""
    why_not, mapping = FILTERS[shape.filter or ""], MAPPINGS.get(shape.mapping or "")
    for row in side:
        number = row.pop(NUMBER)
        if reason := why_not(row):
            unusable[reason].append(number)
            continue
        mapped = mapping(row) if mapping else {column: row[column] for column in shape.trainer_columns}
        text = json.dumps(mapped, sort_keys=True, default=str)
        yield number, hashlib.sha256(text.encode()).digest()


def _filter(shape: Shape, scan: Scan) -> str | None:
    return shape.filter if scan.unusable or scan.unread else None


# --- the proof --------------------------------------------------------------------------------------------------------


def _prove(
    run: Run, model: str, source: Source, shape: Shape, scan: Scan, stated_length: int | None, show: int
) -> dict[str, Any]:
    """Let TRL prepare the rows and take a step, in a process of its own.

    Raises:
        InputError: TRL refuses; the message is its own, with the number of the row.
        ToolError: The worker itself failed.
    """
    names = [name for name in (source.holdout, _filter(shape, scan), shape.mapping) if name]
    log = run.log(TOOL)
    proof = run_worker(
        run.settings,
        "prove.py",
        {
            "model": model,
            "loader": source.loader,
            "split": source.split,
            "functions": "\n\n\n".join(source_of(name) for name in names),
            "holdout": source.holdout,
            "filter": _filter(shape, scan),
            "mapping": shape.mapping,
            "trainer_columns": shape.trainer_columns,
            "max_length": stated_length,
            "buckets": [*BUCKETS, *([stated_length] if stated_length else [])],
            "every": scan.every,
            "show": show,
        },
        log=log,
        timeout_s=WORKER_TIMEOUT_S,
    )
    if refusal := proof.get("refusal"):
        row = "" if refusal["row"] is None else f" row {refusal['row']}"
        raise InputError(
            f"`{one_line(source.id)}` cannot train: TRL refuses{row}: {one_line(refusal['why'], 300)}",
            hint=_way_out(refusal, f"the whole output is in {log}"),
        )
    for example in proof["examples"]:
        run.journal.tell("example", **example)
    return proof


def _way_out(refusal: dict[str, Any], otherwise: str) -> str:
    if "chat_template is not set" in refusal["why"]:
        return "take an instruction-tuned model, whose tokenizer has a chat template, or give prompts as plain text"
    return otherwise if refusal["row"] is None else f"mend or remove that row; {otherwise}"


# --- what a person should know ----------------------------------------------------------------------------------------


def _problem(kind: str, rows: Sequence[int], detail: str) -> list[Problem]:
    first = tuple(sorted(rows)[:SHOWN_ROWS])
    return [Problem(kind=kind, count=len(rows), detail=detail, rows=first)] if rows else []


def _data_problems(scan: Scan) -> list[Problem]:
    problems = [
        *(p for reason, rows in scan.unusable.items() for p in _problem(reason, rows, "These rows are left out.")),
        *_problem("duplicates", scan.duplicates, "Rows that were there before, word for word."),
        *_problem("leakage", scan.leaked, "Held-out rows that are trained on too: they flatter the result."),
    ]
    if scan.unread:
        detail = f"Rows that were not read: all but their number is estimated from {len(scan.train)} training rows."
        problems.append(Problem(kind="sampled", count=scan.unread, detail=detail))
    return problems


def _token_problems(proof: dict[str, Any], shape: Shape, length: int) -> list[Problem]:
    counts, context = proof["at"][str(length)], proof["context"]
    beyond = proof["at"][str(context)]["cut"] if context and length > context else 0
    all_turns = len(proof["lengths"]) if proof["loss_on"] == "all" and "messages" in shape.trainer_columns else 0
    found = [
        ("cut", counts["cut"], f"Rows longer than max_length {length}: their ends are not trained on."),
        ("answer cut away", counts["lost"], f"Training rows with nothing to learn in their first {length} tokens."),
        ("beyond the context", beyond, f"Training rows longer than the {context} tokens that the model takes."),
        ("loss on every turn", all_turns, "The chat template cannot tell the answers of a longer chat from the rest."),
        *(("TRL warns", 1, one_line(text, 400)) for text in proof["warnings"]),
    ]
    return [Problem(kind=kind, count=count, detail=detail) for kind, count, detail in found if count]
