"""Programs that try to pass without being right, to take what is not theirs, or to stay: one table."""

from __future__ import annotations

from dataclasses import dataclass

WRONG = "def answer(x):\n    return x + 1\n"
CHECK = "assert answer(40) == 42"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A program that must not pass: what it is wrong about, or what it managed to do."""

    name: str
    program: str
    check: str = CHECK
    jails: tuple[str, ...] = ("namespaces", "landlock", "weak")
    """Those in which it must fail."""


def done(body: str) -> str:
    """Return a program whose `attack` returns True where its body gets to the end, for the check `assert attack()`."""
    lines = "\n".join(f"        {line}" for line in body.strip("\n").splitlines())
    return f"""
def attack():
    try:
{lines}
    except (OSError, MemoryError, RuntimeError):
        return False
    return True
"""


FORGERIES = [
    Attack(
        name="an object that equals everything",
        program="""
class Any:
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __bool__ = lambda self: True
    __sub__ = __abs__ = __add__ = lambda self, *other: self
    __hash__ = lambda self: hash(42)
    __class__ = int
def answer(x):
    return Any()
""",
    ),
    Attack(
        name="the same under a tolerance",
        program="""
class Any:
    __sub__ = __rsub__ = __abs__ = lambda self, *other: self
    __lt__ = __float__ = lambda self, *other: True
def answer(x):
    return Any()
""",
        check="assert abs(answer(40) - 42) < 1e-6",
    ),
    *(
        Attack(
            name=f"a {kind} that equals everything",
            program=f"""
class Any({kind}):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = {kind}.__hash__
def answer(x):
    return Any({value})
""",
            check=f"assert answer(40) == {right}; assert not answer(40) != {right}",
        )
        for kind, value, right in [
            ("int", "7", "42"),
            ("str", "'7'", "'42'"),
            ("list", "[7]", "[42]"),
            ("dict", "a=7", "{}"),
        ]
    ),
    Attack(
        name="something that holds everything",
        program="class All:\n    __contains__ = lambda self, x: True\ndef answer(x):\n    return All()",
        check="assert 42 in answer(40)",
    ),
    Attack(
        name="patched builtins",
        program="""
import builtins, sys, operator, math
builtins.AssertionError = type("Quiet", (BaseException,), {})
builtins.abs = builtins.len = builtins.all = builtins.isinstance = builtins.sum = lambda *x: 0
builtins.__import__ = lambda *x, **y: None
math.isclose = operator.eq = lambda *x, **y: True
sys.modules["math"] = sys.modules[__name__]
isclose = lambda *x: True
"""
        + WRONG,
        check="import math\nassert abs(answer(40) - 42) < 1e-6 and math.isclose(answer(40), 42)",
    ),
    Attack(
        name="a builtin of its own",
        program="def abs(x):\n    return 0\ndef all(x):\n    return True\n" + WRONG,
        check="assert abs(answer(40) - 42) < 1e-6 and all([answer(40) == 42])",
    ),
    Attack(
        name="a module of its own",
        program="class math:\n    isclose = staticmethod(lambda *x: True)\n" + WRONG,
        check="assert math.isclose(answer(40), 42)",
    ),
    Attack(
        name="a check of its own",
        program="def check(f):\n    pass\ndef run_program(x):\n    return '42'\n" + WRONG,
        check="def check(f):\n    assert f(40) == 42\ncheck(answer)",
    ),
    Attack(name="os._exit(0) on loading", program="import os\nos._exit(0)"),
    Attack(name="os._exit(0) when called", program="import os\ndef answer(x):\n    os._exit(0)"),
    Attack(name="sys.exit(0) on loading", program="import sys\nsys.exit(0)"),
    Attack(name="sys.exit(0) when called", program="import sys\ndef answer(x):\n    sys.exit(0)"),
    Attack(
        name="sys.exit(0) past a check that forgives",
        program="import sys\ndef answer(x):\n    sys.exit(0)",
        check="try:\n    assert answer(40) == 42\nexcept Exception:\n    pass",
    ),
    Attack(name="a killed process", program="import os\ndef answer(x):\n    os.kill(os.getpid(), 9)"),
    Attack(name="a KeyboardInterrupt", program="def answer(x):\n    raise KeyboardInterrupt"),
    Attack(name="a syntax error", program="def answer(x)\n    return 42"),
    Attack(name="nothing", program=""),
    Attack(
        name="forged verdicts on every file descriptor",
        program="""
