"""What a run can know: one frozen model for each fact that a tool settles.

A fact is the result of a tool and the payload of one journal line. Every model here round-trips through JSON, its
units stand in the field names, and nothing in it is ever changed: a later fact of the same kind replaces the earlier.

    base.py         the base of all facts, and the names of what their fields may hold
    spec.py         what the user wants: model, dataset, method, stated values
    data.py         whether the rows train, which of them, how long they are
    hardware.py     where, with how much memory, at what price
    script.py       the training script and its proof
    money.py        quotes and who approved them
    job.py          intent, job, alerts, how it stands, why it failed
    repair.py       the one change that answers a failure
    evaluation.py   base against tuned
    export.py       quantised files and repositories on the Hub
    schedule.py     a run that repeats itself, and what is found of its checkpoints
    life.py         how the run goes on: taken up, reopened, noted, paid for, ended
"""

from __future__ import annotations

from .base import (
    GENERATING_METHODS,
    REWARDED_METHODS,
    TERMINAL_STAGES,
    Adapter,
    Fact,
    Health,
    Method,
    Precision,
    Purpose,
    Rung,
    Sharding,
    Stage,
    Target,
    Verdict,
)
from .data import Cut, DatasetReport, Holdout, Lengths, Missing, Problem, Reward
from .evaluation import Comparison, Evaluation, Sample
from .export import Export, GgufFile, GgufProof, Published
from .hardware import Candidate, HardwareChoice, MemoryGib, Range
from .job import Alert, Course, Failure, Job, JobIntent, JobReport
from .life import Answer, Ended, LlmCall, Note, Reopened, Resumed
from .money import Approval, Quote, QuotePart
from .repair import Change, Repair
from .schedule import CheckpointSeries, Schedule, ScheduleApproval, ScheduleQuote, SeriesPoint, SeriesScript
from .script import Check, Parameter, PreflightReport, Script
from .spec import DatasetRef, ModelRef, Overrides, Spec, Trigger

__all__ = [
    "GENERATING_METHODS",
    "REWARDED_METHODS",
    "TERMINAL_STAGES",
    "Adapter",
    "Alert",
    "Answer",
    "Approval",
    "Candidate",
    "Change",
    "Check",
    "CheckpointSeries",
    "Comparison",
    "Course",
    "Cut",
    "DatasetRef",
    "DatasetReport",
    "Ended",
    "Evaluation",
    "Export",
    "Fact",
    "Failure",
    "GgufFile",
    "GgufProof",
    "HardwareChoice",
    "Health",
    "Holdout",
    "Job",
    "JobIntent",
    "JobReport",
    "Lengths",
    "LlmCall",
    "MemoryGib",
    "Method",
    "Missing",
    "ModelRef",
    "Note",
    "Overrides",
    "Parameter",
    "Precision",
    "PreflightReport",
    "Problem",
    "Published",
    "Purpose",
    "Quote",
    "QuotePart",
    "Range",
    "Reopened",
    "Repair",
    "Resumed",
    "Reward",
    "Rung",
    "Sample",
    "Schedule",
    "ScheduleApproval",
    "ScheduleQuote",
    "Script",
    "SeriesPoint",
    "SeriesScript",
    "Sharding",
    "Spec",
    "Stage",
    "Target",
    "Trigger",
    "Verdict",
]
