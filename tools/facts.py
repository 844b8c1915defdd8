"""What a run can know: one frozen model for each fact that a tool settles.

A fact is the result of a tool and the payload of one journal line. Every model here round-trips through JSON, its
units stand in the field names, and nothing in it is ever changed: a later fact of the same kind replaces the earlier.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Method = Literal["sft", "dpo", "kto", "grpo", "rloo", "reward", "distillation"]
Target = Literal["evaluate", "export", "publish", "schedule"]
Adapter = Literal["full", "lora", "qlora"]
Precision = Literal["fp32", "fp16", "bf16"]
Sharding = Literal["ddp", "fsdp2", "zero3"]
Purpose = Literal["train", "evaluate", "export"]
Stage = Literal["queued", "running", "completed", "failed", "cancelled", "timed_out"]
Health = Literal[
    "healthy", "warned", "diverged", "stalled", "out_of_memory", "timed_out", "failed", "cancelled", "done"
]
Verdict = Literal["better", "worse", "no evidence"]
Rung = Literal[
    "smaller_batch",
    "checkpointing",
    "larger_flavor",
    "more_time",
    "lower_learning_rate",
    "full_precision",
    "other_precision",
    "fewer_checkpoints",
    "again",
    "from_start",
    "rewrite",
]
"""What a repair may do; `tools/repair.py` has one function for each."""

GENERATING_METHODS: frozenset[Method] = frozenset({"grpo", "rloo", "distillation"})
"""Methods that learn from what the model itself generates; their data has prompts only."""
REWARDED_METHODS: frozenset[Method] = frozenset({"grpo", "rloo"})
"""Of those, the ones that answer each prompt several times and learn from rewards for the answers."""
TERMINAL_STAGES: frozenset[Stage] = frozenset({"completed", "failed", "cancelled", "timed_out"})


class Fact(BaseModel):
    """The base of all facts: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- plan_run ---------------------------------------------------------------------------------------------------------


class ModelRef(Fact):
    """A base model that was found."""

    id: str
    source: Literal["folder", "cache", "hub", "package"]
    path: str | None
    """Folder with config, tokenizer and weights; None while they lie on the Hub only."""
    revision: str
    """Commit SHA on the Hub, or `sha256:…` over the weights of a local folder."""
    licence: str | None = None
    note: str | None = None
    """What a reader of the report must know, such as dequantised weights."""


class DatasetRef(Fact):
    """A dataset that was found, before its rows were read."""

    id: str
    source: Literal["file", "folder", "hub"]
    revision: str
    """Commit SHA on the Hub, or `sha256:…` over the bytes of the local files."""
    loader: dict[str, Any]
    """Keyword arguments for `datasets.load_dataset`."""
    licence: str | None = None


class Trigger(Fact):
    """When a run is repeated, by the clock or by commits to a dataset; or its checkpoints evaluated, by the clock."""

    does: Literal["train", "evaluate"] = "train"
    kind: Literal["cron", "webhook"]
    cron: str | None = None
    """Five fields, in UTC."""
    watched: str | None = None
    """The dataset repository whose commits count; empty for the run's own."""
    words: str
    """As it was said."""


class Overrides(Fact):
    """Values that the person stated, under the names of TRL and PEFT; None means that rules decide."""

    num_train_epochs: float | None = None
    max_steps: int | None = None
    learning_rate: float | None = None
    lr_scheduler_type: str | None = None
    warmup_ratio: float | None = None
    weight_decay: float | None = None
    per_device_train_batch_size: int | None = None
    gradient_accumulation_steps: int | None = None
    max_length: int | None = None
    packing: bool | None = None
    seed: int | None = None
    adapter: Adapter | None = None
    r: int | None = None
    lora_alpha: int | None = None
    beta: float | None = None
    temperature: float | None = None
    num_generations: int | None = None
    max_completion_length: int | None = None
    rewards: tuple[str, ...] | None = None
    """Names of rewards for GRPO and RLOO, or `file.py:function`."""
    teacher: str | None = None
    """The model that a distillation learns from."""
    quantisations: tuple[str, ...] | None = None
    importance_matrix: bool | None = None
    benchmarks: tuple[str, ...] | None = None

    def given(self) -> dict[str, Any]:
        """Return only what was stated."""
        return self.model_dump(exclude_none=True)


