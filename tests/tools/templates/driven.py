"""Scripts as they come out of `write_script`, run one after the other in one process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftagent.tools.run import Run
from ftagent.tools.worker import WORKER_ENVIRONMENT

# Gives the tiny model its weights, then runs one script after the other as `__main__`, so that torch is imported once.
DRIVER = """
import json, os, pathlib, runpy, sys, traceback
from transformers import AutoConfig, AutoModelForCausalLM, set_seed
set_seed(0)
AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(sys.argv[1])).save_pretrained(sys.argv[1])
for job in json.loads(sys.argv[2]):
    for path in job["torn"]:
        os.truncate(path, os.path.getsize(path) // 2)
    os.environ.pop("FTAGENT_MAX_STEPS", None)
    os.environ.update(job["environment"])
    end = {"code": 0}
    try:
        runpy.run_path(job["script"], run_name="__main__")
    except SystemExit as error:
        end = {"code": error.code}
    except Exception:
        end = {"code": traceback.format_exc()}
    result = pathlib.Path(job["script"]).with_name("result.json")
    end["result"] = json.loads(result.read_text()) if result.exists() else None
    pathlib.Path(job["answer"]).write_text(json.dumps(end))
"""

ENVIRONMENT = {**WORKER_ENVIRONMENT, "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one run of a script ended."""

    run: Run
    code: int | str
    result: Any


@dataclass(kw_only=True)
class Job:
    """One run of a script."""

    run: Run
    torn: tuple[str, ...] = ()
    """Files below the run's folder that are cut in half before."""
    environment: dict[str, str] | None = None


def drive(home: Path, jobs: dict[str, Job]) -> dict[str, Ended]:
    """Run every job, in this order; `home` has the model, and gets Trackio's folder."""
    request = [
        {
            "script": str(job.run.folder / "train.py"),
            "torn": [str(job.run.folder / name) for name in job.torn],
            "environment": job.environment or {},
            "answer": str(home / f"{name}.json"),
        }
        for name, job in jobs.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(home / "model"), json.dumps(request)],
        env={**ENVIRONMENT, "HOME": str(home), "TRACKIO_DIR": str(home / "trackio")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = {name: json.loads((home / f"{name}.json").read_text(encoding="utf-8")) for name in jobs}
    return {name: Ended(run=jobs[name].run, **answer) for name, answer in answers.items()}
