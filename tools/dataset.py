"""Does this data train with this method? Read its values, map its rows, and let TRL itself say yes or no."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .data.emitted import source_of
from .data.filters import FILTERS
from .data.holdouts import HOLDOUTS
from .data.mappings import MAPPINGS, Row
from .data.shapes import Refusal, Shape, recognise
from .data.sources import NUMBER, Source, load_rows
from .errors import InputError, ToolError
from .facts import DatasetRef, DatasetReport, Holdout, Lengths, Problem, Spec
from .gates import require
from .run import Run
from .wording import one_line
from .worker import run_worker

TOOL = "validate_dataset"
PROVEN_METHODS = ("sft",)
WORKER_TIMEOUT_S = 3600.0

# What is read without `full`, of the training rows and of the held-out rows each. TRL prepares so much in about 4 s,
# with 110 tokens a row as with 19,000 (measured on two cores).
SCANNED_ROWS = 5_000
SCANNED_CHARACTERS = 2_000_000
SHOWN_ROWS = 5

# Lengths that `max_length` is chosen from: powers of two and the steps halfway between them.
BUCKETS = tuple(sorted(base << shift for base in (128, 192) for shift in range(11)))

HOLDOUT_REASONS = {
    "split_by_column": "the rows say so in their `split` column",
    "split_given": "the dataset brings an evaluation split",
    "split_by_seed": "the dataset brings none: a tenth, drawn with a fixed seed",
}


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
    train, heldout = _scan(source, shape, None if full else _row_limit(source.sample))
    run.journal.tell("progress", step=f"letting TRL prepare {len(train.keys) + len(heldout.keys)} rows")
    request = _request(source, shape, train, heldout, stated_length)
    proof = _prove(run, source.id, {**request, "model": model, "show": show})

    lengths = sorted(proof["lengths"])
    length = stated_length or choose_max_length(lengths, proof["context"])
    counts = _counts(source, proof, length)
    return DatasetReport(
        verdict="mapped" if shape.mapping else "ready",
        method=spec.method,
        subset=source.subset,
        split=source.split,
        rows=train.rows + heldout.rows,
        mapping=shape.mapping,
        filter=request["filter"],
        trainer_columns=shape.trainer_columns,
        lengths=Lengths(
            **{name: percentile(lengths, int(name[1:])) for name in ("p50", "p95", "p99")}, max=lengths[-1]
        ),
        max_length=length,
        truncated_share=sum(tokens > length for tokens in lengths) / len(lengths),
        duplicates=len(_repeated(train, heldout)),
        overlap=None,
        problems=(*_data_problems(train, heldout), *_token_problems(proof, shape, length)),
        holdout=Holdout(function=source.holdout, rows=heldout.rows, reason=HOLDOUT_REASONS[source.holdout]),
        train_tokens=round(counts["tokens"] * train.scale),
        trained_tokens=round(counts["trained"] * train.scale),
        loss_on=proof["loss_on"],
        proof=_proof_in_words(proof),
        fingerprint="sha256:" + hashlib.sha256(b"".join([*train.keys.values(), *heldout.keys.values()])).hexdigest(),
        seconds=round(time.monotonic() - began, 2),
    )


def choose_max_length(lengths: Sequence[int], context: int | None) -> int:
    """Return the shortest bucket that holds every row, up to the model's context.

    Outliers are cut: the longest hundredth of the rows, at least one, where they are more than twice as long as all
    others. The longest length sets the memory of the whole training.

    Args:
        lengths: Tokens of each row, in ascending order; two at least.
        context: The most tokens that the model takes, where it says so.
    """
    others = lengths[-1 - max(1, len(lengths) // 100)]
    wanted = lengths[-1] if lengths[-1] <= 2 * others else others
    bucket = next((bucket for bucket in BUCKETS if bucket >= wanted), BUCKETS[-1])
    return min(bucket, context or bucket)


def percentile(ascending: Sequence[int], percent: int) -> int:
    """Return the smallest of the values that at least `percent` of 100 values do not exceed."""
    return ascending[math.ceil(percent * len(ascending) / 100) - 1]


def _planned(spec: Spec | None) -> tuple[Spec, DatasetRef, str]:
    if spec is None or spec.dataset_ref is None or spec.model_ref is None:
        raise ToolError("the plan was made offline: its dataset and model are not looked up.", hint="call plan_run")
    return spec, spec.dataset_ref, spec.model_ref.path or spec.model_ref.id


# --- reading the rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Side:
    """The training rows or the held-out rows; row numbers count from 0 in the dataset as it was loaded."""

    keys: dict[int, bytes]
    """Number and hash, as it is mapped, of each row that was read and is usable."""
    unusable: dict[str, list[int]]
    """Reason to row numbers."""
    every: int
    """Only each n-th row was read."""
    unread: int

    @property
    def rows(self) -> int:
        """All rows but those that are known to be unusable."""
        return len(self.keys) + self.unread

    @property
    def scale(self) -> float:
        """All rows over those that were read."""
        read = len(self.keys) + sum(map(len, self.unusable.values()))
        return (read + self.unread) / read


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


def _scan(source: Source, shape: Shape, limit: int | None) -> tuple[Side, Side]:
    """Read the rows as training will: hold out, filter, map.

    Raises:
        InputError: No training row, or no held-out row, is usable.
    """
    numbered = source.rows.add_column(NUMBER, list(range(len(source.rows))))
    train, heldout = (_read(side, shape, limit) for side in HOLDOUTS[source.holdout](numbered))
    if not (train.keys and heldout.keys):
        which = "held-out row" if train.keys else "training row" if heldout.keys else "row"
        reasons = ", ".join(f"{reason} ({len(rows)} rows)" for reason, rows in _unusable(train, heldout).items())
        raise InputError(
            f"no {which} of `{one_line(source.id)}` can be trained on: {reasons}.",
            hint=f"a row of this shape ({shape.kind}) ends with an answer, and all of its parts are text",
        )
    return train, heldout


def _read(rows: Any, shape: Shape, limit: int | None) -> Side:
    every = math.ceil(len(rows) / (limit or len(rows)))
    read = rows.select(range(0, len(rows), every))
    why_not, mapping = FILTERS[shape.filter or ""], MAPPINGS.get(shape.mapping or "")
    keys: dict[int, bytes] = {}
    unusable: dict[str, list[int]] = defaultdict(list)
    for row in read:
        number = row.pop(NUMBER)
        if reason := why_not(row):
            unusable[reason].append(number)
            continue
        mapped = mapping(row) if mapping else {column: row[column] for column in shape.trainer_columns}
        keys[number] = hashlib.sha256(json.dumps(mapped, sort_keys=True, default=str).encode()).digest()
    return Side(keys=keys, unusable=dict(unusable), every=every, unread=len(rows) - len(read))


def _unusable(train: Side, heldout: Side) -> dict[str, list[int]]:
    reasons = [*train.unusable, *(reason for reason in heldout.unusable if reason not in train.unusable)]
    return {reason: sorted(train.unusable.get(reason, []) + heldout.unusable.get(reason, [])) for reason in reasons}


def _repeated(train: Side, heldout: Side) -> list[int]:
    seen: set[bytes] = set()
    rows = [*train.keys.items(), *heldout.keys.items()]
    return sorted(number for number, key in rows if key in seen or seen.add(key))


def _filter(shape: Shape, train: Side, heldout: Side) -> str | None:
    """Name the filter where it has something to do; rows that nobody has read may need it."""
    return shape.filter if any(side.unusable or side.unread for side in (train, heldout)) else None


# --- the proof --------------------------------------------------------------------------------------------------------


def _request(source: Source, shape: Shape, train: Side, heldout: Side, stated_length: int | None) -> dict[str, Any]:
    """Say how training will read the rows; the worker reads them in the same way."""
    names = {"holdout": source.holdout, "filter": _filter(shape, train, heldout), "mapping": shape.mapping}
    return {
        **names,
        "functions": "\n\n\n".join(source_of(name) for name in names.values() if name),
        "loader": source.loader,
        "split": source.split,
        "trainer_columns": shape.trainer_columns,
        "every": [train.every, heldout.every],
        "max_length": stated_length,
        "buckets": [*BUCKETS, *([stated_length] if stated_length else [])],
    }


def _prove(run: Run, name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Let TRL prepare the rows and take a step, in a process of its own; see `templates/prove.py`.

    Raises:
        InputError: TRL refuses; the message is its own, with the number of the row.
        ToolError: The worker itself failed.
    """
    log = run.log(TOOL)
    proof = run_worker(run.settings, "prove.py", request, log=log, timeout_s=WORKER_TIMEOUT_S)
    if refusal := proof.get("refusal"):
        row = "" if refusal["row"] is None else f" row {refusal['row']}"
        raise InputError(
            f"`{one_line(name)}` cannot train: TRL refuses{row}: {one_line(refusal['why'], 300).rstrip('.')}.",
            hint=_way_out(refusal, f"the whole output is in {log}"),
        )
    for example in proof["examples"]:
        run.journal.tell("example", **example)
    return proof


