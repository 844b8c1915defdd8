"""Judges many runs as preflight does, with torch imported once: the same checks, one run after the other."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ftagent.tools.facts import Check
from ftagent.tools.preflight import preflight, rehearsal_request, with_metrics
from ftagent.tools.run import Run
from ftagent.tools.script import write_script
from ftagent.tools.script_checks import check_script
from ftagent.tools.worker import WORKER_ENVIRONMENT

from ..tools.methods import run_of
from .mutant import Mutant

# Runs the worker's `main` for one request after the other.
DRIVER = """
import json, os, pathlib, runpy, sys, time
sys.path.insert(0, os.path.dirname(sys.argv[1]))
main = runpy.run_path(sys.argv[1])["main"]
for name, request in json.loads(pathlib.Path(sys.argv[2]).read_text()).items():
    began = time.process_time()
    answer = {"checks": main(request), "seconds": time.process_time() - began}
    pathlib.Path(sys.argv[3], name + ".json").write_text(json.dumps(answer))
    red = [check["name"] + ": " + check["detail"][:300] for check in answer["checks"] if not check["ok"]]
    print("judged", name, " ".join((red or ["green"])[0].split()), flush=True)
"""
SOON_S = 20.0
"""What a mutant without an end gets."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What preflight says of one run."""

    checks: tuple[Check, ...]
    seconds: float
    """CPU seconds, beside the import of torch."""

    @property
    def red(self) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.checks if not check.ok]


def stops(mutant: Mutant, verdict: Verdict) -> bool:
    """Whether the verdict is the mutant's: its check is the first that is red, and says what it must."""
    return bool(verdict.red) and bool(
        re.fullmatch(mutant.check, verdict.red[0].name) and re.search(mutant.says, verdict.red[0].detail, re.DOTALL)
    )


def broken_run(home: Path, mutant: Mutant) -> Run:
    """Return a run that is sound but for what the mutant changes."""
    run = run_of(mutant.method, home, **mutant.made_with)
    if mutant.method == "distillation":
        shutil.copytree(home / "model", home / "teacher")
        assert run.spec is not None and run.spec.teacher_ref is not None
        teacher = run.spec.teacher_ref.model_copy(update={"path": str(home / "teacher")})
        run = run.record(run.spec.model_copy(update={"teacher_ref": teacher}))
    run = run.record(write_script(run))
    if mutant.edits:
        run = with_edits(run, mutant.edits)
    if mutant.wreck:
        mutant.wreck(run)
    return run


def with_edits(run: Run, edits: tuple[tuple[str, str], ...]) -> Run:
    """Change the script, and record it as if it had been written so."""
    assert run.script is not None
    path = run.folder / run.script.path
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text, f"the script has no {old!r}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return run.record(run.script.model_copy(update={"sha256": hashlib.sha256(text.encode()).hexdigest()}))


def judged(home: Path, runs: dict[str, Run], told: Callable[[str], None] = lambda line: None) -> dict[str, Verdict]:
    """Return what preflight says of each run."""
    verdicts: dict[str, Verdict] = {}
    requests: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        began = time.process_time()
        checks = check_script(run)
        verdicts[name] = Verdict(checks=tuple(checks), seconds=time.process_time() - began)
        if all(check.ok for check in checks):
            scratch = home / "out" / _plain(name)
            scratch.mkdir(parents=True)
            assert run.spec is not None and run.script is not None
            requests[name] = rehearsal_request(run, run.spec, run.script, scratch) | {"timeout_s": SOON_S * 10}
            if "endless" in name:
                requests[name]["timeout_s"] = SOON_S
    answers = _driven(home, {_plain(name): request for name, request in requests.items()}, told)
    for name in requests:
        answer, spec = answers[_plain(name)], runs[name].spec
        assert spec is not None
        seen = [Check.model_validate(check) for check in answer["checks"]]
        checks = (*verdicts[name].checks, *with_metrics(runs[name], spec, seen, home / "trackio"))
        verdicts[name] = Verdict(checks=checks, seconds=verdicts[name].seconds + answer["seconds"])
    return verdicts


def alone(run: Run) -> Verdict:
    """Return what preflight itself says, in a process of its own."""
    report = preflight(run)
    return Verdict(checks=report.checks, seconds=report.seconds)


def _plain(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", name)


def _driven(home: Path, requests: dict[str, Any], told: Callable[[str], None]) -> dict[str, Any]:
    answers, scratch = home / "answers", home / "tmp"
    answers.mkdir()
    scratch.mkdir()
    (home / "requests.json").write_text(json.dumps(requests), encoding="utf-8")
    worker = str(files("ftagent.tools.templates") / "preflight.py")
    command = [sys.executable, "-c", DRIVER, worker, str(home / "requests.json"), str(answers)]
    environment = {**WORKER_ENVIRONMENT, "HF_HUB_OFFLINE": "1", "HOME": str(home), "TMPDIR": str(scratch)}
    environment["TRACKIO_DIR"] = str(home / "trackio")
    with (home / "driver.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            if line.startswith("judged "):
                told(line.strip())
    assert process.wait() == 0, (home / "driver.log").read_text(encoding="utf-8")[-4000:]
    return {name: json.loads((answers / f"{name}.json").read_text(encoding="utf-8")) for name in requests}
