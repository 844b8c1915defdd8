"""What runs in the jail: the check in one process, the program in another, and a line on which they talk.

This file stands alone. Its text is handed to a new interpreter (`python -c`), by `checked.py` and by training scripts.

The program never shares a process with the check. What it returns is written down as JSON and read back as plain
values, so that no `__eq__`, patched builtin or frame of its own meets an assertion. Only the check's process holds the
pipe on which the verdict is written, and the program never sees the check's text.
"""

import ast
import builtins
import contextlib
import ctypes
import importlib
import io
import json
import math
import operator
import os
import resource
import signal
import struct
import sys
import types

LIBC = ctypes.CDLL(None, use_errno=True)
# Numbers of <linux/sched.h>, <linux/mount.h>, <linux/prctl.h> and <linux/seccomp.h>.
NEW_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # cgroup, uts, ipc, pid, net
NEW_USERS, NEW_MOUNTS = 0x10000000, 0x00020000
BIND, RECURSIVE, PRIVATE, DETACH = 4096, 16384, 1 << 18, 2
DIE_WITH_PARENT, NOT_DUMPABLE, SECCOMP, SUBREAPER, NO_NEW_PRIVILEGES = 1, 4, 22, 36, 38
# System calls that are refused, from asm/unistd_64.h and asm-generic/unistd.h: sockets, other mounts and namespaces,
# other processes' memory, and memory that no limit counts or that stays (System V IPC, memfd_create, io_uring).
REFUSED_EVERYWHERE = (425, 428, 429, 430, 432, 438, 442, 447)
REFUSED = {
    "x86_64": (0xC000003E, (29, 41, 64, 68, 101, 165, 248, 249, 250, 272, 298, 308, 310, 311, 319, 321, 323)),
    "aarch64": (0xC00000B7, (40, 97, 117, 186, 190, 194, 198, 217, 218, 219, 241, 268, 270, 271, 279, 280, 282)),
}
FCNTL, SET_OWNER = {"x86_64": 72, "aarch64": 25}, (8, 15)  # F_SETOWN and F_SETOWN_EX: signals by way of a file
# Besides, where other processes and files are not out of sight: signals, limits, priorities and cores for others, and
# owners, modes, times and attributes of files, which Landlock does not guard.
REFUSED_IN_SIGHT = {
    "x86_64": (
        *(62, 129, 200, 234, 297, 302, 424, 141, 142, 144, 203, 251, 256, 279, 314),
        *(90, 91, 92, 93, 94, 132, 188, 189, 190, 197, 198, 199, 235, 260, 261, 268, 280, 452, 463, 466),
    ),
    "aarch64": (
        *(129, 130, 131, 138, 240, 261, 424, 30, 118, 119, 122, 140, 238, 239, 274),
        *(5, 6, 7, 14, 15, 16, 52, 53, 54, 55, 88, 452, 463, 466),
    ),
}
IN_SIGHT = ("landlock", "weak")  # jails without a process namespace
FIRST_UID, UIDS = 50_000, 10_000  # no system gives these to people or services
TEXTUAL = {"complex": "builtins", "Decimal": "decimal", "Fraction": "fractions"}
MESSAGES = {"do": 4, "value": 2, "raised": 3}  # what goes over the line, and of how many parts
COLLECTIONS = {"tuple": tuple, "set": set, "frozenset": frozenset}


# --- the line between check and program -------------------------------------------------------------------------------