def _counts(source: Source, proof: dict[str, Any], length: int) -> dict[str, int]:
    counts = proof["at"][str(length)]
    if counts["trained"] == 0:
        raise InputError(
            f"at max_length {length} no row of `{one_line(source.id)}` keeps a token of its answer.",
            hint=f"the longest row has {max(proof['lengths'])} tokens",
        )
    return counts


def _proof_in_words(proof: dict[str, Any]) -> str:
    step, lengths = proof["step"], proof["lengths"]
    start = f"the first {step['length']} tokens of " if step["length"] < max(lengths) else ""
    prepared = f"SFTTrainer (trl {proof['trl']}) prepared {len(lengths)} rows"
    return f"{prepared} and took one step on {start}{step['rows']} of them: loss {step['loss']:.3g}."


def _way_out(refusal: dict[str, Any], otherwise: str) -> str:
    if "chat_template is not set" in refusal["why"]:
        return "take an instruction-tuned model, whose tokenizer has a chat template, or give the rows as plain text"
    return otherwise if refusal["row"] is None else f"mend or remove that row; {otherwise}"


# --- what a person should know ----------------------------------------------------------------------------------------


def _data_problems(train: Side, heldout: Side) -> list[Problem]:
    trained = set(train.keys.values())
    found = [
        *((reason, rows, "These rows are left out.") for reason, rows in _unusable(train, heldout).items()),
        ("duplicates", _repeated(train, heldout), "Rows that were there before, word for word."),
        (
            "leakage",
            sorted(number for number, key in heldout.keys.items() if key in trained),
            "Held-out rows that are trained on too: they flatter the result.",
        ),
    ]
    problems = [
        Problem(kind=kind, count=len(rows), detail=detail, rows=tuple(rows[:SHOWN_ROWS]))
        for kind, rows, detail in found
        if rows
    ]
    if unread := train.unread + heldout.unread:
        detail = (
            f"Rows that were not read: lengths and problems are those of {len(train.keys) + len(heldout.keys)} rows."
        )
        problems.append(Problem(kind="sampled", count=unread, detail=detail))
    return problems


def _token_problems(proof: dict[str, Any], shape: Shape, length: int) -> list[Problem]:
    counts, context = proof["at"][str(length)], proof["context"]
    beyond = proof["at"][str(context)]["cut"] if context and length > context else 0
    all_turns = len(proof["lengths"]) if proof["loss_on"] == "all" and "messages" in shape.trainer_columns else 0
    found = [
        ("cut", counts["cut"], f"Training rows longer than max_length {length}: their ends are not learned."),
        ("answer cut away", counts["lost"], f"Training rows with nothing to learn in their first {length} tokens."),
        ("beyond the context", beyond, f"Training rows longer than the {context} tokens that the model takes."),
        ("loss on every turn", all_turns, "The chat template cannot tell the answers of a longer chat from the rest."),
        *(("TRL warns", 1, one_line(text, 400)) for text in proof["warnings"]),
    ]
    return [Problem(kind=kind, count=count, detail=detail) for kind, count, detail in found if count]
