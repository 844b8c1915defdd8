"""Proves that `train.py` runs, before anything is spent: the script itself, on a tiny twin of its model."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from .backends.hf_inputs import goes_along
from .errors import ToolError
from .facts import Check, PreflightReport, Script, Spec
from .gates import require
from .metrics import LOSS, read_trackio
from .run import Run, experiment_name
from .script import promised_constants
from .script_checks import check_script
from .worker import run_worker

TIMEOUT_S = 300.0
RUN_TIMEOUT_S = 120.0
"""Seconds for one of the two runs of the script; they take 1 to 20 on two cores (measured)."""

# What later steps and the report read in `result.json`.
RESULT = (
    *(
        "train_loss",
        "first_loss",
        "last_loss",
        "eval_loss",
        "steps",
        "epochs",
        "tokens",
        "trained_tokens",
        "seconds",
        "tokens_per_s",
    ),
    *("peak_memory_gib", "heldout_rows", "heldout_sha256", "device", "versions"),
)


def preflight(run: Run) -> PreflightReport:
    """Run the written script on a two-layer twin of the model: two steps, an evaluation, a save, a reload, a resume.

    Returns whether everything is green, the seconds it took, and each check with what it saw or what is wrong and how
    to mend it; the whole output is in `preflight.log`. The twin has the real tokenizer and vocabulary and sees real
    rows; nothing is spent. A red report is an answer: mend the cause, call write_script, and call this again.

    Args:
        run: The run, with its script written.
    """
    require("preflight", run)
    assert run.spec is not None and run.script is not None
    started = time.monotonic()
    checks = check_script(run)
    if all(check.ok for check in checks):
        with tempfile.TemporaryDirectory(prefix="ftagent-preflight-") as scratch:
            checks += _rehearsal(run, run.spec, run.script, Path(scratch))
    return PreflightReport(
        script_sha256=run.script.sha256,
        ok=all(check.ok for check in checks),
        seconds=round(time.monotonic() - started, 1),
        checks=tuple(checks),
        log=run.log("preflight").name,
    )


def _rehearsal(run: Run, spec: Spec, script: Script, scratch: Path) -> list[Check]:
    """Run the script, and look at what it left in `scratch`."""
    trackio = scratch / "trackio"
    request = rehearsal_request(run, spec, script, scratch)
    run.journal.tell("progress", step="preflight", text="running train.py on a two-layer twin")
    try:
        answer = run_worker(
            run.settings,
            "preflight.py",
            request,
            log=run.log("preflight"),
            timeout_s=TIMEOUT_S,
            environment={"TRACKIO_DIR": str(trackio), **_data_of_this_machine(run)},
        )
    except ToolError as error:
        return [Check(name="runs", ok=False, detail=str(error))]
    return with_metrics(run, spec, [Check.model_validate(check) for check in answer["checks"]], trackio)


def rehearsal_request(run: Run, spec: Spec, script: Script, scratch: Path) -> dict[str, Any]:
    """Return what `templates/preflight.py` is asked."""
    assert spec.model_ref is not None
    model, teacher = spec.model_ref, spec.teacher_ref
    promised = promised_constants(run)
    loader = promised["LOADER"] | (spec.dataset_ref.loader if goes_along(run) and spec.dataset_ref else {})
    return {
        "method": script.method,
        "model": model.path or model.id,
        "revision": None if model.path else model.revision,
        "rewards": [(r.name, r.options.get("reference_column")) for r in run.dataset.rewards] if run.dataset else [],
        "tools": str(Path(__file__).parent),
        "teacher": teacher and (teacher.path or teacher.id, None if teacher.path else teacher.revision),
        "script": str(run.folder.resolve() / script.path),
        "folder": str(scratch),
        "data": loader | {"split": promised["SPLIT"]},
        "result": RESULT,
        "timeout_s": RUN_TIMEOUT_S,
    }


def _data_of_this_machine(run: Run) -> dict[str, str]:
    """Return what lets the script read here what its job will find uploaded."""
    if not goes_along(run) or run.spec is None or run.spec.dataset_ref is None:
        return {}
    return {"FTAGENT_DATA": json.dumps(promised_constants(run)["LOADER"] | run.spec.dataset_ref.loader)}


def with_metrics(run: Run, spec: Spec, checks: list[Check], trackio: Path) -> list[Check]:
    """Return the checks of a rehearsal, and where it trained, whether its points arrived."""
    if any(check.name == "trains" and check.ok for check in checks):
        return [*checks, _metrics_check(trackio, experiment_name(spec), run.id)]
    return checks


def _metrics_check(folder: Path, project: str, name: str) -> Check:
    points = [point for point in read_trackio(folder, project, name) if LOSS in point.values]
    detail = f"{len(points)} points of `{name}` in Trackio"
    if not points:
        detail = f"no point of `{name}` arrived in Trackio's project `{project}`: check report_to, project and run_name"
    return Check(name="metrics", ok=bool(points), detail=detail)