class Peer:
    """One end of the line: it asks the other end to do something, and answers what the other asks meanwhile."""

    def __init__(self, reads, writes, operations, lost):
        self.reads, self.writes = os.fdopen(reads, "rb"), os.fdopen(writes, "wb")
        self.operations, self.lost = operations, lost
        self.kept, self.asked = [], 0

    def ask(self, operation, *arguments, **named):
        self.asked += 1
        self.send(
            "do", operation, self.pack(list(arguments)), {name: self.pack(value) for name, value in named.items()}
        )
        while True:
            kind, *body = self.receive()
            if kind == "value":
                return self.unpack(body[0])
            if kind == "raised":
                raise exception_of(body[0], body[1], operation)
            self.answer(*body)

    def serve(self):
        while True:
            self.answer(*self.receive()[1:])

    def answer(self, operation, arguments, named):
        try:
            given = {name: self.unpack(value) for name, value in named.items()}
            result = self.operations[operation](*map(self.unpack, arguments), **given)
            answer = ("value", self.pack(result))
        except Exception as error:
            answer = ("raised", type(error).__name__, str(error)[:500])
        self.send(*answer)

    def send(self, *message):
        try:
            self.writes.write(json.dumps(message).encode() + b"\n")
            self.writes.flush()
        except OSError:
            self.lost("the program ended its own process")

    def receive(self):
        line = self.reads.readline()
        if not line.endswith(b"\n"):
            self.lost("the program ended its own process")
        try:
            message = json.loads(line)
            if MESSAGES[message[0]] == len(message):
                return message
        except (ValueError, TypeError, LookupError, RecursionError):
            pass
        return self.lost("the program broke the line to its check")

    def pack(self, value):
        """Return what JSON can hold of a value; what has no plain form stays here, and a number stands for it."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [self.pack(item) for item in value]
        if isinstance(value, dict):
            return {"dict": [[self.pack(key), self.pack(item)] for key, item in value.items()]}
        for name, kind in COLLECTIONS.items():
            if isinstance(value, kind):
                return {name: [self.pack(item) for item in value]}
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": value.hex()}
        if isinstance(value, Remote):
            return {"yours": value._index}
        if TEXTUAL.get(type(value).__name__) == type(value).__module__:
            return {type(value).__name__: str(value)}
        self.kept.append(value)
        return {"mine": len(self.kept) - 1}

    def unpack(self, value):
        if isinstance(value, list):
            return [self.unpack(item) for item in value]
        if not isinstance(value, dict):
            return value
        [(name, body)] = value.items()
        if name == "dict":
            return {self.unpack(key): self.unpack(item) for key, item in body}
        if name in COLLECTIONS:
            return COLLECTIONS[name](self.unpack(item) for item in body)
        if name == "bytes":
            return bytes.fromhex(body)
        if name in TEXTUAL:
            return getattr(importlib.import_module(TEXTUAL[name]), name)(body)
        return self.kept[body] if name == "yours" else Remote(self, body)


class Remote:
    """An object of the other end: it can be called, read and walked over, but it compares as nothing but itself."""

    def __init__(self, peer, index):
        self._peer, self._index = peer, index

    def __call__(self, *arguments, **named):
        return self._peer.ask("call", self, *arguments, **named)

    def __getattr__(self, name):
        return self._peer.ask("getattr", self, name)

    def __getitem__(self, key):
        return self._peer.ask("getitem", self, key)

    def __iter__(self):
        return self._peer.ask("iter", self)

    def __next__(self):
        return self._peer.ask("next", self)

    def __len__(self):
        return self._peer.ask("len", self)

    def __str__(self):
        return self._peer.ask("str", self)

    def __repr__(self):
        return self._peer.ask("repr", self)


def exception_of(name, text, operation):
    """Return what the other end raised, if it is one of Python's own exceptions.

    Only the end of a walk may say StopIteration: from a function, it would end an `all(map(...))` of the check early.
    """
    kind = getattr(builtins, name, None)
    try:
        if (
            isinstance(kind, type)
            and issubclass(kind, Exception)
            and (kind is not StopIteration or operation == "next")
        ):
            return kind(text)
    except TypeError:  # UnicodeDecodeError wants five arguments
        pass
    return RuntimeError(f"{name}: {text}")


def call(function, /, *arguments, **named):
    return function(*arguments, **named)


# --- the program ------------------------------------------------------------------------------------------------------


def run_guest(reads, writes, program):
    """Load the program when it is first needed, and do with it what the check asks."""
    module = types.ModuleType("program")
    sys.modules["program"] = module
    builtins.exit = builtins.quit = sys.exit  # as `site` does, which is left out
    loaded = []

    def names(wanted):
        if not loaded:
            loaded.append(True)
            exec(compile(program, "program.py", "exec"), module.__dict__)
        found = {name: module.__dict__[name] for name in wanted if name in module.__dict__}
        return {name: module_or_value(value) for name, value in found.items()}

    operations = {
        "call": call,
        "getattr": getattr,
        "getitem": operator.getitem,
        "iter": iter,
        "next": next,
        "len": len,
        "str": str,
        "repr": repr,
        "names": names,
        "script": lambda given: run_script(program, given),
    }
    Peer(reads, writes, operations, lambda why: os._exit(1)).serve()


def module_or_value(value):
    return ("module", value.__name__) if isinstance(value, types.ModuleType) else ("value", value)


def run_script(program, given):
    """Run the program as a script on this standard input, and return its standard output."""
    before = sys.stdin, sys.stdout
    sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()), "utf-8")
    sys.stdout = written = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    try:
        exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
    except SystemExit:
        pass
    finally:
        sys.stdin, sys.stdout = before
    return written.buffer.getvalue().decode()


# --- the check --------------------------------------------------------------------------------------------------------


def run_check(peer, check):
    """Run the check, in which names that it does not define itself are the program's; return why it fails, or None."""
    space = {"__name__": "check", "run_program": lambda given="": peer.ask("script", given)}
    try:
        tree = ast.parse(check, "check.py")
        modules, wanted = names_needed(tree)
        space.update({name: importlib.import_module(name) for name in modules})
        for name, (kind, value) in (peer.ask("names", wanted) if wanted else {}).items():
            if kind == "value":
                space[name] = value
            elif value in sys.stdlib_module_names:
                space[name] = importlib.import_module(value)
        exec(compile(tree, "check.py", "exec"), space)
    except BaseException as error:
        return f"{type(error).__name__}: {error}".removesuffix(": ") + where(error, check)
    return None if peer.asked else "the check asks nothing of the program"


