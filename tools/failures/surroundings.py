"""Failures of what a job stands on: access to the Hub, packages, the machine's software."""

from __future__ import annotations

from .kinds import HTTP_ERROR, FailureClass

ACCESS = (
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
        raised=rf"{HTTP_ERROR}\b.*\b402\b",
        reason=r"402|Payment Required|credit balance",
    ),
    FailureClass(
        name="storage_quota",
        words="the account's storage on the Hub is used up",
        advice="free some at https://huggingface.co/settings/storage, or push to another namespace",
        raised=rf"{HTTP_ERROR}\b[\s\S]*([Ss]torage (limit|quota)|exceeded your .*storage)",
    ),
    FailureClass(
        name="no_write",
        words="the token may not write there",
        advice="create a token with write access to this namespace: https://huggingface.co/settings/tokens",
        raised=rf"{HTTP_ERROR}\b.*\b403\b",
    ),
    FailureClass(
        name="no_token",
        words="there is no token, or it is not valid",
        advice="log in with `hf auth login`, or set HF_TOKEN",
        raised=rf"{HTTP_ERROR}\b.*\b401\b|^(\S+\.)?LocalTokenNotFoundError\b",
    ),
    FailureClass(
        name="push_rejected",
        words="the Hub refused what was pushed",
        advice="read the message: it names the file or the field",
        raised=rf"{HTTP_ERROR}\b.*\b(400|413|422)\b|pre-receive hook declined",
    ),
    FailureClass(
        name="not_found",
        words="a model, dataset or file is not there",
        advice="check its name and whether the token may see it",
        raised=r"RepositoryNotFoundError|RevisionNotFoundError|EntryNotFoundError|DatasetNotFoundError|Unable to find '"
        r"|is not a local folder and is not a valid model identifier|is not a valid git identifier",
    ),
)

SOFTWARE = (
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