class Spec(Fact):
    """What the user wants."""

    request: str
    model: str
    dataset: str
    subset: str | None = None
    split: str | None = None
    method: Method = "sft"
    targets: tuple[Target, ...] = ()
    overrides: Overrides = Overrides()
    budget_usd: float | None = None
    backend: Literal["local", "hf-jobs"] = "local"
    max_hours: float | None = None
    trigger: Trigger | None = None
    """When it is to be repeated, where that was said."""
    stated: tuple[str, ...] = ()
    """Names of the fields that the person stated; nothing downstream changes those without asking."""
    inferred: dict[str, str] = {}
    """Field name to the reason for its value."""
    questions: tuple[str, ...] = ()
    """What a person must decide before the run can go on."""
    model_ref: ModelRef | None = None
    teacher_ref: ModelRef | None = None
    dataset_ref: DatasetRef | None = None


# --- validate_dataset -------------------------------------------------------------------------------------------------


class Lengths(Fact):
    """Row lengths in tokens, after mapping and the model's chat template."""

    p50: int
    p95: int
    p99: int
    max: int


class Cut(Fact):
    """What a maximal length costs."""

    length: int
    """Tokens at which rows would be cut."""
    share: float
    """Share of the training rows that are longer: they lose their ends, and the token that stops the model."""
    lost: float
    """Share of the training rows that would have nothing left to learn."""


class Missing(Fact):
    """Why no trainer of a method takes a dataset."""

    missing: str
    """The piece that is not there."""
    nearest: str
    """The nearest thing that would do."""


class Problem(Fact):
    """Something about the data that a person should know."""

    kind: str
    count: int
    detail: str
    rows: tuple[int, ...] = ()
    """The first row numbers that show it, counted from 0."""


class Holdout(Fact):
    """Which rows are kept away from training."""

    function: str
    """Name of the function in `tools/data/shaping/holdouts.py` that is emitted into the script."""
    rows: int
    reason: str


class Reward(Fact):
    """What tells good completions from bad ones."""

    name: str
    """A name in `tools/rewards/table.py`, or that of a person's own function."""
    reason: str
    options: dict[str, Any] = {}
    """Keyword arguments, such as the column with the reference."""
    own: str | None = None
    """`FILE.py:FUNCTION` of a person's own, absolute."""
    sha256: str | None = None
    """Of that file."""


