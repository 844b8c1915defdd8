"""Nothing that should fail passes, nothing is taken or left behind, and nothing outlives its item."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from ftagent.tools.sandbox import checked
from ftagent.tools.sandbox.checked import DEFAULT_LIMITS, Limits, Outcome, SandboxUnavailable, _jail, _run

from .attacks import FORGERIES, GREED, Attack, done

THREADS = next(attack.program for attack in GREED if "threads" in attack.name)
SHORT = Limits(seconds=2)
JAILS = ("namespaces", "landlock", "weak")
CASES = [
    pytest.param(attack, jail, id=f"{attack.name} ({jail})") for attack in (*FORGERIES, *GREED) for jail in attack.jails
]


def run(program: str, check: str = "assert attack()", jail: str = "namespaces", limits: Limits = SHORT) -> Outcome:
    try:
        return _run(jail, program, check, limits)
    except SandboxUnavailable as error:
        pytest.skip(f"{jail}: {error}")


@pytest.fixture(autouse=True)
def an_interpreter_that_others_may_run(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Take the system's interpreter for items without namespaces where root's own lies where only root may look."""
    found = Path("/usr/bin/python3")
    folders = Path(checked._python()[0]).resolve().parents
    hidden = os.getuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in folders)
    if hidden and ("weak" in request.node.name or "landlock" in request.node.name) and found.exists():
        command = (str(found.resolve()), *checked._python()[1:])
        monkeypatch.setattr(checked, "_python", lambda: command)
        checked._system.cache_clear()
    yield
    checked._system.cache_clear()


def shows(program: str, jail: str = "namespaces") -> Outcome:
    """Run a program that must fail because its attack does, not because it cannot run."""
    outcome = run(program, jail=jail)
    assert outcome.why == "AssertionError at `assert attack()`", outcome
    return outcome


def processes_with(mark: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if mark in " ".join(process.info["cmdline"] or [])]


@pytest.mark.parametrize(("attack", "jail"), CASES)
def test_it_does_not_pass(attack: Attack, jail: str) -> None:
    before = psutil.Process().memory_info().rss
    children = psutil.Process().children(recursive=True)  # what other tests have left to this process
    outcome = run(attack.program, attack.check, jail)
    assert not outcome.passed
    assert outcome.why
    assert outcome.seconds < SHORT.seconds + 5
    assert len(outcome.output) <= SHORT.output_kib << 10
    assert psutil.Process().memory_info().rss - before < 64 << 20
    assert set(psutil.Process().children(recursive=True)) <= set(children)


@pytest.mark.parametrize("jail", JAILS)
@pytest.mark.parametrize("ending", ["return False", "import os; os._exit(0)", "while True: pass"])
def test_a_grandchild_in_a_session_of_its_own_ends_with_its_item(jail: str, ending: str) -> None:
    mark = f"98765.{uuid.uuid4().int}"
    program = f"""
import os, signal, time
def attack():
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.execv("/usr/bin/sleep", ["sleep", "{mark}"])
            os._exit(0)
    time.sleep(0.2)
    {ending}
"""
    assert not run(program, jail=jail).passed
    assert not processes_with(mark)


@pytest.mark.parametrize("jail", JAILS)
def test_an_item_ends_with_a_trainer_that_is_killed(jail: str) -> None:
    mark = f"98765.{uuid.uuid4().int}"
    program = f"""
import os, time
def attack():
    if os.fork() == 0:
        os.setsid()
        os.execv("/usr/bin/sleep", ["sleep", "{mark}"])
    time.sleep(10**6)
"""
    command, folders = checked._python(), checked._system()
    trainer = f"""
from ftagent.tools.sandbox import checked
checked._python, checked._system = (lambda: {command!r}), (lambda: {folders!r})
checked._run({jail!r}, {program!r}, "attack()", checked.Limits(seconds=600))
"""
    process = subprocess.Popen([sys.executable, "-c", trainer])
    try:
        assert _soon(lambda: bool(processes_with(f"sleep {mark}")))
    finally:
        process.kill()
        process.wait()
    assert _soon(lambda: not processes_with(mark))


