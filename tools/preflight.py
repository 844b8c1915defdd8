"""Proves that `train.py` runs, before anything is spent: the script itself, on a tiny twin of its model."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from .errors import ToolError
from .facts import Check, PreflightReport, Script, Spec
from .gates import require
from .metrics import LOSS, read_trackio
from .run import Run, experiment_name
from .script_checks import check_script
from .worker import run_worker

TIMEOUT_S = 300.0

# What later steps and the report read in `result.json`.
RESULT = (
    *("train_loss", "eval_loss", "steps", "epochs", "tokens", "trained_tokens", "seconds", "tokens_per_s"),
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
    assert spec.model_ref is not None
    trackio = scratch / "trackio"
    model, teacher = spec.model_ref, spec.teacher_ref
    request = {
        "method": script.method,
        "model": model.path or model.id,
        "revision": None if model.path else model.revision,
        "rewards": [(r.name, r.options.get("reference_column")) for r in run.dataset.rewards] if run.dataset else [],
        "tools": str(Path(__file__).parent),
        "teacher": teacher and (teacher.path or teacher.id, None if teacher.path else teacher.revision),
        "script": str(run.folder.resolve() / script.path),
        "folder": str(scratch),
    }
    run.journal.tell("progress", step="preflight", text="running train.py on a two-layer twin")
    try:
        answer = run_worker(
            run.settings,
            "preflight.py",
            request,
            log=run.log("preflight"),
            timeout_s=TIMEOUT_S,
            environment={"TRACKIO_DIR": str(trackio)},
        )
    except ToolError as error:
        return [Check(name="runs", ok=False, detail=str(error))]
    checks = [Check.model_validate(check) for check in answer["checks"]]
    if any(check.name == "trains" and check.ok for check in checks):
        checks += [_result_check(scratch / "result.json"), _metrics_check(trackio, experiment_name(spec), run.id)]
    return checks


def _result_check(path: Path) -> Check:
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for name in RESULT if name not in result]
    detail = f"result.json lacks {', '.join(missing)}: the report could not show them" if missing else "complete"
    return Check(name="result", ok=not missing, detail=detail)


def _metrics_check(folder: Path, project: str, name: str) -> Check:
    points = [point for point in read_trackio(folder, project, name) if LOSS in point.values]
    detail = f"{len(points)} points of `{name}` in Trackio"
    if not points:
        detail = f"no point of `{name}` arrived in Trackio's project `{project}`: check report_to, project and run_name"
    return Check(name="metrics", ok=bool(points), detail=detail)
