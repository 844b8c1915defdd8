"""A worker's answer comes back, its failure says why, and nothing that it started outlives it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
from ftagent.tools import worker
from ftagent.tools.errors import Stopped, ToolError
from ftagent.tools.settings import load_settings
from ftagent.tools.stopping import Stop, working_under


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(worker, "files", lambda _: tmp_path)
    return tmp_path


def _run(scripts: Path, code: str, timeout_s: float = 20.0, **options: object) -> dict[str, object]:
    (scripts / "w.py").write_text("import json, sys\nfrom pathlib import Path\n" + code, encoding="utf-8")
    return worker.run_worker(
        load_settings(),
        "w.py",
        {"n": 2},
        log=scripts / "w.log",
        timeout_s=timeout_s,
        **options,  # type: ignore[arg-type]
    )


def test_a_worker_reads_its_request_and_answers(scripts: Path) -> None:
    told: list[dict[str, object]] = []
    code = (
        "n = json.loads(Path(sys.argv[1]).read_text())['n']\n"
        "print('@progress ' + json.dumps({'done': 1}))\nprint('words')\n"
        "Path(sys.argv[2]).write_text(json.dumps({'twice': 2 * n}))"
    )
    assert _run(scripts, code, on_progress=told.append) == {"twice": 4}
    assert told == [{"done": 1}]
    assert (scripts / "w.log").read_text(encoding="utf-8") == "words\n"


def test_a_failed_worker_says_its_last_line(scripts: Path) -> None:
    with pytest.raises(ToolError, match="exit code 1: ValueError: no such thing"):
        _run(scripts, "raise ValueError('no such thing')")


def test_the_last_drawing_of_a_progress_bar_is_no_reason(scripts: Path) -> None:
    code = (
        "import atexit\natexit.register(lambda: print('Writing:   0%|          | 0.00/6.44M [00:04<?, ?byte/s]'))\n"
        "raise OSError(28, 'No space left on device')"
    )
    with pytest.raises(ToolError, match=r"exit code 1: OSError: \[Errno 28\] No space left on device"):
        _run(scripts, code)


def test_a_missing_library_is_answered_with_the_extra_that_brings_it(scripts: Path) -> None:
    with pytest.raises(ToolError, match=r"pip install 'ftagent\[local,demo\]'"):
        _run(scripts, "import a_library_that_is_not_there")


def test_a_worker_that_takes_too_long_ends_with_its_children(scripts: Path) -> None:
    code = (
        "import subprocess, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "Path(__file__).with_name('pid').write_text(str(child.pid))\ntime.sleep(600)"
    )
    with pytest.raises(ToolError, match="longer than 2 s"):
        _run(scripts, code, timeout_s=2.0)
    child = int((scripts / "pid").read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the grandchild outlived its worker"
        time.sleep(0.05)


def test_work_that_is_to_stop_ends_its_worker_and_what_that_started(scripts: Path) -> None:
    stop = Stop()
    code = (
        "import subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\n"
        "print('@progress ' + json.dumps({'pid': child.pid}), flush=True)\ntime.sleep(600)"
    )
    told: list[dict[str, int]] = []

    def tell(progress: dict[str, int]) -> None:
        told.append(progress)
        threading.Timer(0.05, stop.ask).start()

    with pytest.raises(Stopped), working_under(stop):
        _run(scripts, code, on_progress=tell)
    child = psutil.pid_exists(told[0]["pid"]) and psutil.Process(told[0]["pid"])
    assert not child or child.status() == psutil.STATUS_ZOMBIE
    with pytest.raises(Stopped), working_under(stop):  # one that begins later ends at once
        _run(scripts, "import time\ntime.sleep(600)")
