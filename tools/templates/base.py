# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate==1.15.0",
#     "datasets==5.2.0",
#     "huggingface-hub==1.33.0",
#     "peft==0.21.2",
#     "torch==2.13.0",
#     "trackio==0.43.0",
#     "transformers==5.23.0",
#     "trl==1.16.0",
# ]
# ///
"""Training with TRL, from the rows to the saved model.

    python train.py                where the packages above are installed
    uv run train.py                anywhere: uv installs them first
    accelerate launch train.py     on several GPUs, a process each

Beside itself it writes `checkpoint/` (the trainer's checkpoints; at its root the finished adapter or model with its
tokenizer and card), `heldout.jsonl` (the rows that are not trained on) and `result.json`; metrics go to Trackio
(`trackio show`). Started again, it goes on from the last whole checkpoint of the same settings and data, here or on
the Hub. A loss that is no number ends it with exit code 3; short before its time is over it saves and ends with exit
code 4.
"""

import hashlib
import json
import math
import os
import random
import resource
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

# Before torch is imported: the threads of its OpenMP wait by spinning, which costs dear on a machine that does anything
# else (measured: five times the time, and twice with this).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")  # kernels of every length of a batch fill the memory

import torch
from datasets import Dataset, Features, Json, List, Value, disable_progress_bars, load_dataset
from huggingface_hub import HfApi, snapshot_download
from peft import LoraConfig
from transformers import AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from transformers.trainer_callback import ExportableState
from trl import SFTConfig, SFTTrainer
# <imports>
# </imports>

# --- what this run is: ftagent writes these values; its report has the reason for each --------------------------------

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
REVISION = None
LOADER = {"path": "json", "data_files": "rows.jsonl"}
SPLIT = "train"
LEFT_OUT = []
COLUMNS = {"prompt": "turns", "completion": "turns"}
PROJECT = "smollm2-135m-instruct-rows-sft"
RUN = "20260101-000000-0000"
TRACKIO_SPACE_ID = None
HUB_MODEL_ID = None
START = 1
LEARNS_FROM = None
TIMEOUT_S = 3600
CARD = {"base_model": "HuggingFaceTB/SmolLM2-135M-Instruct"}
PARAMETERS = ["adapter", "learning_rate"]

ADAPTER = "lora"
R = 16
LORA_ALPHA = 32
LORA_DROPOUT = 0.0
PRECISION = "fp32"
ACTIVATION_CHECKPOINTING = False
NUM_TRAIN_EPOCHS = 1.0
MAX_STEPS = -1
LEARNING_RATE = 0.0002
LR_SCHEDULER_TYPE = "cosine"
WARMUP_STEPS = 0.03
WEIGHT_DECAY = 0.0
PER_DEVICE_TRAIN_BATCH_SIZE = 4
GRADIENT_ACCUMULATION_STEPS = 1
MAX_TRAIN_SAMPLES = None
SAMPLING = "random"
SEED = 42
LOGGING_STEPS = 1
EVAL_STEPS = 0.5
EVAL_ROWS = 24
SAVE_TOTAL_LIMIT = 2
# <constants>
TASK = "CAUSAL_LM"
METRICS = []
# </constants>
# <own constants>
# </own constants>

# A rehearsal on a small model sets these; nothing else in the environment changes what is trained.
model = os.environ.get("FTAGENT_MODEL", MODEL)
home = Path(os.environ.get("FTAGENT_OUTPUT", Path(__file__).resolve().parent))
max_steps = int(os.environ.get("FTAGENT_MAX_STEPS", MAX_STEPS))
max_rows = int(os.environ.get("FTAGENT_ROWS", sys.maxsize))
# <rehearsal>
# </rehearsal>
# <own rehearsal>
# </own rehearsal>
hub_id = None if "FTAGENT_MODEL" in os.environ else HUB_MODEL_ID
space_id = None if "FTAGENT_MODEL" in os.environ else TRACKIO_SPACE_ID
loader, run_name = json.loads(os.environ.get("FTAGENT_DATA", "null")) or LOADER, RUN
if hub_id and "FTAGENT_SCHEDULED" in os.environ:  # started again and again: on the newest rows, and beside the others
    firing = os.environ["JOB_ID"]
    hub_id, run_name = f"{hub_id}-{firing}", f"{RUN}-{firing}"
    loader = LOADER | {"revision": "main"}

