"""The classes of failure, one entry each: what shows it, what a person should know, and the repairs in their order.

A class with a ladder can be mended without a person; each rung is one bounded change, tried once. A class without one
is for a person, and `advice` says what they should do.

Patterns are as narrow as the libraries' own words allow, since a log holds foreign text. They were taken from the logs
in `tests/failures/corpus`, each of which says where its shape comes from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..facts import Health, Rung

Where = Literal["raised", "frames", "said", "reason"]
"""The exception that ended it with its message, its whole traceback, a line beside tracebacks, the backend's reason."""


@dataclass(frozen=True, kw_only=True)
class FailureClass:
    """One way for a job to end."""

    name: str
    words: str
    """What happened, as a sentence without its full stop."""
    advice: str
    """What a person should do when no repair is left."""
    ladder: tuple[Rung, ...] = ()
    raised: str = ""
    """Searched in `Type: message` of the exceptions that ended the script."""
    frames: str = ""
    """Where it is set, the traceback must show this, too."""
    said: str = ""
    """Matched from the start of a line beside tracebacks."""
    reason: str = ""
    """Searched in the backend's own reason."""
    exits: frozenset[int] = frozenset()
    """Exit codes that say it all."""
    weak: bool = False
    """Whether it tends to follow from what another process died of, which is looked for before it."""
    wraps: bool = False
    """Whether it tends to wrap what happened, which is looked for inside its chain."""
    health: Health = "failed"

    def matches(self, where: Where, text: str) -> bool:
        """Whether `text`, found at `where`, shows this class."""
        pattern = getattr(self, where)
        return bool(pattern) and re.search(f"^(?:{pattern})" if where == "said" else pattern, text) is not None


_HTTP = r"^(\S+\.)?(HfHubHTTPError|HTTPStatusError|HTTPError|BadRequestError)"
_LAST = r"(?![\s\S]*\n  File )"
"""Of a traceback's frames, the last."""
_MEMORY: tuple[Rung, ...] = ("smaller_batch", "checkpointing", "larger_flavor")
_WAIT = "wait a little, then `ftagent resume`"

