"""What the jobs after a training take, by arithmetic: the flavor that does them for least, its time and its limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .candidates import LOADING_GIB, RENTED_STARTUP_S, UPLOAD_BYTES_PER_S, USABLE_SHARE
from .catalog import catalog
from .chosen import RENTED_TIMEOUT_MARGIN, TIMEOUT_FLOOR_S, TIMEOUT_STEP_S
from .decoding import decoding_seconds
from .errors import ToolError
from .facts import GENERATING_METHODS, Precision, Purpose, QuotePart, Range, Spec
from .flavor import Flavor
from .later_asked import NOTHING, SERVING_GIB, VLLM_BYTES, Asking, asking_of, asking_seconds
from .run import Later, Run
from .setups import BYTES, Setup
from .throughput import achieved_flops, forward_flops, seconds_per_token
from .work import COMPLETION_TOKENS, Work, work_of

NAMES: dict[Purpose, str] = {"train": "training", "evaluate": "evaluation", "export": "export"}
LOW, HIGH = 0.5, 2.0
"""How far such a job strays from what is expected: no job was measured on rented machines, so the spread is wide."""
LONGEST_HOURS = 4.0
"""The cheapest flavor is taken among those that need no longer, so that nobody waits a day to save a cent."""
MORE_TIME = 2
"""After a job that ran out of time, the next limit is so many times as long."""

BATCH_TOKENS = 2048
GENERATING_BATCH = 16
ANSWERS, ANSWER_TOKENS = 3, 64
GENERAL_TOKENS = 40 * 60
"""See `templates/heldout.py`, `templates/generated.py`, `evaluation/heldout.py` and `evaluation/general.py`."""

# Merging, converting and proving, a billion parameters on two physical cores: measured on SmolLM2-135M, 14 s for one
# file of which 8 were imports and loading; three times that, since proof asks several questions of each file.
MERGE_S_PER_BILLION = 60.0
FILE_S_PER_BILLION = 120.0
FILE_S = 30.0
MEASURED_CORES = 2
MOST_CORES = 8
"""More of them convert no faster: the converter and the merge are bound by memory."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a machine must have for the job."""

    memory_gib: float
    gpu_gib: float
    disk_gib: float

    def fit(self, flavor: Flavor) -> bool:
        """Whether a flavor has it."""
        has_disk = flavor.disk_gib is None or self.disk_gib <= USABLE_SHARE * flavor.disk_gib
        on_gpu = flavor.gpu is None or self.gpu_gib <= USABLE_SHARE * flavor.gpu.memory_gib
        return has_disk and on_gpu and self.memory_gib <= USABLE_SHARE * flavor.memory_gib


def later_purposes(spec: Spec) -> tuple[Purpose, ...]:
    """Return what is done after the training in jobs of their own: nothing, where the training is local."""
    if spec.backend != "hf-jobs":
        return ()
    wanted: tuple[Purpose, ...] = ("evaluate", "export")
    return tuple(purpose for purpose in wanted if purpose in spec.targets)


def part_of(run: Run, purpose: Purpose, asking: Asking | None = None) -> QuotePart:
    """Return where a later job runs, what that takes, and what is reserved for it: price × limit.

    A job that failed changes what comes next: after one that had too little memory a flavor with more is taken, and
    after one that ran out of time the limit is doubled.

    Args:
        run: The run, with its hardware chosen.
        purpose: What the job is for.
        asking: What an evaluation has the models generate; None: what the run says by itself.

    Raises:
        ToolError: No flavor is large enough.
    """
    assert run.spec is not None and run.hardware is not None
    work = work_of(run.spec, run.dataset, None, run.hardware.max_length, on_gpu=False, settings=run.settings)
    asking = (asking or asking_of(run)) if purpose == "evaluate" else NOTHING
    needs, former = needs_of(run.spec, work, purpose, asking), run.later.get(purpose, Later())
    larger_than = _memory_that_was_full(former)
    fitting = [f for f in catalog().flavors if needs.fit(f) and f.memory_gib > larger_than and f.gpus <= 1]
    if not fitting:
        raise ToolError(
            f"no flavor has the {needs.memory_gib:.0f} GiB of memory and {needs.disk_gib:.0f} GB of disk that the "
            f"{purpose} job needs.",
            hint="plan without it, or take a smaller model",
        )
    hours = {flavor.name: hours_of(run, work, purpose, flavor, asking) for flavor in fitting}
    quick = [flavor for flavor in fitting if hours[flavor.name] <= LONGEST_HOURS]
    if quick:
        chosen = min(quick, key=lambda flavor: (flavor.usd_per_hour * hours[flavor.name], hours[flavor.name]))
    else:
        chosen = min(fitting, key=lambda flavor: hours[flavor.name])
    return _part(purpose, chosen, hours[chosen.name], former, needs)


