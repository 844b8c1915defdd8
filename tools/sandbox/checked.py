"""Runs a program that a model wrote and a check that judges it, and believes only what the check's own process says.

Each item gets an interpreter of its own, in a jail of Linux: no network, no environment, no files but the interpreter's
and a small working folder, limits on time, memory, processes, files and output, a user without rights, and a filter on
system calls. Whatever happens, nothing of an item outlives it. Four jails, the best that holds here is taken:

    namespaces    network, processes, mounts, IPC and users of its own; an empty file system in memory. Root builds it,
                  and others where the system lets them
    bwrap         the same, built by bubblewrap where it is installed and this process is not root's: some systems
                  grant user namespaces to it alone
    landlock      where containers grant no namespaces: Landlock hides other files (Linux 6.2 and later), nothing can
                  be written, the filter refuses sockets, signals and looks at other processes, a watcher ends the rest
    weak          the same without Landlock, and only with `weak=True`; otherwise `SandboxUnavailable` is raised

Not covered: holes in the kernel; memory beyond `processes` times `memory_mib`; CPU time beyond `processes` times
`seconds`; what timing gives away. With `landlock`, besides: an item can tell which files exist. With `weak`, besides:
every file that the item's user can read is read, folders that anybody may write to are written to, and disks filled
while it runs; where this process is not root's, that user is its own, so that tokens, the memory of this process and
the verdict itself are within reach.

A check sees what a function returns as plain values: numbers, text, lists, tuples, sets, dicts, Decimal and Fraction.
Other objects can be called, read and walked over, but equal nothing; what a function does to its arguments is not seen.
Programs get the standard library alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO, TypedDict

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # sets in the same order each time: a verdict that repeats
    "MALLOC_ARENA_MAX": "1",  # each thread would take 64 MiB of addresses otherwise
}


@cache
def inside_text() -> str:
    """Return the source of what runs in the jail."""
    return (files("ftagent.tools.sandbox") / "inside.py").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one item may use."""

    seconds: float = 10.0
    """Wall-clock time; each process may use as much CPU time, rounded up."""
    memory_mib: int = 512
    """Address space of each process."""
    processes: int = 4
    """Processes and threads that the program may start."""
    file_mib: int = 16
    """Size of a file, and of all files together."""
    output_kib: int = 256
    """What may be printed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Whether a program passed its check."""

    passed: bool
    why: str
    """Why it did not pass; empty where it did."""
    seconds: float
    """Wall-clock time, with the start of the interpreter."""
    output: str
    """What it printed."""


DEFAULT_LIMITS = Limits()


class SandboxUnavailable(RuntimeError):
    """This machine grants no jail, or not all parts of one."""


def run_checked(program: str, check: str, limits: Limits = DEFAULT_LIMITS, *, weak: bool = False) -> Outcome:
    """Run `check` against `program` in a jail, and say whether it passed.

    The check is Python: names that it does not define itself are the program's, and `run_program(text)` runs the whole
    program as a script on that standard input and returns what it prints. It passes if it ends without an exception.

    Args:
        program: Source that nobody vouches for.
        check: Source that judges it; it is jailed too, but in a process that the program cannot reach.
        limits: What the item may use.
        weak: Run items even where this machine grants no namespaces, with what is left: see the top of this module.

    Raises:
        SandboxUnavailable: This machine grants no jail.
    """
    return _run(_jail(weak), program, check, limits)


@cache
def _jail(weak: bool) -> str:
    """Return the name of the best jail that holds here: it must pass what is right and refuse what is wrong."""
    if sys.platform != "linux":
        raise SandboxUnavailable(f"the sandbox for model-written code needs Linux; this is {sys.platform}")
    has_bwrap = os.getuid() != 0 and shutil.which("bwrap")
    jails = [*["bwrap"] * bool(has_bwrap), "namespaces", "landlock", *["weak"] * weak]
    refused = []
    for jail in jails:
        try:
            right, wrong = (_run(jail, "x = 1", f"assert x == {value}", DEFAULT_LIMITS) for value in (1, 2))
        except SandboxUnavailable as error:
            refused.append(f"{jail}: {error}")
            continue
        if right.passed and not wrong.passed:
            return jail
        refused.append(f"{jail}: {right.why or 'it passes what is wrong'} {right.output}".strip())
    hint = "" if weak else "; run it elsewhere, or pass `weak=True` to go without hiding files"
    raise SandboxUnavailable(f"model-written code cannot be jailed on this machine ({'; '.join(refused)}){hint}")