PACKAGES = ("accelerate", "datasets", "peft", "torch", "trackio", "transformers", "trl")
NUMBER = "__row__"  # a column with the number of each row, as `LEFT_OUT` counts them
NO_NUMBER, OUT_OF_TIME = 3, 4  # exit codes
# What may differ between two parts of one training; of the two batch sizes the product counts.
FREE = (
    "activation_checkpointing",
    "eval_rows",
    "eval_steps",
    "gradient_accumulation_steps",
    "logging_steps",
    "per_device_train_batch_size",
    "precision",
    "save_total_limit",
)
began = time.monotonic()
checkpoint = home / "checkpoint"
on_gpu = torch.cuda.is_available()
processes = int(os.environ.get("WORLD_SIZE", "1"))
is_first = os.environ.get("RANK", "0") == "0"  # of the processes of `accelerate launch`, the one that writes files

# --- data: what is held out, which rows are left out, and what the trainer sees of a row ------------------------------


# <functions>
def split_by_seed(rows):
    """Hold out a tenth of the rows, at least 1 and at most 200, drawn with a fixed seed."""
    parts = rows.train_test_split(test_size=max(1, min(200, len(rows) // 10)), seed=42)
    return parts["train"], parts["test"]


hold_out, why_not, mapping = split_by_seed, None, None
# </functions>


def load_rows() -> tuple[Dataset, Dataset]:
    """Return the rows to train on and the held-out ones, as the trainer takes them."""
    rows = load_dataset(**loader, split=SPLIT)
    rows = rows.add_column(NUMBER, list(range(len(rows))))
    parts = hold_out(rows) if hold_out else (rows, rows.select([]))
    train, heldout = (usable(spread(part, max_rows)) for part in parts)
    return prepare(taken(train)), prepare(heldout)


def usable(rows: Dataset) -> Dataset:
    """Leave out what cannot be trained on."""
    if LEFT_OUT:
        gone = set(LEFT_OUT)
        rows = rows.select([place for place, number in enumerate(rows[NUMBER]) if number not in gone])
    return rows.filter(lambda row: why_not(row) is None) if why_not else rows


def taken(rows: Dataset) -> Dataset:
    """Return the rows that are trained on where not all are to be; a number below 1 is a share of them."""
    most = len(rows) if MAX_TRAIN_SAMPLES is None else MAX_TRAIN_SAMPLES
    count = min(len(rows), most if most >= 1 else max(1, round(most * len(rows))))
    return rows.select(range(count)) if SAMPLING == "first" else spread(rows, count)


def prepare(rows: Dataset) -> Dataset:
    """Keep the trainer's columns only: it reads meaning into others."""
    if not mapping:
        return rows.select_columns(list(COLUMNS))
    # Types are stated, not guessed from the first rows; turns are kept as JSON, since Arrow would give each turn the
    # keys of all others, with nulls in them.
    types = {"turns": List(Json()), "json": Json(), "text": Value("string"), "flag": Value("bool")}
    features = Features({name: types.get(kind) or rows.features[name] for name, kind in COLUMNS.items()})
    unseen = [name for name in rows.column_names if name not in COLUMNS]
    return rows.map(mapping, remove_columns=unseen, features=features)


def spread(rows: Dataset, count: int) -> Dataset:
    """Return at most `count` rows from all over the set, drawn: at even steps, labels in turns would all be alike."""
    drawn = random.Random(42).sample(range(len(rows)), min(count, len(rows)))
    return rows.select(sorted(drawn))


def write_rows(rows: Dataset, path: Path) -> str:
    """Write one JSON object a line, and return the SHA-256 of the file."""
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if is_first:
        path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


# --- training ---------------------------------------------------------------------------------------------------------


class Watch(TrainerCallback, ExportableState):
    """Ends the training when its loss is no number, since all after that would be NaN too, and when time is over.

    It also writes down in each checkpoint of which training that is a part.
    """

    out_of_time = False

    def __init__(self, settings: dict):
        self.settings = settings

    def state(self):  # the trainer puts this into `trainer_state.json`
        return {"args": {"settings": self.settings}, "attributes": {}}

    def on_train_begin(self, args, state, control, **kwargs):
        self.started = time.monotonic()
        self.first_step = state.global_step
        if self.first_step and is_first:
            print(f"goes on from step {self.first_step}")  # what is logged from here on carries no step of its own
        self.tokens_before = state.num_input_tokens_seen

    def on_step_end(self, args, state, control, **kwargs):
        late = torch.tensor(float(time.monotonic() - began > 0.9 * TIMEOUT_S), device=args.device)
        if args.world_size > 1:  # the clocks of several processes differ, and all must stop at the same step
            torch.distributed.all_reduce(late, torch.distributed.ReduceOp.MAX)
        if late and state.global_step < state.max_steps:
            self.out_of_time = control.should_save = control.should_training_stop = True

    def on_log(self, args, state, control, logs=None, **kwargs):
        for name in ("loss", "eval_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                print(f"{name} is {logs[name]} at step {state.global_step}: training ends here", file=sys.stderr)
                sys.exit(NO_NUMBER)


def settings_of(train: Dataset) -> dict:
    """Return what two jobs must have in common for one to go on where the other ended."""
    used = {name: globals()[name.upper()] for name in PARAMETERS if name not in FREE}
    rows = json.dumps([len(train), train[:1], train[-1:]], default=lambda value: type(value).__name__, sort_keys=True)
    settings = {
        **used,
        "model": f"{MODEL} at {REVISION}",
        "data": hashlib.sha256(rows.encode()).hexdigest(),
        "rows of a step": PER_DEVICE_TRAIN_BATCH_SIZE * GRADIENT_ACCUMULATION_STEPS * processes,
        "start": START,
        "teacher or rewards": LEARNS_FROM,
    }
    return json.loads(json.dumps(settings))


def last_whole_checkpoint(settings: dict) -> Path | None:
    """Return this training's newest checkpoint that was written to its end, here or, with none here, on the Hub."""
    return newest_whole(settings) or (fetch_checkpoint(settings) if hub_id else None)


def newest_whole(settings: dict) -> Path | None:
    """Return the newest checkpoint below this folder that is whole; the trainer writes its state last."""
    for folder in sorted(checkpoint.glob("checkpoint-*"), key=lambda f: int(f.name.split("-")[1]), reverse=True):
        try:
            state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            print(f"{folder.name} was left half written: it is not used", file=sys.stderr)
            continue
        if belongs(state, settings, folder.name):
            return folder
        if is_first:  # its number may be higher than those to come: the trainer would keep it and remove them
            folder.rename(home / f"{folder.name}-of-{time.time_ns()}")
    return None


def belongs(state: dict, settings: dict, name: str) -> bool:
    """Tell whether a checkpoint is of this training, and say what differs where it is not."""
    noted = state.get("stateful_callbacks", {}).get("Watch", {}).get("args", {}).get("settings")
    if noted == settings:
        return True
    differing = sorted(key for key in settings.keys() | (noted or {}) if settings.get(key) != (noted or {}).get(key))
    what = f"of another training ({', '.join(differing)})" if noted else "of a training that nobody knows"
    print(f"{name} is {what}: it is not used", file=sys.stderr)
    return False


def fetch_checkpoint(settings: dict) -> Path | None:
    """Download what an earlier job has pushed as it saved, and return it as this folder's checkpoint.

    A Hub that does not answer is no Hub without a checkpoint: that ends the job, which is cheap to start again, while a
    training from the first step would push its own checkpoints over those that are there.
    """
    if not HfApi().file_exists(hub_id, "last-checkpoint/trainer_state.json"):  # nor its repository, perhaps
        return None
    snapshot_download(hub_id, allow_patterns="last-checkpoint/*", local_dir=checkpoint)
    state = json.loads((checkpoint / "last-checkpoint" / "trainer_state.json").read_text(encoding="utf-8"))
    if not belongs(state, settings, "last-checkpoint"):
        shutil.rmtree(checkpoint / "last-checkpoint")  # the trainer would push it again, beside its own
        return None
    return (checkpoint / "last-checkpoint").rename(checkpoint / f"checkpoint-{state['global_step']}")


def dtype() -> str:
    """Return how the weights are held: frozen ones on a GPU in the run's precision, all others in full."""
    if ADAPTER == "full" or not on_gpu:
        return "float32"
    return {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[PRECISION]


def config(evaluates: bool) -> SFTConfig:
    """Return every setting of the training; what is not here is TRL's default."""
    return SFTConfig(
        output_dir=str(checkpoint),
        model_init_kwargs={"dtype": dtype(), "revision": REVISION},
        # <settings>
        # </settings>
        # steps
        num_train_epochs=NUM_TRAIN_EPOCHS,
        max_steps=max_steps,
        per_device_train_batch_size=PER_DEVICE_TRAIN_BATCH_SIZE,
        gradient_accumulation_steps=GRADIENT_ACCUMULATION_STEPS,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type=LR_SCHEDULER_TYPE,
        warmup_steps=WARMUP_STEPS,  # below 1 it is a share of all steps
        weight_decay=WEIGHT_DECAY,
        seed=SEED,
        data_seed=SEED,
        # numbers and memory
        use_cpu=not torch.accelerator.is_available(),
        bf16=PRECISION == "bf16",
        fp16=PRECISION == "fp16" and on_gpu,
        activation_checkpointing=ACTIVATION_CHECKPOINTING,
        dataloader_pin_memory=on_gpu,
        # GPUs that share the weights (FSDP) would otherwise each keep all gradients, whole, until the step
        accelerator_config={
            "gradient_accumulation_kwargs": {"sync_each_batch": os.environ.get("ACCELERATE_USE_FSDP") == "true"}
        },
        # evaluation and checkpoints: a share of all steps, and always at the last one, which is kept: the best one
        # would be chosen by the very rows that judge the model afterwards
        eval_strategy="steps" if evaluates else "no",
        eval_steps=EVAL_STEPS,
        save_strategy="steps",
        save_steps=EVAL_STEPS,
        save_total_limit=SAVE_TOTAL_LIMIT,
        # logs
        logging_steps=LOGGING_STEPS if max_steps == MAX_STEPS else 1,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # it would hide the NaN that `Watch` looks for
        disable_tqdm=not sys.stderr.isatty(),
        report_to="trackio",
        project=PROJECT,
        run_name=run_name,
        trackio_space_id=space_id,
        trackio_static_space_id=False,  # by default a push to the Hub would publish the metrics, too
        # the Hub: each checkpoint leaves the machine as it is saved
        push_to_hub=hub_id is not None,
        hub_model_id=hub_id,
        hub_private_repo=True,
        hub_strategy="checkpoint",
    )


def lora() -> LoraConfig | None:
    """Return the adapter to train, or None when the weights themselves are trained."""
    if ADAPTER == "full":
        return None
    return LoraConfig(
        r=R, lora_alpha=LORA_ALPHA, lora_dropout=LORA_DROPOUT, target_modules="all-linear", task_type=TASK
    )


def quantization() -> BitsAndBytesConfig | None:
    """Return QLoRA's 4-bit base (arXiv 2305.14314); a rehearsal without a GPU leaves it out."""
    if ADAPTER != "qlora" or not on_gpu:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype(),
        bnb_4bit_quant_storage=dtype(),  # as FSDP wants it, which cuts up nothing but floats
    )


def peak_memory_gib() -> float:
    """Return the most memory that was in use, of the GPU where there is one; macOS counts in bytes, Linux in KiB."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


# <method>
# </method>


# --- the finished model -----------------------------------------------------------------------------------------------


def first_and_last(values: list[float]) -> tuple[float, float] | tuple[None, None]:
    """Return the means of the first and of the last tenth of what was logged."""
    tenth = max(1, len(values) // 10)
    return (sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth) if values else (None, None)


def results(trainer: SFTTrainer, watch: Watch) -> dict:
    """Return every number that a report may show."""
    state = trainer.state
    logged = {name: [entry[name] for entry in state.log_history if name in entry] for name in ("loss", *METRICS)}
    evaluated = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
    seconds = time.monotonic() - watch.started
    return {
        "train_loss": sum(logged["loss"]) / len(logged["loss"]),
        "first_loss": logged["loss"][0],
        "last_loss": logged["loss"][-1],
        "eval_loss": evaluated[-1] if evaluated else None,
        "metrics": {name: first_and_last(logged[name]) for name in METRICS},
        "steps": state.global_step,
        "epochs": state.epoch,
        "resumed_from": watch.first_step or None,
        "tokens": state.num_input_tokens_seen,
        "seconds": seconds,
        "tokens_per_s": (state.num_input_tokens_seen - watch.tokens_before) / seconds,
        "peak_memory_gib": peak_memory_gib(),
        "trainable_parameters": trainer.model.num_parameters(only_trainable=True),
        "processes": trainer.args.world_size,
        "device": torch.cuda.get_device_name() if on_gpu else f"cpu, {torch.get_num_threads()} threads",
        "versions": {name: version(name) for name in PACKAGES},
    }


def card(result: dict) -> str:
    """Return the model card: what the model was made from, how, and what the training measured."""
    front = "".join(f"{name}: {json.dumps(value)}\n" for name, value in CARD.items())
    used = {name: globals()[name.upper()] for name in PARAMETERS}
    measured = {name: value for name, value in result.items() if isinstance(value, int | float)}
    tables = [
        f"## {title}\n\n| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in table.items())
        for title, table in (("Parameters", used), ("Training", measured), ("Versions", result["versions"]))
    ]
    return f"---\n{front}---\n\n# {PROJECT}\n\n" + "\n".join(tables)


def publish() -> None:
    """Push what a user of the model needs, and what the numbers stand on, to the private repository on the Hub."""
    hub = HfApi()
    hub.upload_folder(repo_id=hub_id, folder_path=checkpoint, ignore_patterns=["checkpoint-*", "last-checkpoint"])
    for name in ("result.json", "heldout.jsonl"):
        hub.upload_file(repo_id=hub_id, path_or_fileobj=home / name, path_in_repo=name)


if __name__ == "__main__":
    home.mkdir(parents=True, exist_ok=True)
    if not sys.stderr.isatty():
        disable_progress_bars()

    # --- data
    train, heldout = load_rows()
    heldout_sha256 = write_rows(heldout, home / "heldout.jsonl")
    tokenizer = AutoTokenizer.from_pretrained(model, revision=REVISION)
    tokenizer.padding_side = "right"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    # --- model and trainer
    settings = settings_of(train)
    watch = Watch(settings)
    trainer = SFTTrainer(
        model,
        args=config(evaluates=len(heldout) > 0),
        train_dataset=train,
        eval_dataset=spread(heldout, EVAL_ROWS) if len(heldout) else None,
        processing_class=tokenizer,
        peft_config=lora(),
        quantization_config=quantization(),
        callbacks=[watch],
        # <trainer>
        # </trainer>
    )
    # <held>
    # </held>
    trained_tokens = trained(trainer.train_dataset)
    print(f"{len(train)} rows to train on with {trained_tokens} trained tokens, {len(heldout)} rows held out")
    if trained_tokens == 0:
        sys.exit("every label is masked (-100), nothing would be learned: check the mapping and MAX_LENGTH")

    # --- train, save
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(settings))
    if watch.out_of_time:
        print(f"time is almost over: saved at step {trainer.state.global_step}; start again to go on", file=sys.stderr)
        trainer.accelerator.end_training()
        sys.exit(OUT_OF_TIME)
    result = results(trainer, watch) | {
        "trained_tokens": trained_tokens and round(trained_tokens * trainer.state.epoch),
        "train_rows": len(train),
        "heldout_rows": len(heldout),
        "heldout_sha256": heldout_sha256,
    }
    trainer.save_model(str(checkpoint))

    # --- result
    if trainer.is_world_process_zero():
        (home / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
        (checkpoint / "README.md").write_text(card(result), encoding="utf-8")
        if hub_id:
            publish()
        print(f"done: {result['steps']} steps, held-out loss {result['eval_loss']}, {result['seconds']:.0f} s")
    trainer.accelerator.end_training()  # threads that still listen to other processes when Python ends would abort it