class DatasetReport(Fact):
    """The verdict on a dataset for one method, from TRL's own preparation of real rows."""

    verdict: Literal["ready", "mapped", "refused"]
    method: Method
    subset: str | None
    split: str
    rows: int
    """All usable rows, held-out rows included."""
    mapping: str | None
    """Name of the function in `tools/data/shaping/mappings.py`; None when the rows train as they are."""
    refusal: Missing | None = None
    """Set where the verdict is `refused`."""
    filter: str | None = None
    """Name of the function in `data/shaping/filters.py` that says why a row is unusable; None when all are kept."""
    left_out: tuple[int, ...] = ()
    """Numbers of rows that the script leaves out although their filter lets them through."""
    shape: str = ""
    """What the rows look like, in words."""
    trainer_columns: tuple[str, ...]
    column_types: dict[str, str] = {}
    """What each of them holds: `turns`, `text`, `flag`, `json`, or `same` where the dataset's own type is kept."""
    lengths: Lengths
    """Zeros where the verdict is `refused`, here and below."""
    histogram: tuple[tuple[int, int], ...] = ()
    """Rows by length: the most tokens of each stretch, and its rows."""
    cuts: tuple[Cut, ...] = ()
    max_length: int
    truncated_share: float
    duplicates: int
    """Rows that were there before, word for word."""
    overlap: int | None
    """Rows that share an n-gram with a benchmark; None when no benchmark's items are at hand."""
    benchmarks: tuple[str, ...] = ()
    """The benchmarks that the rows were held against."""
    problems: tuple[Problem, ...] = ()
    rewards: tuple[Reward, ...] = ()
    """What GRPO and RLOO learn from; empty where the rows say nothing about what is right."""
    choices: dict[str, str] = {}
    """What was chosen for the person (subset, split), and by which rule."""
    holdout: Holdout | None = None
    train_tokens: int = 0
    """Tokens of all training rows for one epoch, cut at `max_length`."""
    trained_tokens: int = 0
    """Those of `train_tokens` that carry loss."""
    loss_on: Literal["assistant", "completion", "all"] = "all"
    proof: str = ""
    """What TRL did with the sample, in one sentence."""
    sampling: str = ""
    """How many rows were read and how far their shares may be off; empty when every row was read."""
    fingerprint: str = ""
    """`sha256:…` over the mapped rows, in order."""
    seconds: float = 0.0


# --- pick_hardware ----------------------------------------------------------------------------------------------------


class Range(Fact):
    """A guess with its spread."""

    low: float
    expected: float
    high: float


class MemoryGib(Fact):
    """Peak memory in GiB, by what holds it."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    overhead: float
    reference: float = 0.0
    """The second model that DPO, KTO and RLOO compare with, or that a distillation learns from."""
    rollouts: float = 0.0
    """Keys and values of the completions that a model generates to learn from them."""
    gathered: float = 0.0
    """Weights and gradients of other GPUs' shares, where several GPUs share them."""
    total: float


class Candidate(Fact):
    """One way to run this job."""

    flavor: str
    adapter: Adapter
    precision: Precision
    batch: int
    accumulation: int = 1
    checkpointing: bool = False
    sharded: bool = False
    memory_gib: float
    usable_gib: float
    hours: float
    cost_usd: float
    fits: bool
    reason: str = ""


class HardwareChoice(Fact):
    """Where and how the run trains, and what that should take."""

    flavor: str
    adapter: Adapter
    precision: Precision
    batch: int
    accumulation: int
    max_length: int
    checkpointing: bool
    gpus: int = 0
    sharded: bool = False
    """Whether weights, gradients and moments are spread over the GPUs."""
    sharding: Sharding | None = None
    """How several GPUs train together, each with a process of its own (`accelerate launch`); None where there is one.

    With FSDP2 gradients must be summed after each batch (`sync_each_batch` in accelerate), as the memory counts on it.
    """
    memory_gib: MemoryGib
    """Of one GPU, or of the CPU."""
    hours: Range
    cost_usd: Range
    usd_per_hour: float = 0.0
    prices: str = ""
    """How fresh the prices are, in words; empty where nothing is paid."""
    timeout_s: int
    tokens: int
    """Tokens of the whole training, all epochs."""
    tokens_per_s: float
    """Predicted training throughput."""
    device: str = ""
    """What the throughput depends on: the GPU's name and number, or the CPU with its cores."""
    correction: float = 1.0
    """The factor in `tokens_per_s` that comes from finished trainings on this device."""
    epochs: float
    machine: str = ""
    """The flavor in words: cores, memory, GPU."""
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()


# --- write_script, preflight ------------------------------------------------------------------------------------------


class Parameter(Fact):
    """One value that the training uses, and where it comes from."""

    name: str
    value: Any
    origin: Literal["stated", "rule", "default"]
    reason: str = ""


class Script(Fact):
    """The training script as it was written."""

    path: str
    """Relative to the run folder."""
    sha256: str
    method: Method
    parameters: tuple[Parameter, ...]
    pins: tuple[str, ...]


