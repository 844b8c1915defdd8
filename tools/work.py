"""What is to be trained: rows, tokens and epochs, from a validated dataset or from a number of tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .architecture import Architecture
from .errors import ToolError
from .facts import GENERATING_METHODS, REWARDED_METHODS, DatasetReport, Lengths, Method, Spec
from .settings import Settings
from .shapes import architecture_of

DEFAULT_RANK = 16
DEFAULT_MAX_LENGTH = 1024

# Rows of one optimizer step: QLoRA's 16 (arXiv 2305.14314, table 9) where the data is large enough. Small data gets
# smaller steps, so that an epoch has some thirty of them and warm-up and decay mean something (our own rule).
LARGEST_STEP_ROWS = 16
SMALLEST_STEP_ROWS = 4
STEPS_PER_EPOCH = 30

# Three epochs as in Stanford Alpaca and by transformers' default; one where the data is large or a CPU does the work.
SMALL_DATA_ROWS = 20_000
SMALL_DATA_EPOCHS = 3.0

# TRL's defaults for GRPO and RLOO: completions of a prompt, and tokens of one (trl/trainer/grpo_config.py).
GENERATIONS = 8
COMPLETION_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be trained, whatever it is trained on."""

    shape: Architecture
    method: Method = "sft"
    rank: int
    rows: int
    """Rows of one epoch; where they are packed, their number afterwards."""
    epoch_tokens: int
    """Tokens that are trained on in one epoch; what the model generates itself among them."""
    lengths: Lengths
    max_length: int
    trained_share: float
    """Share of the tokens that carry loss."""
    epochs: float
    max_steps: int | None = None
    """Ends the training before the epochs do, where it was stated."""
    generated_tokens: int = 0
    """Of `epoch_tokens`, those that the model generates first."""
    teacher: Architecture | None = None
    """What a distillation learns from; None is a model like the one that is trained."""
    answers: int = 1
    """Completions of a prompt that are held against each other, so that all of them belong into one step."""
    packed: bool = False
    """Whether rows are joined until each is full, so that none is padded."""

    @property
    def mean_length(self) -> float:
        """Mean tokens of a row."""
        return self.epoch_tokens / self.rows

    @property
    def longest(self) -> int:
        """Tokens of the longest row, after cutting."""
        return min(self.lengths.max, self.max_length)

    @property
    def step_rows(self) -> int:
        """Rows of one optimizer step: a power of two, or as many more as make up all completions of a prompt."""
        wanted = max(1, self.rows // STEPS_PER_EPOCH)
        rows = min(LARGEST_STEP_ROWS, max(SMALLEST_STEP_ROWS, 2 ** int(math.log2(wanted))))
        return math.ceil(rows / self.answers) * self.answers

    def accumulation(self, batch: int, gpus: int) -> int:
        """Return how many batches make about a step, and all completions of its prompts.

        `generation_batch_size` must be a multiple of `num_generations` (trl/trainer/grpo_config.py).
        """
        at_once = batch * max(1, gpus)
        least = self.answers // math.gcd(at_once, self.answers)
        return max(1, self.step_rows // at_once // least) * least

    @property
    def smallest_batch(self) -> int:
        """Rows that must be computed at once: KTO holds a row against its neighbour (`KTOTrainer.__init__`)."""
        return 2 if self.method == "kto" else 1

    def epochs_of(self, step_rows: int) -> float:
        """Return how often the data is seen with this many rows a step."""
        return self.epochs if self.max_steps is None else self.max_steps * step_rows / self.rows


def work_of(
    spec: Spec,
    dataset: DatasetReport | None,
    tokens: int | None,
    length: int | None,
    *,
    on_gpu: bool,
    settings: Settings,
) -> Work:
    """Return what is to be trained.

    Args:
        spec: The plan, with its model.
        dataset: What validation found.
        tokens: Tokens of the whole training; they count more than the dataset.
        length: Where rows are cut; None leaves it to the dataset.
        on_gpu: Whether a GPU does the work: a CPU sees small data once.
        settings: Name the interpreter that counts the parameters of families which the arithmetic does not know.

    Raises:
        ToolError: The model is not resolved, or there are no tokens.
    """
    if spec.model_ref is None:
        raise ToolError("the plan's model is not resolved.", hint="call plan_run without offline")
    shape = architecture_of(spec.model_ref, settings)
    teacher = architecture_of(spec.teacher_ref, settings) if spec.teacher_ref else None
    rank = spec.overrides.r or DEFAULT_RANK
    if tokens is not None or dataset is None:
        work = _of_tokens(spec.method, shape, rank, tokens or 0, length or min(DEFAULT_MAX_LENGTH, shape.context))
        return replace(work, teacher=teacher)
    packed = bool(spec.overrides.packing)
    work = _of_dataset(spec, shape, rank, dataset, length or dataset.max_length, packed=packed)
    stated = spec.overrides.num_train_epochs
    epochs = stated or (SMALL_DATA_EPOCHS if on_gpu and work.rows <= SMALL_DATA_ROWS else 1.0)
    return replace(work, teacher=teacher, epochs=epochs, max_steps=_positive(spec.overrides.max_steps))


def _of_tokens(method: Method, shape: Architecture, rank: int, tokens: int, length: int) -> Work:
    if tokens < 1:
        raise ToolError(f"{tokens} tokens train nothing.", hint="give the tokens of all epochs together")
    # Of a completion that a method generates, the rest of the row is its prompt.
    generated = round(tokens * min(0.5, COMPLETION_TOKENS / length)) if method in GENERATING_METHODS else 0
    return Work(
        shape=shape,
        method=method,
        rank=rank,
        rows=math.ceil(tokens / length),
        epoch_tokens=tokens,
        lengths=Lengths(p50=length, p95=length, p99=length, max=length),
        max_length=length,
        trained_share=1.0,
        epochs=1.0,
        generated_tokens=generated,
        answers=GENERATIONS if method in REWARDED_METHODS else 1,
    )


def _of_dataset(
    spec: Spec, shape: Architecture, rank: int, dataset: DatasetReport, length: int, *, packed: bool
) -> Work:
    method = spec.method
    rows = max(1, dataset.rows - (dataset.holdout.rows if dataset.holdout else 0))
    sequences = 2 if method in ("dpo", "reward") else 1  # of a row: the chosen and the rejected one
    tokens, lengths = max(1, min(dataset.train_tokens, sequences * rows * length)), dataset.lengths
    if method in GENERATING_METHODS:
        return _of_prompts(spec, shape, rank, rows, tokens, lengths, length)
    if packed:
        rows, lengths = math.ceil(tokens / length), Lengths(p50=length, p95=length, p99=length, max=length)
    return Work(
        shape=shape,
        method=method,
        rank=rank,
        rows=rows,
        epoch_tokens=tokens,
        lengths=lengths,
        max_length=length,
        trained_share=min(1.0, dataset.trained_tokens / tokens) if dataset.trained_tokens else 1.0,
        epochs=1.0,
        packed=packed,
    )


def _of_prompts(
    spec: Spec, shape: Architecture, rank: int, prompts: int, tokens: int, lengths: Lengths, length: int
) -> Work:
    """Return the work on prompts, each of which is answered several times; an answer is taken to use up its limit."""
    method, stated = spec.method, spec.overrides
    answers = 1 if method == "distillation" else stated.num_generations or GENERATIONS
    answer = stated.max_completion_length or COMPLETION_TOKENS
    generated = prompts * answers * answer
    whole = {name: tokens + answer for name, tokens in lengths.model_dump().items()}
    return Work(
        shape=shape,
        method=method,
        rank=rank,
        rows=prompts * answers,
        epoch_tokens=answers * tokens + generated,
        lengths=Lengths(**whole),
        max_length=length + answer,
        trained_share=generated / (answers * tokens + generated),
        epochs=1.0,
        generated_tokens=generated,
        answers=answers,
    )


def _positive(steps: int | None) -> int | None:
    """Return `max_steps`, of which TRL's -1 means none."""
    return steps if steps is not None and steps > 0 else None