import os
def forge():
    for text in ('["", true, ""]', '[null, true, ""]', '["value", true]', '{"passed": true}', "OK", "passed"):
        for fd in range(256):
            try:
                os.write(fd, text.encode() + b"\\n")
            except OSError:
                pass
forge()
def answer(x):
    forge()
    os._exit(0)
""",
    ),
    Attack(
        name="a forged verdict through the files of its parent",
        program="""
import glob, os
def answer(x):
    for pattern in ("/proc/1/fd/*", f"/proc/{os.getppid()}/fd/*", "/proc/*/fd/*", "/dev/fd/*"):
        for path in glob.glob(pattern):
            try:
                with open(path, "w") as file:
                    file.write('["", true, ""]\\n')
            except OSError:
                pass
    return 41
""",
    ),
    Attack(
        name="a search of its memory, frames and files for the check",
        program="""
import gc, os, sys
def attack():
    needle = "NEEDLE" + "_IN_THE_CHECK"
    seen, frame = [], sys._getframe()
    while frame:
        seen += list(frame.f_globals.values()) + list(frame.f_locals.values())
        frame = frame.f_back
    for thing in gc.get_objects():
        seen += list(thing.values()) if isinstance(thing, dict) else []
        seen += list(thing) if isinstance(thing, (list, tuple)) else []
    if any(isinstance(thing, str) and needle in thing for thing in seen if thing is not needle):
        return True
    for path in ("/proc/self/cmdline", "/proc/1/cmdline", "/proc/self/environ", "/proc/self/mem"):
        try:
            with open(path, errors="replace") as file:
                if needle in file.read(10**6):
                    return True
        except (OSError, ValueError):
            pass
    for fd in (0, *range(3, 64)):
        try:
            if needle.encode() in os.pread(fd, 10**6, 0):
                return True
        except OSError:
            pass
    return False
""",
        check="# NEEDLE_IN_THE_CHECK\nassert attack()",
    ),
    Attack(
        name="a look into its parent's memory",
        program="""
import ctypes, os
def attack():
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in {1, os.getppid()} - {0}:
        if libc.ptrace(16, pid, None, None) == 0:
            return True
        piece = ctypes.create_string_buffer(8)
        vector = (ctypes.c_void_p * 2)(ctypes.addressof(piece), 8)
        if libc.process_vm_readv(pid, vector, 1, vector, 1, 0) > 0:
            return True
        try:
            open(f"/proc/{pid}/mem", "rb").read(1)
            return True
        except OSError:
            pass
        try:
            if libc.syscall(438, os.pidfd_open(pid), 1, 0) >= 0:
                return True
        except OSError:
            pass
    return False
""",
        check="assert attack()",
    ),
    Attack(
        name="a killed judge",
        program="import os, signal\ndef answer(x):\n    os.kill(os.getppid(), signal.SIGKILL)\n    return 41",
    ),
    Attack(
        name="a broken line",
        program="""
import os
def answer(x):
    for fd in range(3, 64):
        try:
            os.write(fd, b'["value", {"mine": 0, "x": 1}]\\n["value", {"Decimal": []}]\\n[]\\n{}\\n')
        except OSError:
            pass
""",
    ),
    Attack(
        name="a number that stands for an object of the check",
        program="""
import os
def answer(x):
    for fd in range(3, 64):
        try:
            os.write(fd, b'["value", {"yours": 0}]\\n["do", "getattr", {"tuple": [1, "x"]}, {"dict": []}]\\n')
        except OSError:
            pass
""",
    ),
    Attack(
        name="StopIteration in a check that maps",
        program="def answer(x):\n    raise StopIteration",
        check="assert all(map(lambda x: answer(x) == x + 2, range(40)))",
    ),
    Attack(name="a list that holds itself", program="def answer(x):\n    x = []\n    x.append(x)\n    return x"),
    Attack(
        name="a list ten thousand deep",
        program="def answer(x):\n    x = []\n    for _ in range(10**4):\n        x = [x]\n    return x",
    ),
    Attack(name="a check that asks nothing", program="def answer(x):\n    return 42", check="assert True"),
    Attack(
        name="a script that exits well with a wrong answer",
        program="import sys\nprint(41)\nsys.exit(0)",
        check="assert run_program('40').strip() == '42'",
    ),
]

GREED = [
    Attack(name="an endless loop", program="while True:\n    pass"),
    Attack(name="an endless sleep", program="import time\ntime.sleep(10**6)"),
    Attack(
        name="ignored signals",
        program="""