class Check(Fact):
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str = ""


class PreflightReport(Fact):
    """What happened when this very script ran on a two-layer twin of the model."""

    script_sha256: str
    ok: bool
    seconds: float
    checks: tuple[Check, ...]
    log: str
    """Log file, relative to the run folder."""


# --- money ------------------------------------------------------------------------------------------------------------


class QuotePart(Fact):
    """What a job is expected to take that comes after the training: an evaluation, or an export."""

    purpose: Purpose
    flavor: str
    hours: Range
    cost_usd: Range
    reserve_usd: float
    """Price × timeout."""
    timeout_s: int
    reason: str = ""


class Quote(Fact):
    """What a job is expected to take, and the worst case that is reserved."""

    backend: str
    purpose: Purpose = "train"
    flavor: str
    script_sha256: str
    hours: Range
    cost_usd: Range
    reserve_usd: float
    """Price × timeout."""
    timeout_s: int
    parts: tuple[QuotePart, ...] = ()
    """Jobs that come after it under the same approval; their hours, costs and reserves are counted in those above."""
    uploads: str = ""
    """What leaves this machine with the job, and where to."""


class Approval(Fact):
    """Somebody allowed one quote."""

    quote: Quote
    by: str
    """`--yes`, `person`, `callable`."""


# --- submit_job, monitor_job ------------------------------------------------------------------------------------------


class JobIntent(Fact):
    """Written before anything is submitted, so that a crash never leads to a second job."""

    backend: str
    purpose: Purpose = "train"
    label: str
    attempt: int
    """Counted for each purpose."""
    script_sha256: str
    flavor: str = ""
    timeout_s: int


class Job(Fact):
    """A job that exists."""

    id: str
    backend: str
    purpose: Purpose = "train"
    flavor: str
    label: str
    attempt: int
    script_sha256: str
    submitted_at: datetime
    timeout_s: int
    log: str
    """Log file, relative to the run folder."""
    url: str | None = None


class Alert(Fact):
    """Something that was noticed while the job ran."""

    level: Literal["info", "warn", "error"]
    rule: str
    text: str
    step: int | None = None


class Failure(Fact):
    """Why a job ended, as far as the end of its log and its backend tell."""

    name: str
    """The class, one of `tools/failures/table.py`."""
    words: str
    """What happened, as a sentence without its full stop."""
    evidence: tuple[str, ...]
    """The lines that show it, cut to size, without secrets."""
    advice: str
    """What a person should do where no repair is left."""


class Course(Fact):
    """How a number went: the means of the first and of the last tenth of its points."""

    label: str
    first: float
    last: float


class JobReport(Fact):
    """How a job stands, or how it ended."""

    job_id: str
    purpose: Purpose = "train"
    stage: Stage
    health: Health
    reason: str
    seconds: float
    step: int | None = None
    first_loss: float | None = None
    """Mean training loss of the first tenth of the points."""
    last_loss: float | None = None
    """Mean training loss of the last tenth."""
    leading: Course | None = None
    """The number that leads the method, where that is not its loss."""
    tokens_per_s: float | None = None
    peak_memory_gib: float | None = None
    cost_usd: float = 0.0
    exit_code: int | None = None
    failure: Failure | None = None
    """Set where a job failed for a reason that is known."""
    alerts: tuple[Alert, ...] = ()
    result: dict[str, Any] = {}
    """The script's own `result.json`."""

    @property
    def course(self) -> Course | None:
        """The course of the number that leads the method, None before anything was logged."""
        if self.leading is not None or self.first_loss is None or self.last_loss is None:
            return self.leading
        return Course(label="loss", first=self.first_loss, last=self.last_loss)


# --- repair_run -------------------------------------------------------------------------------------------------------


class Change(Fact):
    """One value that a repair changes."""

    name: str
    old: Any
    new: Any


