"""Failures that pass: the same job again, from its last checkpoint or from its start."""

from __future__ import annotations

from .kinds import HTTP_ERROR, WAIT, FailureClass

PASSING = (
    FailureClass(
        name="rate_limited",
        words="the Hub asked for fewer requests",
        advice=WAIT,
        ladder=("again",),
        raised=rf"{HTTP_ERROR}\b.*\b429\b",
    ),
    FailureClass(
        name="server_error",
        words="the Hub, or another server, failed",
        advice=f"see https://status.huggingface.co, {WAIT}",
        ladder=("again",),
        raised=rf"{HTTP_ERROR}\b.*\b5\d\d (Internal|Bad Gateway|Service|Gateway|Server)",
    ),
    FailureClass(
        name="push_conflict",
        words="somebody else pushed to the same repository meanwhile",
        advice="push to a repository of the run's own",
        ladder=("again",),
        raised=rf"{HTTP_ERROR}\b.*\b(409|412) ",
    ),
    FailureClass(
        name="network",
        words="a server could not be reached",
        advice=f"check the connection and HF_ENDPOINT, {WAIT}",
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
)

CHECKPOINTS = (
    FailureClass(
        name="broken_checkpoint",
        words="the last checkpoint cannot be used",
        advice="put `checkpoint/` aside and start anew",
        ladder=("from_start",),
        raised=r"Can't find a valid checkpoint at|PytorchStreamReader failed|Ran out of input|Error\(s\) in loading state_dict"
        r"|size mismatch for|loaded state dict (has|contains)",
        frames=r"_load_from_checkpoint|_load_optimizer_and_scheduler|_load_rng_state|resume_from_checkpoint",
    ),
)
