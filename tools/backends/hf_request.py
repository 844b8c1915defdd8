"""What is asked of Hugging Face Jobs: one request that has everything in it, the training script as well."""

from __future__ import annotations

import base64
import gzip
import shlex
from typing import Any

from ..errors import InputError, ToolError
from ..facts import HardwareChoice, Job, JobIntent, Spec
from ..launch import launch_arguments
from ..run import Run
from .hf_results import owner_of, repository_of

IMAGE = "ghcr.io/astral-sh/uv:0.10.12-python3.12-bookworm"
PYTHON = "3.12"
RUN_LABEL = "ftagent-run"
SCRIPT, SCRIPT_VARIABLE = "train.py", "TRAIN_PY"
UNPACK = (
    f'cd "$(mktemp -d)" && printf %s "${SCRIPT_VARIABLE}" | base64 -d | gunzip > {SCRIPT} && unset {SCRIPT_VARIABLE}'
)
LONGEST_VARIABLE = 120_000
"""Linux passes no variable of 128 KiB or more to a process (`MAX_ARG_STRLEN`)."""


def namespace_of(run: Run) -> str:
    """Return who owns the run's jobs: whoever owns the repository that its script pushes to.

    Raises:
        UserError: The Hub does not say who we are.
    """
    repo_id = repository_of(script_of(run)) if run.script else None
    return repo_id.split("/")[0] if repo_id else owner_of(run)


def script_of(run: Run) -> str:
    """Return the text of the training script."""
    assert run.script is not None
    return (run.folder / run.script.path).read_text(encoding="utf-8")


def refuse_local_inputs(spec: Spec) -> None:
    """Refuse what a job could not read where it runs.

    Raises:
        InputError: The model, the teacher or the dataset lies on this machine only.
    """
    for what, ref in (("model", spec.model_ref), ("teacher", spec.teacher_ref), ("dataset", spec.dataset_ref)):
        if ref is not None and ref.source in ("file", "folder", "package"):
            kind = "dataset" if what == "dataset" else "model"
            raise InputError(
                f"the {what} `{ref.id}` lies on this machine, and a job on the Hub cannot read it.",
                hint=f"push it to a (private) {kind} repository and name that, or use --backend local",
            )


def request_for(run: Run, intent: JobIntent, script: str) -> dict[str, Any]:
    """Return the arguments of `run_job` for an intended job."""
    named = {"labels": labels_of(intent), "name": f"{intent.label}-{intent.attempt}"}
    return job_spec(run, script, intent.timeout_s) | named


def job_spec(run: Run, script: str, timeout_s: int) -> dict[str, Any]:
    """Return what a job of this script is, but for its name; of secrets there is one, and it is nowhere else in it.

    Raises:
        ToolError: The script is too long to travel with a job.
        UserError: The Hub does not say who we are.
    """
    from huggingface_hub import get_token

    assert run.hardware is not None
    pins = run.script.pins if run.script else ()
    packed = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()
    if len(packed) > LONGEST_VARIABLE:
        raise ToolError(
            f"the script has {len(packed)} bytes when packed; {LONGEST_VARIABLE} travel with a job.",
            hint="a filter that leaves out fewer single rows makes it shorter",
        )
    return {
        "image": IMAGE,
        "command": ["bash", "-c", f"{UNPACK} && exec {start_command(run.hardware, pins)}"],
        "env": {
            SCRIPT_VARIABLE: packed,
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        "secrets": {"HF_TOKEN": get_token()},
        "flavor": run.hardware.flavor,
        "timeout": timeout_s,
        "namespace": namespace_of(run),
    }


def start_command(hardware: HardwareChoice, pins: tuple[str, ...]) -> str:
    """Return the shell command that starts the script; on several GPUs uv cannot read the packages from its header."""
    if not (launch := launch_arguments(hardware)):
        return f"uv run --python {PYTHON} {SCRIPT}"
    packages = [word for pin in pins for word in ("--with", pin)]
    return shlex.join(["uv", "run", "--no-project", "--python", PYTHON, *packages, "python", *launch, SCRIPT])


def labels_of(intent: JobIntent | Job) -> dict[str, str]:
    """Return the labels by which a job is found again."""
    return {RUN_LABEL: intent.label, "ftagent-attempt": str(intent.attempt)}