class Repair(Fact):
    """The answer to one failure: one bounded change, after which the run goes on; or that there is none."""

    job_id: str
    """The job that failed."""
    failure: Failure
    rung: Rung | None
    """None where nothing that may be changed would help: then a person must decide."""
    words: str
    """What is done, or why nothing is, in one sentence."""
    changes: tuple[Change, ...] = ()
    hardware: HardwareChoice | None = None
    """The choice from now on, where it changes."""
    overrides: dict[str, Any] = {}
    """Values of the script that the repair sets, from now on."""
    planned: dict[str, Any] = {}
    """Values of the script that a planner had set, and that stay."""
    rewrites: bool = False
    """Whether the script must be written anew."""
    starts_anew: bool = False
    """Whether the next job must not go on from what the last one left."""
    hours: Range | None = None
    """What the next job takes; None where there is none."""
    cost_usd: Range | None = None


# --- evaluate_model, export_gguf --------------------------------------------------------------------------------------


class Comparison(Fact):
    """Base against tuned on the same items, paired."""

    metric: str
    items: int
    higher_is_better: bool
    base: float
    tuned: float
    difference: float
    """tuned − base, in the metric's own unit."""
    ci95: tuple[float, float]
    """Paired bootstrap interval of the difference."""
    test: str
    p_value: float
    verdict: Verdict
    smallest: float | None = None
    """The smallest difference that this many items show in four of five cases; None where there is none to tell."""
    file: str = ""
    """The result of each item, relative to the run folder."""


class Sample(Fact):
    """One held-out row, answered by both."""

    prompt: str
    reference: str
    base: str
    tuned: str


class Evaluation(Fact):
    """Base and tuned model under the same harness."""

    comparisons: tuple[Comparison, ...]
    samples: tuple[Sample, ...]
    items: str
    """Per-item results of the leading comparison, relative to the run folder."""
    checkpoint: str
    job_id: str | None = None
    """The job that measured; None where this machine did."""
    seconds: float
    harness: str
    general: tuple[Comparison, ...] = ()
    """Beside the goal: what the training may have made the model forget."""
    files: dict[str, str] = {}
    """Files with per-item results, relative to the run folder, and their SHA-256; no score stands without one."""
    caveats: tuple[str, ...] = ()
    """What a reader of the scores must know, such as rows of a benchmark that were found in the training data."""

    @property
    def verdict(self) -> Verdict:
        """The verdict of the first, leading comparison."""
        return self.comparisons[0].verdict


class GgufProof(Fact):
    """What llama.cpp did with the file, beside what the merged model does in transformers."""

    loads: bool
    answer: str
    stops_at_eos: bool
    template_matches: bool
    tokens_per_s: float | None = None
    special_tokens: bool | None = None
    """Whether the special tokens of all held-out rows came out as themselves; None where an earlier version proved."""
    same_tokens: float | None = None
    """Share of the rows that are cut into the very tokens of the tokenizer."""
    perplexity: float | None = None
    reference_perplexity: float | None = None
    """Of the merged model, over the same tokens."""
    measured_tokens: int | None = None
    agreement: float | None = None
    """Share of the tokens of the merged model's greedy answers that the file, too, holds for the likeliest."""


class GgufFile(Fact):
    """One quantised file that was proven."""

    quantisation: str
    path: str
    size_bytes: int
    sha256: str
    proof: GgufProof
    importance: bool = False
    """Whether an importance matrix weighed in the quantisation."""


class Published(Fact):
    """What one repository on the Hub holds of this run."""

    kind: Literal["gguf", "model"]
    repo_id: str
    url: str
    private: bool
    files: dict[str, str]
    """Names of the large files in it, and their SHA-256."""
    kept: str = ""
    """What of its card a person wrote where ftagent would have written, and which therefore stayed."""


