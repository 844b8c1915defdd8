"""Makes failures for real, with the installed libraries, and keeps what they print.

    python tests/failures/making.py            all of them
    python tests/failures/making.py NAME …     these

A case is a script that fails as it stands, in a process of its own; `corpus/<name>.log` gets what it printed, with
folders of this machine replaced. Needs root where a small disk is mounted, and PyPI where uv resolves.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ftagent.tools.facts import Stage

from tests.failures.canned_hub import CannedHub
from tests.failures.corpus import FOLDER, Log, write_log
from tests.tools.scripted import write_chats, write_tiny_model

LINES_KEPT = 70
"""From the end of what was printed, as the recogniser sees a tail."""
LIMIT_S = 240.0

SAVE_WEIGHTS = """
import sys
from transformers import AutoConfig, AutoModelForCausalLM
AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(sys.argv[1])).save_pretrained(sys.argv[1])
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to fail."""

    name: str
    failure: str
    """The class that must be recognised; `none` where nothing must be."""
    script: str
    """Python; MODEL, CHATS, SMALL (a full disk) and HUB are there."""
    packages: tuple[str, ...] = ()
    """Whose versions the source line names."""
    command: tuple[str, ...] = ("python", "train.py")
    environment: tuple[tuple[str, str], ...] = ()
    hub: tuple[tuple[str, int, dict[str, str]], ...] = ()
    """Path pattern, status and headers: what a canned Hub answers, first match first."""
    memory_gib: float | None = None
    small_disk: bool = False
    kill: int | None = None
    """Signal that the script gets once it has printed a line."""
    stage: Stage = "failed"


def make(case: Case) -> None:
    """Run one case and keep its log."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="made-")))
        _prepare(home)
        if case.small_disk:
            _mount(home / "small", stack)
        environment = _environment(case, home)
        if case.hub:
            environment |= {"HF_ENDPOINT": stack.enter_context(CannedHub(case.hub)).endpoint, "HF_TOKEN": "hf_made"}
        (home / "train.py").write_text(_PRELUDE + case.script, encoding="utf-8")
        code, printed = _run(case, home, environment)
    lines = [_clean(line, home) for line in printed.replace("\r", "\n").splitlines()]
    log = Log(
        name=case.name,
        source="made here with " + ", ".join(f"{name} {version(name)}" for name in case.packages or ("torch",)),
        failure=case.failure,
        stage=case.stage,
        exit_code=code,
        reason=_reason(code),
        lines=tuple(line for line in lines if line.strip())[-LINES_KEPT:],
    )
    write_log(log)
    print(f"{case.name:<34}{case.failure:<22}exit {code}: {log.lines[-1][:110] if log.lines else ''}", flush=True)


_PRELUDE = """\
import os
MODEL, CHATS, SMALL = "model", "chats.jsonl", "small"
"""


def _prepare(home: Path) -> None:
    write_tiny_model(home / "model")
    write_chats(home / "chats.jsonl")
    subprocess.run([sys.executable, "-c", SAVE_WEIGHTS, "model"], cwd=home, check=True, capture_output=True)


def _mount(folder: Path, stack: ExitStack) -> None:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    stack.callback(subprocess.run, ["umount", str(folder)], check=True)


def _environment(case: Case, home: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "TRACKIO_DIR": str(home / "trackio"),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **{name: os.environ[name] for name in ("SSL_CERT_FILE",) if name in os.environ},
        **dict(case.environment),
    }


def _run(case: Case, home: Path, environment: dict[str, str]) -> tuple[int, str]:
    def limit() -> None:
        if case.memory_gib is not None:
            limit_bytes = int(case.memory_gib * 2**30)
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))

    process = subprocess.Popen(
        case.command,
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=limit,
        start_new_session=True,
    )
    assert process.stdout is not None
    begun = b""
    if case.kill is not None:
        begun = process.stdout.readline()
        process.send_signal(case.kill)
    try:
        printed, _ = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, (begun + printed).decode(errors="replace")


def _clean(line: str, home: Path) -> str:
    """Replace what belongs to this machine alone."""
    line = line.replace(str(home), "/run").replace(str(Path(sys.executable).parent), "/venv/bin")
    line = re.sub(r"/[\w./+-]*/site-packages/", "/venv/lib/python3.11/site-packages/", line)
    line = re.sub(r"/[\w./+-]*/\.pyenv/versions/[\d.]+/", "/usr/", line)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8000", line)


def _reason(code: int) -> str:
    """Return what the local supervisor says of this exit code."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}" if code else ""


def main(names: list[str]) -> None:
    """Make the named cases, or all."""
    from tests.failures.cases_data import CASES as DATA
    from tests.failures.cases_machine import CASES as MACHINE
    from tests.failures.cases_training import CASES as TRAINING

    for case in (*TRAINING, *DATA, *MACHINE):
        if not names or case.name in names:
            make(case)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    main(sys.argv[1:])