def _part(purpose: Purpose, flavor: Flavor, hours: float, former: Later, needs: Needs) -> QuotePart:
    price, spread = flavor.usd_per_hour, Range(low=LOW * hours, expected=hours, high=HIGH * hours)
    wanted_s = math.ceil(RENTED_TIMEOUT_MARGIN * spread.high * 3600 / TIMEOUT_STEP_S) * TIMEOUT_STEP_S
    timeout_s = max(TIMEOUT_FLOOR_S, wanted_s, _time_that_was_short(former))
    return QuotePart(
        purpose=purpose,
        flavor=flavor.name,
        hours=spread,
        cost_usd=Range(low=price * spread.low, expected=price * hours, high=price * spread.high),
        reserve_usd=price * timeout_s / 3600,
        timeout_s=timeout_s,
        reason=f"the cheapest with {needs.memory_gib:.0f} GiB of memory and {needs.disk_gib:.0f} GB of disk",
    )


def _memory_that_was_full(former: Later) -> float:
    """Return the memory in GiB of the flavor that was too small, 0 where none was."""
    failure = former.report.failure if former.report else None
    if former.job is None or failure is None or failure.name not in ("host_memory", "cuda_memory"):
        return 0.0
    return next((f.memory_gib for f in catalog().flavors if f.name == former.job.flavor), 0.0)


def _time_that_was_short(former: Later) -> int:
    timed_out = former.report is not None and former.report.stage == "timed_out"
    return MORE_TIME * former.intent.timeout_s if timed_out and former.intent else 0


def needs_of(spec: Spec, work: Work, purpose: Purpose, asking: Asking = NOTHING) -> Needs:
    """Return what a machine must have: weights in float32 on a CPU, in 16 bits on a GPU; files of 2 bytes a weight.

    Whoever serves a model has it merged and as GGUF on its disk, or vLLM's packages, and room for keys and values.
    """
    parameters = max(work.shape.parameters, work.teacher.parameters if work.teacher else 0)
    gib = parameters / 2**30
    if purpose == "evaluate":
        models = 2 if work.teacher else 1
        serving, served_gb = (SERVING_GIB, 4 * gib + VLLM_BYTES / 1e9) if asking.answers else (0.0, 0.0)
        return Needs(
            memory_gib=4 * gib + LOADING_GIB + serving,
            gpu_gib=2 * gib + LOADING_GIB + serving,
            disk_gib=10 + 8 * models * gib + served_gb,
        )
    files = len(spec.overrides.quantisations or ("Q4_K_M",))
    return Needs(memory_gib=6 * gib + LOADING_GIB, gpu_gib=0.0, disk_gib=10 + (12 + 2 * files) * gib)


def hours_of(run: Run, work: Work, purpose: Purpose, flavor: Flavor, asking: Asking = NOTHING) -> float:
    """Return how long the job takes there, from its first paid second on."""
    assert run.spec is not None
    down = 4 * work.shape.parameters / UPLOAD_BYTES_PER_S
    seconds = _evaluating(run, work, flavor) if purpose == "evaluate" else _exporting(run.spec, work, flavor)
    asked = asking_seconds(asking, work, flavor) if asking.answers else 0.0
    return (RENTED_STARTUP_S + down + seconds + asked) / 3600


def _evaluating(run: Run, work: Work, flavor: Flavor) -> float:
    """Both models read the held-out rows and general questions, and answer a few, or all where a method generates."""
    assert run.spec is not None
    rows = run.dataset.holdout.rows if run.dataset and run.dataset.holdout else 0
    precision: Precision = "fp32" if flavor.gpu is None else ("bf16" if flavor.gpu.has_bf16 else "fp16")
    setup = Setup(
        adapter="full",
        precision=precision,
        batch=GENERATING_BATCH,
        length=work.longest,
        checkpointing=False,
        rank=0,
        trained_share=1.0,
        on_gpu=flavor.gpu is not None,
        pure=True,
    )
    speed = achieved_flops(flavor, adapter="full", precision=precision, batch_tokens=BATCH_TOKENS)
    flops = forward_flops(work.shape, length=work.mean_length, trained_share=work.trained_share)
    each = seconds_per_token(work.shape, flavor, flops=flops, flops_per_s=speed, batch_tokens=BATCH_TOKENS, passes=1)
    reading = 2 * (rows * work.mean_length + GENERAL_TOKENS) * each
    answers = (
        2 * ANSWER_TOKENS * decoding_seconds(work.shape, flavor, setup, sequences=ANSWERS, length=work.mean_length)
    )
    if run.spec.method not in GENERATING_METHODS:
        return reading + answers
    tokens = run.spec.overrides.max_completion_length or COMPLETION_TOKENS
    batches = math.ceil(rows / GENERATING_BATCH) * (3 if run.spec.method == "distillation" else 2)
    one = decoding_seconds(work.shape, flavor, setup, sequences=GENERATING_BATCH, length=work.mean_length)
    return reading + answers + batches * tokens * one


def _exporting(spec: Spec, work: Work, flavor: Flavor) -> float:
    billions = work.shape.parameters / 1e9
    files = len(spec.overrides.quantisations or ("Q4_K_M",))
    faster = min(MOST_CORES, flavor.cores / 2) / MEASURED_CORES
    made = billions * (MERGE_S_PER_BILLION + files * FILE_S_PER_BILLION) / faster
    pushed = files * BYTES["fp16"] * work.shape.parameters / UPLOAD_BYTES_PER_S
    return made + files * FILE_S + pushed