class Export(Fact):
    """All files that were asked for."""

    files: tuple[GgufFile, ...]
    merged: str
    job_id: str | None = None
    """The job that made them; None where this machine did."""
    seconds: float
    failed: dict[str, str] = {}
    """Quantisations whose file failed its proof, and why; such a file is neither kept nor published."""
    published: tuple[Published, ...] = ()


# --- schedule_run -----------------------------------------------------------------------------------------------------


class ScheduleQuote(Fact):
    """What a schedule may cost: firings × the worst case of one, which is price × timeout."""

    trigger: Trigger
    flavor: str
    script_sha256: str
    timeout_s: int
    once_usd: float
    """The worst case of one firing."""
    firings_a_month: float | None
    """None for a webhook: nobody knows how many commits come."""
    month_usd: float | None
    """The worst case of an average month."""


class ScheduleApproval(Fact):
    """A person allowed one schedule; nobody else can."""

    quote: ScheduleQuote
    by: str


class Schedule(Fact):
    """A run that is repeated on Hugging Face Jobs, or was."""

    id: str
    """Of the scheduled job, or of the webhook."""
    trigger: Trigger
    namespace: str
    label: str
    """By which it is found again."""
    flavor: str
    script_sha256: str
    pushes_to: str
    """Of a training, the repository of each firing: this, a hyphen, and the id of the firing's job. Of an evaluation,
    where the results go."""
    state: Literal["active", "suspended", "deleted"] = "active"
    source_job: str | None = None
    """For a webhook, the job of which each firing is a copy; it ended at once, without training."""


class SeriesScript(Fact):
    """The script that evaluates new checkpoints, as it ran here once on a tiny one."""

    path: str
    sha256: str
    repository: str
    """Whose checkpoints it looks for, and where its results go."""
    new: int
    """Checkpoints that were there when it was proven."""
    means: dict[str, float]
    """What it measured of the tiny one."""
    seconds: float
    log: str


class SeriesPoint(Fact):
    """One checkpoint, as a firing has found it."""

    label: str
    """Its commit's title, its tag, its branch or its folder."""
    step: int | None
    repository: str
    revision: str
    folder: str
    at: str
    """When it was pushed."""
    job: str | None
    """The firing that measured it."""
    rows_sha256: str
    """The held-out rows; only checkpoints on the same ones can be compared."""
    comparison: Comparison | None
    """Beside the base model; None where the checkpoint is broken, or the base was not measured yet."""
    broken: str = ""


class CheckpointSeries(Fact):
    """All checkpoints that were evaluated so far, oldest first."""

    repository: str
    points: tuple[SeriesPoint, ...]


# --- the run itself ---------------------------------------------------------------------------------------------------


class Ended(Fact):
    """How the run came to its end."""

    status: Literal["completed", "failed", "cancelled", "timed_out", "dry_run"]
    reason: str = ""


class Resumed(Fact):
    """Somebody took the run up again; what had failed may be tried anew."""

    script_sha256: str | None
    """Hash of `train.py` as it lies on disk now; a script that was edited by hand must pass preflight again."""
    keeps_failure: bool = False
    """Whether a failed job stays what it is, since its repair comes next."""


class LlmCall(Fact):
    """One call of the planner's LLM, booked when it was made."""

    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None when the provider's price is not known."""
    cached_tokens: int = 0
    """Of the prompt, those that the provider had in its cache."""
    call: str | None = None
    """The tool that was called; None where the reply was no call."""
    valid: bool | None = None
    """Whether the tool was legal and its arguments of its types; None in journals from before this was noted."""
    mended: bool = False
    """Whether the call was read from a reply that was not quite one."""


class Reopened(Fact):
    """A step is settled anew, before any job: what stood on it is to be done anew, too."""

    step: Literal["plan_run", "validate_dataset", "pick_hardware"]


class Answer(Fact):
    """What the person answered when the planner asked."""

    question: str
    answer: str


class Note(Fact):
    """Something worth keeping that settles nothing: a retry, a rail that took over, a refusal."""

    text: str
    code: str = ""
