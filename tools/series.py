"""Every new checkpoint that a training pushes, evaluated by the clock: the script, its proof, and what a firing takes.

The script stands alone (`templates/series.py`) and brings its programs along. Before it is scheduled it ran here once:
it looked at the run's repository as it will, and measured a tiny checkpoint of the base model's kind.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

from .backends.hf_results import repository_of
from .catalog import catalog
from .errors import GateClosed, InputError, ToolError
from .facts import Method, QuotePart, SeriesScript
from .files import sha256_of, write_whole
from .gates import TRAINED, closed
from .later_asked import NOTHING
from .later_cost import part_of
from .later_script import closure_of, emitted, source_of
from .rendering import render
from .run import Run
from .trained import CHECKPOINT, HELDOUT, heldout_lines, loaded_as, trained_with
from .worker import run_worker

SCRIPT = "checkpoints.py"
PROGRAMS: dict[Method, str] = {"sft": "heldout.py", "dpo": "judged.py", "kto": "judged.py", "reward": "judged.py"}
"""Which program measures a method's own rows; those that let a model write answers are not cheap."""
EACH_NIGHT = 4
"""Checkpoints that one firing has time for, beside the base: a training saves twice. The quote is for two models."""
REHEARSED_ROWS = 4
REHEARSAL_S = 300.0


def prepare_series(run: Run) -> Run:
    """Write the script that evaluates the run's checkpoints, and run it here once; return the run that knows of it.

    Args:
        run: The run, trained on Hugging Face Jobs.

    Raises:
        GateClosed: The training has not completed.
        InputError: Its method has no measure that is cheap.
        ToolError: The script failed here.
    """
    text = series_script(run)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    write_whole(run.folder / SCRIPT, text.encode())
    if run.series is not None and run.series.sha256 == sha256:
        return run
    began, log = time.monotonic(), run.log("checkpoints")
    run.journal.tell("progress", step="rehearse", text=f"{SCRIPT} on a tiny checkpoint")
    with tempfile.TemporaryDirectory(prefix="ftagent-series-") as scratch:
        found = run_worker(run.settings, "tiny_checkpoint.py", _rehearsal(run, scratch), log=log, timeout_s=REHEARSAL_S)
    if "own" not in found:
        raise ToolError(
            f"{SCRIPT} could not measure a tiny checkpoint: {found.get('broken')}.", hint=f"its output is in {log}"
        )
    return run.record(
        SeriesScript(
            path=SCRIPT,
            sha256=sha256,
            repository=_repository(run),
            new=found["new"],
            means=found["own"]["means"],
            seconds=round(time.monotonic() - began, 1),
            log=log.name,
        )
    )


def proven_series(run: Run) -> SeriesScript:
    """Return the script that was proven, as it lies in the run's folder.

    Raises:
        GateClosed: There is none, or it was changed since.
    """
    file = run.folder / SCRIPT
    if run.series is None or not file.exists() or sha256_of(file) != run.series.sha256:
        raise GateClosed(
            f"{SCRIPT} is not proven: nobody ran it as it stands.", hint="call schedule_run, which does it first"
        )
    return run.series


def series_part(run: Run) -> QuotePart:
    """Return where a firing runs and what it takes at most: as an evaluation of the run, for more checkpoints.

    Raises:
        ToolError: No flavor is large enough.
    """
    part = part_of(run, "evaluate", NOTHING)  # of two models: the base and the tuned one
    timeout_s = part.timeout_s * (EACH_NIGHT + 1) // 2
    price = next(flavor.usd_per_hour for flavor in catalog().flavors if flavor.name == part.flavor)
    return part.model_copy(update={"timeout_s": timeout_s, "reserve_usd": price * timeout_s / 3600})


def series_script(run: Run) -> str:
    """Return the script of this run's series.

    Raises:
        GateClosed: The training has not completed.
        InputError: Its method has no measure that is cheap.
        ToolError: Its held-out rows were changed.
    """
    if not TRAINED.holds(run):
        raise closed("schedule_run", TRAINED)
    assert run.spec is not None and run.spec.model_ref is not None and run.script is not None
    method = run.script.method
    program = PROGRAMS.get(method)
    if program is None:
        raise InputError(
            f"a checkpoint of {method} is judged by answers that it writes, which each night anew is not cheap.",
            hint="ftagent tool evaluate_model evaluates the finished one",
        )
    if not heldout_lines(run):
        raise InputError("nothing was held out that checkpoints could be measured on.", hint="train on more rows")
    base, revision = loaded_as(run.spec, run.spec.model_ref)
    constants = {
        "REPOSITORY": _repository(run),
        "BASE": base,
        "REVISION": revision,
        "METHOD": method,
        "PROGRAM": program,
        "MEASURE": _measure(run, program),
        "HELDOUT_SHA256": sha256_of(run.folder / HELDOUT),
        "TIMEOUT_S": series_part(run).timeout_s,
    }
    return render(source_of("series.py"), constants, emitted(closure_of(["one_checkpoint.py", program])))


def _measure(run: Run, program: str) -> dict[str, Any]:
    names = ("loss_on", "max_length") if program == "heldout.py" else ("max_length",)
    return {name: trained_with(run)[name] for name in names}


def _repository(run: Run) -> str:
    assert run.script is not None
    found = repository_of((run.folder / run.script.path).read_text(encoding="utf-8"))
    if found is None:
        raise InputError("the script does not push, so there are no checkpoints to find.", hint="call write_script")
    return found


def _rehearsal(run: Run, scratch: str) -> dict[str, Any]:
    assert run.spec is not None and run.spec.model_ref is not None and run.script is not None
    model = run.spec.model_ref
    return {
        "model": model.path or model.id,
        "revision": None if model.path else model.revision,
        "method": run.script.method,
        "is_adapter": Path(run.folder, CHECKPOINT, "adapter_config.json").exists(),
        "rows": str(run.folder / HELDOUT),
        "count": REHEARSED_ROWS,
        "script": str((run.folder / SCRIPT).resolve()),
        "folder": scratch,
    }