CLASSES: tuple[FailureClass, ...] = (
    # --- memory and disk ----------------------------------------------------------------------------------------------
    FailureClass(
        name="cuda_memory",
        words="the GPU's memory was full",
        advice="allow a shorter max_length, a smaller batch, QLoRA, or a larger GPU",
        ladder=_MEMORY,
        raised=r"^(\S+\.)?OutOfMemoryError: (CUDA out of memory|Caught OutOfMemoryError)|^RuntimeError: CUDA out of memory"
        r"|^\S*Error: CUDA (driver )?error: (out of memory|CUBLAS_STATUS_ALLOC_FAILED)",
        said=r"\s*what\(\):  (CUDA out of memory|CUDA error: out of memory)",
        health="out_of_memory",
    ),
    FailureClass(
        name="host_memory",
        words="the machine's memory was full",
        advice="close other programs, or allow a smaller batch, a shorter max_length or a larger machine",
        ladder=_MEMORY,
        raised=r"^(\S+\.)?_?(Array)?MemoryError\b|^RuntimeError: .*can't allocate memory|^OSError: \[Errno 12\]"
        r"|^RuntimeError: DataLoader worker \(pid \d+\) is killed by signal: Killed",
        said=r"slurmstepd: error: Detected \d+ oom.kill|srun: error: .*: Out Of Memory|Killed$|Out of memory: Killed process",
        reason=r"out of memory|OOMKilled|low on resource: memory",
        health="out_of_memory",
    ),
    FailureClass(
        name="shared_memory",
        words="the machine's shared memory was full",
        advice="give the container more of it (`--shm-size 8g`), or load the data without worker processes",
        raised=r"^RuntimeError: DataLoader worker .* Bus error|^RuntimeError: unable to (open|allocate|mmap) .*shared memory",
        said=r"ERROR: Unexpected bus error encountered in worker\.",
    ),
    FailureClass(
        name="disk_full",
        words="the disk was full",
        advice="free some space on the disk of the working folder (old runs' `checkpoint/` and the caches below "
        "`~/.cache` are the largest), or choose another folder with --workdir",
        ladder=("fewer_checkpoints",),
        raised=r"^(OSError|RuntimeError|(\S+\.)?(SafetensorError|ArrowException|DatasetGenerationError|OperationalError))\b.*"
        r"(No space left on device|Disk quota exceeded|database or disk is full|PytorchStreamWriter failed writing"
        r"|unexpected pos \d|Not enough disk space)",
        reason=r"ephemeral.storage|DiskPressure",
    ),
    FailureClass(
        name="not_writable",
        words="a folder could not be written",
        advice="give the job a folder that it may write to",
        raised=r"^PermissionError: \[Errno 13\]|^OSError: \[Errno 30\]",
    ),
    FailureClass(
        name="open_files",
        words="too many files were open",
        advice="raise the limit with `ulimit -n 4096`",
        raised=r"^OSError: \[Errno 24\]",
    ),
    # --- time and numbers ---------------------------------------------------------------------------------------------
    FailureClass(
        name="timeout",
        words="it ran longer than its limit",
        advice="allow more hours, or ask for fewer epochs or steps",
        ladder=("more_time",),
        said=r"slurmstepd: error: \*\*\* (JOB|STEP) .* DUE TO TIME LIMIT",
        reason=r"ran longer than its limit|[Tt]imeout (reached|exceeded)|[Jj]ob timeout|DeadlineExceeded",
        health="timed_out",
    ),
    FailureClass(
        name="not_finite",
        words="the loss was no number any more",
        advice="lower the learning rate, or look for rows without an answer",
        ladder=("lower_learning_rate", "full_precision"),
        raised=r"^Exception: Current loss scale already at minimum|^FloatingPointError: Minimum loss scale reached",
        said=r"\w*loss is (nan|inf|-inf) at step \d+: training ends here",
        reason=r"is NaN or infinite at step",
        exits=frozenset({3}),
        health="diverged",
    ),
    FailureClass(
        name="diverged",
        words="the loss rose far above its start",
        advice="lower the learning rate, or train with more warm-up",
        ladder=("lower_learning_rate",),
        reason=r"the loss has been above",
        health="diverged",
    ),
    FailureClass(
        name="precision",
        words="the hardware does not compute in this precision",
        advice="choose another precision or a GPU of compute capability 8.0 or more",
        ladder=("other_precision",),
        raised=r"^(ValueError|RuntimeError|NotImplementedError): (Your setup doesn't support bf16|Bfloat16 is only supported"
        r"|Attempting to unscale FP16 gradients|.* not implemented for '(Half|BFloat16)'|fp16 mixed precision requires a)",
    ),
    # --- what passes: the same job again, from its last checkpoint ----------------------------------------------------
    FailureClass(
        name="rate_limited",
        words="the Hub asked for fewer requests",
        advice=_WAIT,
        ladder=("again",),
        raised=rf"{_HTTP}\b.*\b429\b",
    ),
    FailureClass(
        name="server_error",
        words="the Hub, or another server, failed",
        advice=f"see https://status.huggingface.co, {_WAIT}",
        ladder=("again",),
        raised=rf"{_HTTP}\b.*\b5\d\d (Internal|Bad Gateway|Service|Gateway|Server)",
    ),
    FailureClass(
        name="push_conflict",
        words="somebody else pushed to the same repository meanwhile",
        advice="push to a repository of the run's own",
        ladder=("again",),
        raised=rf"{_HTTP}\b.*\b(409|412) ",
    ),
    FailureClass(
        name="network",
        words="a server could not be reached",
        advice=f"check the connection and HF_ENDPOINT, {_WAIT}",
        ladder=("again",),
        raised=r"^(\S+\.)?(ConnectError|ConnectTimeout|ReadTimeout|ReadError|RemoteProtocolError|ConnectionError"
        r"|ConnectionResetError|ChunkedEncodingError|IncompleteRead|ProxyError|SSLError|OfflineModeIsEnabled"
        r"|NewConnectionError|MaxRetryError|gaierror|LocalEntryNotFoundError)\b|^OSError: We couldn't connect to '",
        said=r"(error: |  [├╰]─▶ |  cause: |\s*Caused by: )(Failed to fetch|Request failed after|error sending request"
        r"|Failed to download)",
    ),
    FailureClass(
        name="preempted",
        words="the machine was taken away, or went down",
        advice="`ftagent resume` goes on from the last checkpoint",
        ladder=("again",),
        said=r"slurmstepd: error: \*\*\* (JOB|STEP) .* DUE TO (PREEMPTION|NODE FAILURE)",
        reason=r"ended from outside by SIG(TERM|INT|HUP)|killed by SIGTERM|the supervisor is gone|[Pp]reempt|[Ss]pot "
        r"(instance|interruption)|NodeShutdown|node .*(was|is) (shut|lost)|Evicted",
        exits=frozenset({-15, 143}),
    ),
    FailureClass(
        name="image_pull",
        words="the image of the job could not be pulled",
        advice="check that the image exists and may be pulled",
        ladder=("again",),
        said=r"(Error: )?(ErrImagePull|ImagePullBackOff)|Failed to pull image|toomanyrequests: ",
        reason=r"ErrImagePull|ImagePullBackOff|[Ff]ailed to pull image|toomanyrequests",
    ),
    FailureClass(
        name="killed",
        words="something killed it",
        advice="look who did: the kernel's log names a process that ran out of memory",
        ladder=("again",),
        exits=frozenset({-9, 137}),
    ),
    FailureClass(
        name="gpu_broken",
        words="a GPU failed",
        advice="train on another machine: this GPU is faulty",
        ladder=("again",),
        raised=r"^\S*Error: CUDA error: (uncorrectable ECC error|unspecified launch failure|hardware stack error"
        r"|CUDA-capable device\(s\) is/are busy|.*NVLink|GPU is lost)",
        said=r"\s*what\(\):  CUDA error: (uncorrectable ECC|unspecified launch)|NVRM: Xid",
    ),
    FailureClass(
        name="collective",
        words="the processes of the training lost each other",
        advice="train on one GPU, or look at the network between them",
        ladder=("again",),
        raised=r"^(\S+\.)?(DistBackendError|DistStoreError|DistNetworkError)\b|^RuntimeError: (NCCL error|\[.*/gloo/|Gloo )"
        r"|^RuntimeError: .*(Connection closed by peer|Timed out waiting \d+ms|Wait timeout)",
        said=r"\[(E|rank\d+\]:\[E)\S* .*(Watchdog caught collective operation timeout|collective operation timeout)"
        r"|\s*what\(\):  \[.*(Rank \d+\] Watchdog|NCCL)|.*terminate called after throwing .*DistBackendError",
        weak=True,
    ),
    FailureClass(
        name="rank_died",
        words="one process of the training died without a word",
        advice="look at the kernel's log: it may have run out of memory",
        ladder=("again",),
        raised=r"^(\S+\.)?(ChildFailedError|CalledProcessError|SignalException|ProcessExitedException)\b",
        weak=True,
    ),
    # --- checkpoints --------------------------------------------------------------------------------------------------
    FailureClass(
        name="broken_checkpoint",
        words="the last checkpoint cannot be used",
        advice="put `checkpoint/` aside and start anew",
        ladder=("from_start",),
        raised=r"Can't find a valid checkpoint at|PytorchStreamReader failed|Ran out of input|Error\(s\) in loading state_dict"
        r"|size mismatch for|loaded state dict (has|contains)",
        frames=r"_load_from_checkpoint|_load_optimizer_and_scheduler|_load_rng_state|resume_from_checkpoint",
    ),
    # --- data ---------------------------------------------------------------------------------------------------------
    FailureClass(
        name="nothing_to_learn",
        words="no row was left to learn from",
        advice="check which rows are kept, and max_length",
        raised=r"num_samples should be a positive integer value|num_samples=0|^StopIteration$",
        said=r"every label is masked \(-100\)",
    ),
    FailureClass(
        name="dataset_part",
        words="the dataset has no such split or subset",
        advice="name one that it has, as the message lists them",
        raised=r"Unknown split \"|BuilderConfig '?.*'? ?not found|Config name is missing|Bad split: ",
    ),
    FailureClass(
        name="dataset_script",
        words="the dataset is loaded by a script, which `datasets` no longer runs",
        advice='use its Parquet branch (`revision="refs/convert/parquet"`), or another dataset',
        raised=r"Dataset scripts are no longer supported",
    ),
    FailureClass(
        name="broken_rows",
        words="some rows cannot be read",
        advice="call validate_dataset again: it names the rows",
        raised=r"DatasetGenerationError|DatasetGenerationCastError|DataFilesNotFoundError|ArrowInvalid|JSONDecodeError"
        r"|CSV parse error|Error tokenizing data",
        wraps=True,
    ),
    FailureClass(
        name="missing_column",
        words="the trainer misses a column",
        advice="call validate_dataset again: the dataset has changed since, or the mapping of this run is not for it",
        raised=r"^(KeyError: ['\"]|KeyError: Caught KeyError in DataLoader)|Column name .* not in the dataset"
        r"|Column '.*' doesn't exist|column names .* (don't|do not) match|Column to remove .* not in the dataset",
        frames=rf'(/(datasets|trl)/[^"]*", line \d+, in .*|/train\.py", line \d+, in (<lambda>|__getitem__|\w*map\w*)){_LAST}',
    ),
    # --- tokenizers and models ----------------------------------------------------------------------------------------
    FailureClass(
        name="chat_template",
        words="the tokenizer's chat template does not take these chats",
        advice="train on an instruct model, or on plain prompts and completions",
        raised=r"chat_template is not set|jinja2\.exceptions\.\w+|Conversation roles must alternate|\{% generation %\}"
        r"|assistant_masks|return_assistant_tokens_mask|chat template",
    ),
    FailureClass(
        name="padding_token",
        words="the tokenizer has no padding token",
        advice="choose a model whose tokenizer has one",
        raised=r"does not have a padding token",
    ),
    FailureClass(
        name="token_range",
        words="the tokenizer has tokens that the model has no weights for",
        advice="use the model's own tokenizer",
        raised=r"CUDA error: device-side assert triggered|index out of range in self|srcIndex < srcSelectDimSize",
        said=r"\S*Indexing\.cu:\d+: .* Assertion `",
    ),
    FailureClass(
        name="adapter_targets",
        words="the adapter finds no layer to attach to",
        advice="let LoRA go onto all linear layers",
        raised=r"Target modules .* not found in the base model|No modules were targeted for adaptation"
        r"|Please specify `target_modules`",
    ),
    FailureClass(
        name="unknown_architecture",
        words="the installed transformers does not know this architecture",
        advice="upgrade transformers, or choose another model",
        raised=r"does not recognize this architecture|Unrecognized (model in|configuration class)",
    ),
    FailureClass(
        name="remote_code",
        words="the model's repository wants to run code of its own",
        advice="read that code; ftagent does not run it",
        raised=r"trust_remote_code=True|requires you to execute the",
    ),
    FailureClass(
        name="tied_weights",
        words="weights that are shared cannot be saved apart",
        advice="save with `save_pretrained`, which knows what is tied",
        raised=r"Some tensors share memory|shared tensors .* mismatch|removed shared tensor",
    ),
    FailureClass(
        name="broken_model",
        words="files of the model are missing or damaged",
        advice="remove the model's folder from the cache (`hf cache rm`), so that it is downloaded anew",
        raised=r"no file named .*(safetensors|bin)|SafetensorError: Error while deserializing|(Header|header) ?(TooLarge|too large)"
        r"|InvalidHeader|MetadataIncompleteBuffer|Can't load tokenizer for|Couldn't instantiate the backend tokenizer"
        r"|Unable to load weights from|Can't load the configuration of",
    ),
    # --- access -------------------------------------------------------------------------------------------------------
    FailureClass(
        name="gated",
        words="the repository is gated",
        advice="ask for access on its page, then `ftagent resume`",
        raised=r"GatedRepoError|trying to access a gated repo|is a gated dataset|is gated\b|Access to (model|dataset) .* is restricted",
    ),
    FailureClass(
        name="payment",
        words="the account's credit does not pay for this",
        advice="add credit at https://huggingface.co/settings/billing",
        raised=rf"{_HTTP}\b.*\b402\b",
        reason=r"402|Payment Required|credit balance",
    ),
    FailureClass(
        name="storage_quota",
        words="the account's storage on the Hub is used up",
        advice="free some at https://huggingface.co/settings/storage, or push to another namespace",
        raised=rf"{_HTTP}\b[\s\S]*([Ss]torage (limit|quota)|exceeded your .*storage)",
    ),
    FailureClass(
        name="no_write",
        words="the token may not write there",
        advice="create a token with write access to this namespace: https://huggingface.co/settings/tokens",
        raised=rf"{_HTTP}\b.*\b403\b",
    ),
    FailureClass(
        name="no_token",
        words="there is no token, or it is not valid",
        advice="log in with `hf auth login`, or set HF_TOKEN",
        raised=rf"{_HTTP}\b.*\b401\b|^(\S+\.)?LocalTokenNotFoundError\b",
    ),
    FailureClass(
        name="push_rejected",
        words="the Hub refused what was pushed",
        advice="read the message: it names the file or the field",
        raised=rf"{_HTTP}\b.*\b(400|413|422)\b|pre-receive hook declined",
    ),
    FailureClass(
        name="not_found",
        words="a model, dataset or file is not there",
        advice="check its name and whether the token may see it",
        raised=r"RepositoryNotFoundError|RevisionNotFoundError|EntryNotFoundError|DatasetNotFoundError|Unable to find '"
        r"|is not a local folder and is not a valid model identifier|is not a valid git identifier",
    ),
    # --- packages and the machine's software --------------------------------------------------------------------------
    FailureClass(
        name="flash_attention",
        words="FlashAttention is not installed, or does not run on this GPU",
        advice="leave attn_implementation out: SDPA needs nothing",
        raised=r"FlashAttention\w* (has been toggled on|only supports)|flash_attn",
    ),
    FailureClass(
        name="quantizer",
        words="bitsandbytes is not installed, or finds no GPU",
        advice="train with LoRA instead of QLoRA, or on a CUDA GPU",
        raised=r"bitsandbytes|No GPU found\. A GPU is needed for quantization",
    ),
    FailureClass(
        name="driver",
        words="the machine's driver and this build of torch do not go together",
        advice="choose another flavor, or the image that goes with its driver",
        raised=r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|no kernel image is available"
        r"|forward compatibility was attempted|CUDA initialization: ",
    ),
    FailureClass(
        name="cudnn",
        words="cuDNN failed",
        advice="train with a smaller batch: it often is memory; else choose another image",
        raised=r"CUDNN_STATUS_\w+|cuDNN error",
    ),
    FailureClass(
        name="illegal_access",
        words="a GPU kernel read where it must not",
        advice="run once with CUDA_LAUNCH_BLOCKING=1: it names the kernel",
        raised=r"an illegal memory access was encountered|misaligned address",
        said=r"\s*what\(\):  CUDA error: an illegal memory access",
    ),
    FailureClass(
        name="no_gpu",
        words="the script wants a GPU, and finds none",
        advice="choose a flavor with a GPU, or let ftagent choose",
        raised=r"No CUDA GPUs are available|Found no NVIDIA driver|Torch not compiled with CUDA enabled"
        r"|torch\.cuda\.is_available\(\) is False|invalid device ordinal",
    ),
    FailureClass(
        name="compiler",
        words="a C compiler is missing",
        advice="use an image with gcc",
        raised=r"Failed to find C compiler|ninja is required|CUDA_HOME environment variable is not set",
    ),
    FailureClass(
        name="unsolvable",
        words="the pinned packages cannot be installed together",
        advice="see which one the message names",
        ladder=("rewrite",),
        said=r"(error: |\s*× )?No solution found when resolving|ERROR: (Could not find a version|No matching distribution|Cannot install)"
        r"|error: Requirements contain conflicting|\s*× Failed to (build|download)",
    ),
    FailureClass(
        name="missing_package",
        words="a package is not installed",
        advice="install it beside the script's other packages",
        ladder=("rewrite",),
        raised=r"ModuleNotFoundError: No module named|requires \w+ to be installed|PackageNotFoundError|requires the .* library",
    ),
    FailureClass(
        name="wrong_import",
        words="an installed package is of another version than the script was written for",
        advice="install the versions that the script's head pins",
        ladder=("rewrite",),
        raised=r"ImportError: cannot import name|AttributeError: module '(trl|transformers|peft|torch|datasets)",
    ),
    FailureClass(
        name="wrong_argument",
        words="a library refused one of the script's arguments",
        advice="install the versions that the script's head pins, or mend the argument that it names in train.py",
        ladder=("rewrite",),
        raised=r"TypeError: .*(got an unexpected keyword argument|missing \d+ required|takes \d+ positional)"
        r"|load_best_model_at_end requires|No reward source provided|mutually exclusive",
    ),
    FailureClass(
        name="native_crash",
        words="it crashed outside Python",
        advice="read the end of the log; a crash that comes back is a bug of a library",
        exits=frozenset({-4, -6, -7, -8, -11, 132, 134, 135, 136, 139}),
    ),
)
BY_NAME = {entry.name: entry for entry in CLASSES}
