"""Keeps a rehearsed script to its own folder, to this machine and the Hub, and to its share of time and memory.

This guards against mistakes, not against malice: what a library writes without Python's knowledge is not seen, nor what
a process does that the script starts.
"""

from __future__ import annotations

import ipaddress
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

MEMORY_GIB = 8
"""More than the twin of any vocabulary takes: 6.1 GiB, torch and all, at 262,144 tokens and width 512 (measured)."""
HUB_HOSTS = ("huggingface.co", "hf.co", "localhost")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_ENDPOINT")
CACHES = ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "TRACKIO_DIR", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC
# Events of the interpreter that change a path, and the places of that path and of its folder's descriptor in them
# (https://docs.python.org/3/library/audit_events.html).
CHANGES = {"os.mkdir": (0, 2), "os.remove": (0, 1), "os.rmdir": (0, 1), "os.rename": (1, 3), "os.truncate": (0, None)}


class Walls:
    """What a script may reach, and what it tried to reach beyond that.

    Args:
        folder: Everything that the script writes goes below.
        timeout_s: Seconds that one run may take.
    """

    def __init__(self, folder: Path, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.broken: list[str] = []
        """What it tried, even where the script caught the refusal."""
        caches = [os.environ[name] for name in CACHES if name in os.environ]
        open_to = [folder, tempfile.gettempdir(), Path.home() / ".cache", "/dev", "/proc", *caches]
        self._folders = tuple(os.path.realpath(path) + os.sep for path in open_to)
        proxies = [urlparse(os.environ.get(name, "")).hostname for name in PROXIES]
        self._hosts = (*HUB_HOSTS, *filter(None, proxies))
        self._has_resolved = False

    @contextmanager
    def around(self) -> Iterator[None]:
        """Stand around whatever runs inside, and end it when its time is over."""
        _standing.append(self)
        before = signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, self.timeout_s)
        try:
            with limited_memory():
                yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            _standing.remove(self)

    def _late(self, *_: Any) -> None:
        raise TimeoutError(
            f"{self.timeout_s:.0f} s were not enough for a few steps of the twin: look for a loop that does not end, "
            "or for work on all rows that the first rows do not need"
        )

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse what reaches beyond.

        Raises:
            PermissionError: It does; the message says what, and what is open.
        """
        if event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & WRITING:
            self._look_at_path(arguments[0])
        elif event in CHANGES:
            path, folder = CHANGES[event]
            is_whole = folder is None or arguments[folder] == -1
            if is_whole and not (event == "os.mkdir" and self._leads_here(arguments[path])):
                self._look_at_path(arguments[path])
        elif event == "socket.getaddrinfo":
            self._look_at_host(arguments[0])
        elif event == "socket.connect":
            self._look_at_address(arguments[1])

    def _leads_here(self, path: Any) -> bool:
        """Whether something open lies below: whoever makes a folder asks for all those above it, too."""
        return any(folder.startswith(os.path.realpath(os.fsdecode(path)) + os.sep) for folder in self._folders)

    def _look_at_path(self, path: Any) -> None:
        if isinstance(path, int):
            return
        real = os.path.realpath(os.fsdecode(path))
        if not f"{real}{os.sep}".startswith(self._folders) and "__pycache__" not in real:
            self._refuse(f"the script writes to {real}: everything belongs below `home`, its own folder")

    def _look_at_host(self, host: Any) -> None:
        name = os.fsdecode(host or "localhost").lower()
        if _is_address(name):
            return
        if not any(name == known or name.endswith(f".{known}") for known in self._hosts):
            self._refuse(
                f"the script reaches for {name}: a training may reach the Hugging Face Hub only; load from there"
            )
        self._has_resolved = True

    def _look_at_address(self, address: Any) -> None:
        if not isinstance(address, tuple) or self._has_resolved or address[0] in self._hosts:
            return
        host = str(address[0])
        if _is_address(host) and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            self._refuse(
                f"the script connects to {host}: a training may reach the Hugging Face Hub only; load from there"
            )

    def _refuse(self, why: str) -> None:
        self.broken.append(why)
        raise PermissionError(why)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


@contextmanager
def limited_memory() -> Iterator[None]:
    """Let this process have so much more memory than now; beyond, its allocations fail, which names their line."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + MEMORY_GIB * 2**30
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _data_bytes() -> int:
    """Return what Linux counts against RLIMIT_DATA (proc(5), statm); other systems do not count it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[5]) * resource.getpagesize() if statm.exists() else 0


_standing: list[Walls] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _standing and (event == "open" or event in CHANGES or event.startswith("socket.")):
        _standing[-1].look(event, arguments)


sys.addaudithook(_audit)  # for the whole process: Python has no way to take it away again