def _soon(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true within 20 seconds."""
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_a_process_that_was_to_stay_really_ran() -> None:
    program = 'import os\ndef attack():\n    return os.spawnv(os.P_WAIT, "/usr/bin/sleep", ["sleep", "0.01"]) == 0'
    assert run(program).passed


@pytest.mark.parametrize("jail", JAILS)
def test_the_environment_is_not_seen(monkeypatch: pytest.MonkeyPatch, jail: str) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    program = """
import glob, os
def attack():
    found = [str(os.environ)]
    for path in glob.glob("/proc/*/environ"):
        try:
            found.append(open(path, errors="replace").read())
        except OSError:
            pass
    return any("hf_secret" in text for text in found)
"""
    shows(program, jail)


@pytest.mark.parametrize("path", ["~", "/home", "/etc/passwd", "/proc/1/root", "/sys", "/var", "/run", __file__])
def test_what_lies_on_this_machine_is_not_there(path: str) -> None:
    found = "os.listdir(path) if os.path.isdir(path) else open(path).read(1)"
    program = done(f"import os\npath = {str(Path(path).expanduser())!r}\nif not ({found}):\n    raise OSError")
    if path == "~":  # the way to the interpreter may lead through it, and shows nothing else
        home, python = Path.home(), Path(checked._python()[0])
        way = {python.relative_to(home).parts[0]} if python.is_relative_to(home) else set()
        seen = f"set(os.listdir({str(home)!r})) - {way or 'set()'}"
        program = f"import os\ndef attack():\n    return os.path.isdir({str(home)!r}) and {seen}"
    shows(program)


@pytest.mark.parametrize("jail", JAILS)
def test_a_private_file_is_not_read(tmp_path: Path, jail: str) -> None:
    if jail == "weak" and os.getuid():
        pytest.skip("an item shares the rights of a user who is not root")
    token = tmp_path / "token"
    token.write_text("hf_secret")
    token.chmod(0o600)
    shows(done(f"open({str(token)!r}).read()"), jail)


@pytest.mark.parametrize("jail", ["namespaces", "landlock"])
def test_nothing_is_written_outside(tmp_path: Path, jail: str) -> None:
    folders = [tmp_path, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), Path("/usr/lib")]
    tmp_path.chmod(0o777)
    name = f"written-{uuid.uuid4()}"
    targets = [str(folder / name) for folder in folders]
    program = f"""
import os
def attack():
    for target in {targets!r}:
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            open(target, "w").write("x")
        except OSError:
            pass
    return False
"""
    shows(program, jail)
    assert not [folder for folder in folders if (folder / name).exists()]


def test_the_interpreter_cannot_be_changed() -> None:
    program = """
import os, sys
def attack():
    done = []
    for path in (os.__file__, sys.executable, "/usr/bin/env"):
        for attempt in (lambda: open(path, "r+b"), lambda: os.unlink(path), lambda: os.chmod(path, 0o777)):
            try:
                attempt()
                done.append(path)
            except OSError:
                pass
    return done
"""
    shows(program)


@pytest.fixture(params=["ip", "ipv6", "abstract", "file"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Something on this machine that listens, and how a program would reach it."""
    tmp_path.chmod(0o777)
    family, address = {
        "ip": (socket.AF_INET, ("127.0.0.1", 0)),
        "ipv6": (socket.AF_INET6, ("::1", 0)),
        "abstract": (socket.AF_UNIX, f"\0ftagent-{uuid.uuid4()}"),
        "file": (socket.AF_UNIX, f"/tmp/ftagent-{uuid.uuid4().hex[:8]}"),
    }[request.param]
    with socket.socket(family) as server:
        try:
            server.bind(address)
        except OSError as error:
            pytest.skip(str(error))
        server.listen()
        server.settimeout(0.1)
        found = server.getsockname()
        found = found if isinstance(found, tuple) else os.fsdecode(found)
        yield server, f"socket.socket(socket.AddressFamily({int(family)})).connect({found!r})"
    if request.param == "file":
        Path(str(address)).unlink()


@pytest.mark.parametrize("jail", JAILS)
def test_nothing_is_reached_over_a_socket(listener: tuple[socket.socket, str], jail: str) -> None:
    server, connect = listener
    shows(done(f"import socket\n{connect}"), jail)
    with pytest.raises(TimeoutError):
        server.accept()


def test_no_socket_is_found_open() -> None:
    program = """
import os, stat
def attack():
    kinds = []
    for fd in range(256):
        try:
            kinds.append(os.fstat(fd).st_mode)
        except OSError:
            pass
    return any(map(stat.S_ISSOCK, kinds))
"""
    shows(program)


def test_the_namespaces_hold_without_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wall stands alone: with no filter of system calls, the network is still not there."""
    without(monkeypatch, "    refuse_system_calls(jail)\n\n")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        shows(done(f"import socket\nsocket.create_connection({server.getsockname()!r})"))


def without(monkeypatch: pytest.MonkeyPatch, piece: str, instead: str = "") -> None:
    """Take a piece out of what runs in the jail."""
    text = checked.inside_text().replace(piece, instead)
    assert text != checked.inside_text()
    monkeypatch.setattr(checked, "inside_text", lambda: text)


@pytest.mark.parametrize(
    ("wall", "attack"),
    [
        ("    set_limits(limits)\n", done("x = bytearray(2**30)")),
        ("    refuse_system_calls(jail)\n\n", done("import os\nos.memfd_create('x')")),
        ("    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))\n", THREADS),
    ],
)
def test_without_one_of_its_walls_an_attack_succeeds(monkeypatch: pytest.MonkeyPatch, wall: str, attack: str) -> None:
    """The attacks can tell a jail from none."""
    without(monkeypatch, wall)
    assert run(attack).passed


@pytest.mark.parametrize("jail", ["landlock", "weak"])
def test_without_namespaces_landlock_alone_hides_files(tmp_path: Path, jail: str) -> None:
    (tmp_path / "file").write_text("for everybody")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    assert run(done(f"open({str(tmp_path / 'file')!r}).read()"), jail=jail).passed == (jail == "weak")


REFUSING = """        if jail == "namespaces":
            raise OSError(1, "unshare: refused")
"""


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that refuses new namespaces, as containers do, and has no bwrap."""
    without(
        monkeypatch,
        "def new_namespaces():\n",
        "def new_namespaces():\n    raise OSError(1, 'unshare: refused')\n\n\ndef old():\n",
    )
    monkeypatch.setattr(checked.shutil, "which", lambda name: None)
    _jail.cache_clear()
    yield
    _jail.cache_clear()


@pytest.mark.usefixtures("no_namespaces")
def test_landlock_takes_over_where_there_are_no_namespaces() -> None:
    assert checked.run_checked("x = 1", "assert x == 1").passed
    assert _jail(False) == "landlock"


@pytest.mark.usefixtures("no_namespaces")
def test_a_machine_without_both_refuses_loudly_unless_weak_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "    if abi < 3:", "    if True:")
    with pytest.raises(SandboxUnavailable, match=r"unshare: refused.*no Landlock.*weak=True"):
        checked.run_checked("x = 1", "assert x == 1")
    assert checked.run_checked("x = 1", "assert x == 1", weak=True).passed
    assert _jail(True) == "weak"


def test_items_beside_each_other_do_not_meet() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        wanted = [n % 3 != 0 for n in range(24)]
        programs = [f"import os\ndef f(x):\n    return x + {int(not right)}" for right in wanted]
        passed = [
            outcome.passed
            for outcome in pool.map(lambda p: run(p, "assert f(1) == 1", limits=DEFAULT_LIMITS), programs)
        ]
    assert passed == wanted


def test_a_fork_bomb_does_not_keep_its_neighbour_from_passing() -> None:
    from concurrent.futures import ThreadPoolExecutor

    bomb = next(attack for attack in GREED if attack.name == "a fork bomb")
    with ThreadPoolExecutor(2) as pool:
        bombed = pool.submit(run, bomb.program, bomb.check)
        time.sleep(0.3)
        assert run(
            "import os\ndef attack():\n    return os.waitpid(os.fork() or os._exit(0), 0)", limits=DEFAULT_LIMITS
        ).passed
        assert not bombed.result().passed