def names_needed(tree):
    """Return the modules that a check uses without importing them, and the names that only the program can define."""
    nodes = list(ast.walk(tree))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    defined = {node.id for node in names if not isinstance(node.ctx, ast.Load)} | {"run_program", *dir(builtins)}
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
    wanted = {node.id for node in names} - defined
    owners = {node.value.id for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    modules = wanted & owners & sys.stdlib_module_names
    return sorted(modules), sorted(wanted - modules)


def where(error, check):
    """Return the line of the check at which an error arose."""
    number, trace = 0, error.__traceback__
    while trace:
        number = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "check.py" else number
        trace = trace.tb_next
    return f" at `{check.splitlines()[number - 1].strip()}`" if number else ""


# --- the jail ---------------------------------------------------------------------------------------------------------


def kernel(function, *arguments):
    """Call the C library, and raise what it refuses.

    Raises:
        OSError: It refused; the message names the call.
    """
    if getattr(LIBC, function)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def new_namespaces():
    """Leave this machine's network, processes and users; the next child is the first process inside."""
    uid, gid = os.getuid(), os.getgid()
    kernel("unshare", NEW_NAMESPACES | (NEW_USERS if uid else 0))
    if uid:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def new_root(folders, links, size_mib):
    """Make an empty file system in memory the root, with an interpreter in it that cannot be written to."""
    kernel("unshare", NEW_MOUNTS)
    kernel("mount", None, b"/", None, RECURSIVE | PRIVATE, None)
    base = "/proc"  # exists everywhere, and is not needed any more
    kernel("mount", b"tmpfs", base.encode(), b"tmpfs", 6, f"size={size_mib}m,nr_inodes=1k,mode=0755".encode())
    for folder in folders:
        os.makedirs(base + folder)
        kernel("mount", folder.encode(), (base + folder).encode(), None, BIND | RECURSIVE, None)
        read_only = struct.pack("4Q", 7, 0, 0, 0)  # MOUNT_ATTR_RDONLY, NOSUID and NODEV
        kernel("syscall", 442, -100, (base + folder).encode(), 0x8000, read_only, len(read_only))  # mount_setattr
    for link, target in links.items():
        os.symlink(target, base + link)
    os.makedirs(base + "/tmp", exist_ok=True)
    os.chmod(base + "/tmp", 0o1777)
    os.mkdir(base + "/dev")
    open(base + "/dev/null", "w").close()
    kernel("mount", b"/dev/null", (base + "/dev/null").encode(), None, BIND, None)
    os.chdir(base)
    kernel("pivot_root", b".", b".")
    kernel("umount2", b".", DETACH)
    os.chdir("/tmp")


def give_up_rights(uid):
    """Become a user of no rights, which can never gain any."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kernel("capset", struct.pack("Ii", 0x20080522, 0), bytes(24))
    kernel("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    kernel("prctl", NOT_DUMPABLE, 0, 0, 0, 0)  # no process, not even one of this user, reads or traces this one


def restrict_files(folders, links):
    """Have Landlock hide all files but an interpreter's, and let nothing be written."""
    abi = LIBC.syscall(444, None, 0, 1)  # landlock_create_ruleset, which tells its version
    if abi < 3:  # without 3, from Linux 6.2, any file of this user could be cut to nothing
        raise OSError(0, "this kernel has no Landlock, or an old one")
    everything, reading = (1 << 15) - 1, 0b1101  # LANDLOCK_ACCESS_FS_EXECUTE, READ_FILE and READ_DIR
    rules = LIBC.syscall(444, struct.pack("Q", everything), 8, 0)
    for folder in (*folders, *links, os.getcwd()):
        opened = os.open(folder, os.O_PATH)
        kernel("syscall", 445, rules, 1, struct.pack("=Qi", reading, opened), 0)  # landlock_add_rule
        os.close(opened)
    kernel("syscall", 446, rules, 0)  # landlock_restrict_self
    os.close(rules)


def refuse_system_calls(jail):
    """Have the kernel refuse sockets, mounts, namespaces, tracing, and memory that no limit counts."""
    if os.uname().machine not in REFUSED:
        raise OSError(0, f"no list of system calls for {os.uname().machine}")
    architecture, numbers = REFUSED[os.uname().machine]
    rules = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (6, 0, 0, 0x80000000), (0x20, 0, 0, 0)]
    rules += [(0x35, 0, 1, 0x40000000), (6, 0, 0, 0x80000000)]  # x32
    in_sight = REFUSED_IN_SIGHT[os.uname().machine] if jail in IN_SIGHT else ()
    for number in (*numbers, *REFUSED_EVERYWHERE, *in_sight):
        rules += [(0x15, 0, 1, number), (6, 0, 0, 0x00050001)]  # EPERM
    rules += [(0x15, 0, 4, FCNTL[os.uname().machine]), (0x20, 0, 0, 24)]  # its second argument
    rules += [(0x15, 1, 0, SET_OWNER[0]), (0x15, 0, 1, SET_OWNER[1]), (6, 0, 0, 0x00050001)]
    rules += [(6, 0, 0, 0x7FFF0000)]  # the rest is allowed
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(program)))
    kernel("prctl", SECCOMP, 2, filters, 0, 0)