def _run(jail: str, program: str, check: str, limits: Limits) -> Outcome:
    started, word = time.monotonic(), secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        folder.chmod(0o777)  # where it is the item's working folder, its user is another one
        (verdict, verdict_end), (output, output_end) = _pipe(stack), _pipe(stack)
        check_file = _in_memory(stack, {"word": word, "check": check})
        fds = verdict_end.fileno(), check_file.fileno()
        request = {"program": program, "jail": jail, "limits": asdict(limits), "fds": fds, "system": _system()}
        process = subprocess.Popen(
            [*(_bwrap(limits) if jail == "bwrap" else ()), *_python(), inside_text()],
            stdin=_in_memory(stack, request),
            stdout=output_end,
            stderr=output_end,
            pass_fds=fds,
            env=ENVIRONMENT,
            cwd=folder,
            start_new_session=True,
        )
        try:
            for file in (verdict_end, output_end):
                file.close()
            said, printed, why = _listen(verdict, output, limits, started + limits.seconds)
        finally:
            _end(process)
    passed, why = (False, why) if why else _verdict(said, word)
    return Outcome(passed=passed, why=why, seconds=time.monotonic() - started, output=printed.decode(errors="replace"))


def _verdict(said: bytes, word: str) -> tuple[bool, str]:
    """Return what the check's process said, if it was that process: it alone knows the word."""
    try:
        said_word, passed, why = json.loads(said)
    except ValueError:
        return False, "it ended without a verdict"
    if said_word != word:
        return False, "it forged a verdict"
    if passed is None:
        raise SandboxUnavailable(why)
    return passed is True, why


def _listen(verdict: BinaryIO, output: BinaryIO, limits: Limits, deadline: float) -> tuple[bytes, bytes, str]:
    """Return the verdict, what was printed, and which limit was reached, if any."""
    said, printed, most = bytearray(), bytearray(), limits.output_kib << 10
    poller = select.poll()
    for file in (verdict, output):
        poller.register(file, select.POLLIN)
    is_over = False
    while (left_s := deadline - time.monotonic()) > 0 and (ready := poller.poll(0 if is_over else left_s * 1000)):
        for fd, _ in ready:
            chunk = os.read(fd, 1 << 16)
            (said if fd == verdict.fileno() else printed).extend(chunk)
            if not chunk:
                poller.unregister(fd)
                is_over |= fd == verdict.fileno()
        if max(len(printed), len(said)) > most:
            return b"", bytes(printed[:most]), f"it printed more than {limits.output_kib} KiB"
    return bytes(said), bytes(printed), "" if is_over else f"it took longer than {limits.seconds:g} s"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End an item: its watcher ends what is inside, and if that takes long, the whole group is killed with it."""
    watcher = os.pidfd_open(process.pid)  # not reaped yet: until then its number, and its group's, are its own
    try:
        signal.pidfd_send_signal(watcher, signal.SIGTERM)
        poller = select.poll()
        poller.register(watcher, select.POLLIN)
        poller.poll(2000)
        os.killpg(process.pid, signal.SIGKILL)
    finally:
        os.close(watcher)
        process.wait()


def _pipe(stack: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
    reads, writes = os.pipe()
    return stack.enter_context(os.fdopen(reads, "rb", 0)), stack.enter_context(os.fdopen(writes, "wb", 0))


def _in_memory(stack: contextlib.ExitStack, value: object) -> BinaryIO:
    """Return a file that holds a value as JSON and never lies on a disk."""
    file = stack.enter_context(os.fdopen(os.memfd_create("sandbox"), "w+b", 0))
    file.write(json.dumps(value).encode())
    file.seek(0)
    return file


@cache
def _python() -> tuple[str, ...]:
    """Return the command of a bare interpreter: no packages, no current folder, no byte code written."""
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    return str(executable), "-S", "-s", "-P", "-B", "-u", "-c"


class System(TypedDict):
    """What an interpreter needs to be there."""

    folders: list[str]
    links: dict[str, str]
    """Links that lead into the folders, and what is written in them."""


@cache
def _system() -> System:
    executable = Path(_python()[0])
    own = [executable.parent, *(executable.parents[1] / name for name in ("lib", "lib64"))]
    there = [folder for folder in (*map(Path, ("/usr", "/bin", "/lib", "/lib64")), *own) if folder.exists()]
    folders = [folder for folder in there if not folder.is_symlink()]
    inner = {folder for folder in folders for other in folders if folder != other and folder.is_relative_to(other)}
    return {
        "folders": list(dict.fromkeys(str(folder) for folder in folders if folder not in inner)),
        "links": {str(link): str(link.readlink()) for link in there if link.is_symlink() and link not in own},
    }


def _bwrap(limits: Limits) -> tuple[str, ...]:
    """Return the command that makes a jail out of `bwrap`, with the same folders in it."""
    system = _system()
    binds = [part for folder in system["folders"] for part in ("--ro-bind", folder, folder)]
    links = [part for link, target in system["links"].items() for part in ("--symlink", target, link)]
    return (
        *(shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", *binds, *links),
        *("--size", str(limits.file_mib << 20), "--tmpfs", "/tmp", "--dev-bind", "/dev/null", "/dev/null"),
        *("--proc", "/proc", "--remount-ro", "/", "--chdir", "/tmp", "--"),
    )
