"""A Hub to try things against by hand: `python -m tests.hub FOLDER [--port N]`."""

from __future__ import annotations

import argparse
import signal
import threading
from contextlib import suppress
from pathlib import Path

from .server import LoopbackHub


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description="A Hub on this machine.")
    parser.add_argument("folder", type=Path, help="where its repositories lie")
    parser.add_argument("--port", type=int, default=0, help="by default a free one")
    given = parser.parse_args()
    with LoopbackHub(given.folder, port=given.port) as hub:
        for name, value in hub.environment(hub.tokens.write).items():
            print(f"export {name}={value}", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
