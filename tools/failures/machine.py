"""Failures of the machine that a job has: its memory, its disk, its time, and numbers that overflow."""

from __future__ import annotations

from .kinds import LESS_MEMORY, FailureClass

MEMORY = (
    FailureClass(
        name="cuda_memory",
        words="the GPU's memory was full",
        advice="allow a shorter max_length, a smaller batch, QLoRA, or a larger GPU",
        ladder=LESS_MEMORY,
        raised=r"^(\S+\.)?OutOfMemoryError: (CUDA out of memory|Caught OutOfMemoryError)|^RuntimeError: CUDA out of memory"
        r"|^\S*Error: CUDA (driver )?error: (out of memory|CUBLAS_STATUS_ALLOC_FAILED)",
        said=r"\s*what\(\):  (CUDA out of memory|CUDA error: out of memory)",
        health="out_of_memory",
    ),
    FailureClass(
        name="host_memory",
        words="the machine's memory was full",
        advice="close other programs, or allow a smaller batch, a shorter max_length or a larger machine",
        ladder=LESS_MEMORY,
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
)

TIME = (
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
)