import signal, time
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(1)
""",
    ),
    Attack(
        name="an endless answer",
        program="import itertools\ndef answer(x):\n    return itertools.count()",
        check="list(answer(1))",
    ),
    Attack(
        name="a fork bomb",
        program="import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    ),
    Attack(
        name="more processes than the limit",
        program=done(
            """
import os, time
for _ in range(12):
    if os.fork() == 0:
        time.sleep(60)
"""
        ),
        check="assert attack()",
    ),
    Attack(
        name="more threads than the limit",
        program=done(
            """
import threading, time
for _ in range(12):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
        ),
        check="assert attack()",
    ),
    Attack(name="10 GB", program=done("x = bytearray(10 * 2**30)"), check="assert attack()"),
    Attack(
        name="10 GB, piece by piece",
        program=done("x = [bytearray(2**20) for _ in range(10 * 2**10)]"),
        check="assert attack()",
    ),
    Attack(
        name="shared memory that no process has mapped",
        program=done(
            """
import ctypes
libc = ctypes.CDLL(None)
for _ in range(8):
    if libc.shmget(0, 2**28, 0o1600) < 0:
        raise OSError
"""
        ),
        check="assert attack()",
    ),
    Attack(
        name="files in memory",
        program=done("import os\nos.write(os.memfd_create('x'), bytes(2**20))"),
        check="assert attack()",
    ),
    Attack(
        name="a full disk",
        program=done("for n in range(8):\n    open(f'file{n}', 'wb').write(bytes(2**23))"),
        check="assert attack()",
        jails=("namespaces", "landlock"),
    ),
    Attack(name="a large file", program=done("open('file', 'wb').write(bytes(2**26))"), check="assert attack()"),
    Attack(name="a flood of output", program="while True:\n    print('x' * 10**6)"),
    Attack(
        name="a flood of output by a child",
        program="import os\nif os.fork() == 0:\n    while True:\n        os.write(2, b'x' * 2**16)\n" + WRONG,
        check="while True:\n    answer(1)",
    ),
    Attack(
        name="signals to, and limits for, every other process",
        program="""
import os, resource, signal
def attack():
    done = []
    for pid in {1, os.getppid(), *(int(name) for name in os.listdir("/proc") if name.isdigit())} - {os.getpid()}:
        for attempt in (
            lambda: os.kill(pid, 0),
            lambda: os.kill(pid, signal.SIGKILL),
            lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)),
        ):
            try:
                attempt()
                done.append(pid)
            except OSError:
                pass
    return set(done) - {1, os.getppid()}  # pid 1 and the check are in sight inside of namespaces, and not beyond
""".replace('*(int(name) for name in os.listdir("/proc") if name.isdigit())', "*range(2, 70_000)"),
        check="assert attack()",
    ),
    Attack(
        name="signals by way of a pipe's owner",
        program=done(
            """
import fcntl, os
reads, writes = os.pipe()
fcntl.fcntl(reads, fcntl.F_SETOWN, os.getppid())
"""
        ),
        check="assert attack()",
    ),
    Attack(
        name="modes, owners, times and attributes of files",
        program="""
import os
def attack():
    done = []
    for change in (
        lambda: os.chmod(".", 0o700),
        lambda: os.chown(".", os.getuid(), -1),
        lambda: os.utime("."),
        lambda: os.setxattr(".", "user.x", b"x"),
        lambda: os.sched_setaffinity(os.getpid(), {0}),
        lambda: os.setpriority(os.PRIO_PROCESS, os.getpid(), 19),
    ):
        try:
            change()
            done.append(change)
        except PermissionError:
            pass
    return done
""",
        check="assert attack()",
        jails=("landlock", "weak"),
    ),
    Attack(name="a long number", program="def answer(x):\n    return 10 ** 10 ** 8"),
]
