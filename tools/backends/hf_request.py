"""What is asked of Hugging Face Jobs: one request that has everything in it, the training script as well."""

from __future__ import annotations

import base64
import gzip
import shlex
from typing import Any

from ..errors import InputError, ToolError
from ..facts import DatasetRef, HardwareChoice, Job, JobIntent, ModelRef, Purpose, Spec
from ..launch import launch_arguments
from ..run import Run
from .hf_results import owner_of, repository_of

IMAGE = "ghcr.io/astral-sh/uv:0.10.12-python3.12-bookworm"
PYTHON = "3.12"
RUN_LABEL, STEP_LABEL, ATTEMPT_LABEL = "ftagent-run", "ftagent-step", "ftagent-attempt"
SCRIPT_VARIABLE = "JOB_SCRIPT"
LONGEST_VARIABLE = 120_000
"""Linux passes no variable of 128 KiB or more to a process (`MAX_ARG_STRLEN`)."""


def namespace_of(run: Run) -> str:
    """Return who owns the run's jobs: whoever owns the repository that its script pushes to.

    Raises:
        UserError: The Hub does not say who we are.
    """
    repo_id = repository_of(script_of(run)) if run.script else None
    return repo_id.split("/")[0] if repo_id else owner_of(run)


def script_of(run: Run, purpose: Purpose = "train") -> str:
    """Return the text of the script that a job for this purpose runs."""
    return (run.folder / script_name(run, purpose)).read_text(encoding="utf-8")


def script_name(run: Run, purpose: Purpose) -> str:
    """Return where that script lies, relative to the run's folder."""
    assert run.script is not None
    return run.script.path if purpose == "train" else f"{purpose}.py"


def refuse_local_inputs(spec: Spec) -> None:
    """Refuse what a job could not read where it runs.

    Raises:
        InputError: The model or the teacher lies on this machine only, or the dataset does in no files.
    """
    for what, ref in (("model", spec.model_ref), ("teacher", spec.teacher_ref), ("dataset", spec.dataset_ref)):
        if isinstance(ref, DatasetRef) and isinstance(ref.loader.get("data_files"), dict):
            continue  # it is uploaded: see `hf_inputs.py`
        if ref is not None and ref.source in ("file", "folder", "package"):
            kind = "dataset" if what == "dataset" else "model"
            here = (ref.path if isinstance(ref, ModelRef) else None) or ref.id
            raise InputError(
                f"the {what} `{ref.id}` lies on this machine, and a job on the Hub cannot read it.",
                hint=f"`hf upload YOU/NAME {shlex.quote(here)} --repo-type {kind} --private`, and name YOU/NAME; "
                "or use --backend local",
            )


def request_for(run: Run, intent: JobIntent, script: str) -> dict[str, Any]:
    """Return the arguments of `run_job` for an intended job."""
    step = "" if intent.purpose == "train" else f"-{intent.purpose}"
    named = {"labels": labels_of(intent), "name": f"{intent.label}{step}-{intent.attempt}"}
    request = job_spec(run, script, intent.timeout_s, purpose=intent.purpose) | named
    return request | ({"flavor": intent.flavor} if intent.flavor else {})


def job_spec(run: Run, script: str, timeout_s: int, *, purpose: Purpose = "train") -> dict[str, Any]:
    """Return what a job of this script is, but for its name; of secrets there is one, and it is nowhere else in it.

    Raises:
        ToolError: The script is too long to travel with a job.
        UserError: The Hub does not say who we are.
    """
    from huggingface_hub import get_token

    assert run.hardware is not None
    name, pins = script_name(run, purpose), run.script.pins if run.script else ()
    hardware = run.hardware if purpose == "train" else None  # what comes later is one process
    unpack = f'cd "$(mktemp -d)" && printf %s "${SCRIPT_VARIABLE}" | base64 -d | gunzip > {name}'
    packed = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()
    if len(packed) > LONGEST_VARIABLE:
        raise ToolError(
            f"the script has {len(packed)} bytes when packed; {LONGEST_VARIABLE} travel with a job.",
            hint="a filter that leaves out fewer single rows makes it shorter",
        )
    return {
        "image": IMAGE,
        "command": ["bash", "-c", f"{unpack} && unset {SCRIPT_VARIABLE} && exec {start_command(hardware, pins, name)}"],
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


def start_command(hardware: HardwareChoice | None, pins: tuple[str, ...], script: str = "train.py") -> str:
    """Return the shell command that starts a script; on several GPUs uv cannot read the packages from its header."""
    if not (launch := launch_arguments(hardware)):
        return f"uv run --python {PYTHON} {script}"
    packages = [word for pin in pins for word in ("--with", pin)]
    return shlex.join(["uv", "run", "--no-project", "--python", PYTHON, *packages, "python", *launch, script])


def script_in(environment: dict[str, Any]) -> str | None:
    """Return the script that travelled in a job's environment, None where there is none that can be read."""
    try:
        return gzip.decompress(base64.b64decode(environment[SCRIPT_VARIABLE])).decode()
    except (KeyError, ValueError, OSError, EOFError):
        return None


def labels_of(intent: JobIntent | Job) -> dict[str, str]:
    """Return the labels by which a job is found again."""
    return {RUN_LABEL: intent.label, STEP_LABEL: intent.purpose, ATTEMPT_LABEL: str(intent.attempt)}
