"""Jobs, which are real: each runs its command in a process group of its own, with a home that ends with it.

What a job finds: the environment and the secrets that were given, `JOB_ID`, `ACCELERATOR`, `CPU_CORES`, `MEMORY`,
this Hub as `HF_ENDPOINT`, and a path with `python` and `uv` (`uv_shim.py`). Nothing of the server's own environment.
At its timeout, and when it is cancelled, the whole group is killed at once: whether the real Hub asks first is not
documented, so a job here must not count on it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from . import hardware
from .errors import HubError
from .people import Person
from .store import now

Stage = Literal["SCHEDULING", "RUNNING", "COMPLETED", "ERROR", "CANCELED"]

TERMINAL: frozenset[Stage] = frozenset({"COMPLETED", "ERROR", "CANCELED"})
DEFAULT_TIMEOUT_S = 30 * 60
"""https://huggingface.co/docs/huggingface_hub/guides/jobs: thirty minutes unless more is asked for."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a job's output."""

    timestamp: str
    text: str


@dataclass(kw_only=True)
class Job:
    """One job, from its creation on."""

    id: str
    namespace: str
    person: Person
    """Who pays."""
    spec: dict[str, Any]
    """As it was asked for, secrets included."""
    initiator: dict[str, str]
    stage: Stage = "SCHEDULING"
    message: str | None = None
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    lines: list[Line] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    wanted_end: tuple[Stage, str] | None = None
    """Why it is being killed."""

    @property
    def flavor(self) -> str:
        """The machine that it runs on."""
        return self.spec.get("flavor") or "cpu-basic"

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, its name among them."""
        return self.spec.get("labels") or {}

    @property
    def running_s(self) -> float:
        """How long it has run."""
        return (self.finished or time.time()) - self.started if self.started else 0.0

    def kill(self, stage: Stage, message: str) -> None:
        """End it with everything it started."""
        if self.stage in TERMINAL or self.wanted_end:
            return
        self.wanted_end = (stage, message)
        _kill_group(self.process)

    def told(self) -> dict[str, Any]:
        """Return it as the Hub tells of it; of secrets only the names."""
        end = self.finished or time.time()
        spec = {k: self.spec.get(k) for k in ("command", "arguments", "environment", "volumes", "timeoutSeconds")}
        return {
            **spec,
            "id": self.id,
            "createdAt": _iso(self.created),
            "startedAt": _iso(self.started),
            "finishedAt": _iso(self.finished),
            "dockerImage": self.spec.get("dockerImage"),
            "spaceId": self.spec.get("spaceId"),
            "secrets": sorted(self.spec.get("secrets") or {}),
            "flavor": self.flavor,
            "labels": self.labels,
            "status": {"stage": self.stage, "message": self.message},
            "durations": {
                "schedulingSecs": round((self.started or end) - self.created),
                "runningSecs": round(self.running_s) if self.started else None,
                "totalSecs": round(end - self.created),
            },
            "owner": {"id": f"id-{self.namespace}", "name": self.namespace, "type": "user"},
            "initiator": self.initiator,
        }


class Jobs:
    """All jobs of one Hub.

    Args:
        folder: Where jobs live while they run.
        endpoint: What a job finds as `HF_ENDPOINT`.
    """

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.scheduling_s = 0.0
        """How long a new job waits before it runs."""
        self.all: dict[str, Job] = {}
        self._endpoint = endpoint
        self._home = folder / "jobs"
        self._tools = folder / "job-path"
        self._threads: list[threading.Thread] = []
        self.run_with(sys.executable)

    def run_with(self, python: str) -> None:
        """Let jobs run their scripts with another interpreter than that of this process."""
        _put_tools(self._tools, python)

    def give(self, command: str, text: str) -> None:
        """Put a program on the path of all jobs that start from now on."""
        _put_executable(self._tools / command, text)

    def start(self, namespace: str, person: Person, spec: dict[str, Any], initiator: dict[str, str]) -> Job:
        """Take a job on; it runs in the background.

        Raises:
            HubError: There is no money left (402), or the request makes no sense (400).
        """
        if person.credits_usd is not None and person.credits_usd <= 0:
            raise HubError(
                402, "Pre-paid credit balance is insufficient - add more credits to your account to use Jobs."
            )
        if not spec.get("command"):
            raise HubError(400, "`command` is missing")
        hardware.flavor_named(spec.get("flavor") or "cpu-basic")
        check_labels(spec.get("labels") or {})
        job = Job(id=secrets.token_hex(12), namespace=namespace, person=person, spec=spec, initiator=initiator)
        self.all[job.id] = job
        thread = threading.Thread(target=self._live, args=(job,), daemon=True, name=f"job-{job.id}")
        self._threads.append(thread)
        thread.start()
        return job

    def get(self, namespace: str, job_id: str) -> Job:
        """Return a job.

        Raises:
            HubError: There is none in this namespace.
        """
        job = self.all.get(job_id)
        if job is None or job.namespace != namespace:
            raise HubError(404, "Job not found")
        return job

    def vanish(self, job_id: str) -> None:
        """Lose a job, as if it had never been."""
        self.all.pop(job_id).kill("ERROR", "lost")

    def wait(self, job_id: str, timeout_s: float = 60) -> Job:
        """Return a job once it has ended.

        Raises:
            TimeoutError: It still runs.
        """
        until = time.monotonic() + timeout_s
        while (job := self.all[job_id]).stage not in TERMINAL:
            if time.monotonic() > until:
                raise TimeoutError(f"job {job_id} is still {job.stage} after {timeout_s} s")
            time.sleep(0.02)
        return job

    def close(self) -> None:
        """End everything that still runs."""
        for job in self.all.values():
            job.kill("CANCELED", "the Hub goes down")
        for thread in self._threads:
            thread.join(timeout=10)

    # --- one job's life, in a thread of its own

    def _live(self, job: Job) -> None:
        time.sleep(self.scheduling_s)
        home = self._home / job.id
        (home / "tmp").mkdir(parents=True)
        if job.wanted_end is None:
            self._run(job, home)
        job.finished = time.time()
        if job.person.credits_usd is not None:
            job.person.credits_usd -= hardware.cost_usd(job.flavor, job.running_s)
        stage, message = job.wanted_end or _verdict(job)
        shutil.rmtree(home, ignore_errors=True)  # whoever sees the end sees it gone
        job.message, job.stage = message, stage

    def _run(self, job: Job, home: Path) -> None:
        command = [*job.spec["command"], *(job.spec.get("arguments") or [])]
        try:
            job.process = subprocess.Popen(
                command,
                cwd=home,
                env=self._environment(job, home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            job.wanted_end = ("ERROR", f"Job failed to start: {error.strerror}: {command[0]}")
            return
        job.started, job.stage = time.time(), "RUNNING"
        reader = threading.Thread(target=_read_output, args=(job,), daemon=True)
        reader.start()
        if job.wanted_end:  # it was cancelled between the two lines above
            _kill_group(job.process)
        try:
            job.process.wait(float(job.spec.get("timeoutSeconds") or DEFAULT_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            job.kill("ERROR", "Job timeout")
        _kill_group(job.process)  # a container ends with its first process, whatever else still runs in it
        job.process.wait()
        reader.join(timeout=10)

    def _environment(self, job: Job, home: Path) -> dict[str, str]:
        given = {**(job.spec.get("environment") or {}), **(job.spec.get("secrets") or {})}
        return {
            "PATH": f"{self._tools}:{SYSTEM_PATH}",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "LANG": "C.UTF-8",
            "JOB_ID": job.id,
            **hardware.described_to_job(job.flavor),
            "HF_ENDPOINT": self._endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **{name: str(value) for name, value in given.items()},
        }


def check_labels(labels: dict[str, str]) -> None:
    """Refuse labels that the Hub's documentation rules out (`HfApi.run_job`): 100 characters of `[A-Za-z0-9._-]`.

    Raises:
        HubError: One does not do.
    """
    for text in (*labels, *labels.values()):
        if len(text) > 100 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in text):
            raise HubError(400, f"Invalid label: {text}")


def _read_output(job: Job) -> None:
    assert job.process is not None and job.process.stdout is not None
    for line in job.process.stdout:
        job.lines.append(Line(timestamp=now(), text=line.decode("utf-8", "replace").rstrip("\r\n")))


def _verdict(job: Job) -> tuple[Stage, str | None]:
    """Return how a job ended that nobody killed; a signal reads as a shell would tell it: 128 and its number."""
    code = job.process.returncode if job.process else 1
    if code == 0:
        return "COMPLETED", None
    return "ERROR", f"Job failed with exit code: {code if code > 0 else 128 - code}"


def _kill_group(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _put_tools(folder: Path, python: str) -> None:
    """Make the folder that comes first in a job's path."""
    folder.mkdir(parents=True, exist_ok=True)
    shim = Path(__file__).with_name("uv_shim.py")
    commands = {"python": "", "python3": "", "uv": f'"{shim}" '}
    for name, script in commands.items():
        _put_executable(folder / name, f'#!/bin/sh\nexec "{python}" {script}"$@"\n')


def _put_executable(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