def set_limits(limits):
    cpu_s, memory = math.ceil(limits["seconds"]), limits["memory_mib"] << 20
    for name, value in {
        "CPU": cpu_s,
        "AS": memory,
        "FSIZE": limits["file_mib"] << 20,
        "NOFILE": 64,
        "CORE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
    }.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def shut(jail, beside, limits):
    """Limit the processes and threads of this user, who has so many beside those of the program, and filter calls."""
    most = beside + limits["processes"]
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    refuse_system_calls(jail)


def threads_of(uid):
    """Return how many threads a user has on this machine."""
    count = 0
    for process in os.listdir("/proc"):
        if process.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                count += len(os.listdir(f"/proc/{process}/task")) * (os.stat(f"/proc/{process}").st_uid == uid)
    return count


def watch(child):
    """Stay outside: end everything inside when the child ends, or when this process is told to."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it is not reaped yet: its number stays its own
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            for orphan in file.read().split():
                os.kill(int(orphan), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)


def enter(jail, limits, system, fds):
    """Go into the jail; only a process inside returns, and says how many processes of its user there are.

    Raises:
        OSError: This machine refuses something that the jail is made of.
    """
    uid, beside = FIRST_UID + os.getpid() % UIDS, 3  # bwrap's process, the check's and the program's
    if jail != "bwrap":
        if jail == "namespaces":
            new_namespaces()
        kernel("prctl", DIE_WITH_PARENT, signal.SIGTERM, 0, 0, 0)  # a change of rights would undo it
        kernel("prctl", SUBREAPER, 1, 0, 0, 0)
        if child := os.fork():
            for fd in fds:
                os.close(fd)
            watch(child)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if memory runs out all the same, this goes first
    if jail in IN_SIGHT and os.getuid():
        beside = threads_of(os.getuid()) + 1
    if jail == "namespaces":
        new_root(**system, size_mib=limits["file_mib"])
    set_limits(limits)
    give_up_rights(uid)
    kernel("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if jail == "landlock":
        restrict_files(**system)
    open(os.__file__).close()  # an interpreter in root's own folders imports nothing for a user without rights
    return beside


def main():
    """Enter the jail, start the program, run the check, and write the verdict with the word that proves whose it is."""
    request = json.load(sys.stdin)
    program, (verdict_fd, check_fd) = request.pop("program"), request["fds"]

    def verdict(passed, why):
        with os.fdopen(verdict_fd, "w") as file:
            file.write(json.dumps([secret["word"], passed, (why or "")[:1000]]))
        os._exit(0)

    try:
        beside = enter(**request)
        (theirs, answers), (questions, mine) = os.pipe(), os.pipe()
        if is_guest := os.fork() == 0:
            kernel("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
            for fd in (verdict_fd, check_fd, theirs, mine):
                os.close(fd)
        shut(request["jail"], beside, request["limits"])
    except OSError as error:
        secret = json.loads(os.pread(check_fd, os.fstat(check_fd).st_size, 0))
        return verdict(None, str(error))
    sys.set_int_max_str_digits(0)
    if is_guest:
        run_guest(questions, answers, program)
    for fd in (answers, questions):
        os.close(fd)
    with os.fdopen(check_fd) as file:
        secret = json.load(file)
    peer = Peer(theirs, mine, {"call": call}, lambda why: verdict(False, why))
    why = run_check(peer, secret["check"])
    return verdict(why is None, why)


if __name__ == "__main__":
    main()
