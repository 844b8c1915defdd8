"""Serve a GGUF file with llama.cpp's own HTTP server until standard input closes.

Reads `{"gguf", "context", "slots"}` and writes `{"url"}` when the model is loaded and the server listens. Standard
input is a pipe from whoever asked: it closes when that process ends, however it ends, and no server stays behind.
"""

import json
import sys
from pathlib import Path

from xllamacpp import CommonParams, Server


def main(request: dict) -> Server:
    """Load the model and listen on a free port of this machine alone."""
    parameters = CommonParams()
    parameters.model.path = request["gguf"]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_parallel = request["slots"]
    parameters.n_ctx = request["context"] * request["slots"]
    parameters.use_jinja = True
    parameters.ui = False
    return Server(parameters)


if __name__ == "__main__":
    server = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    answer = Path(sys.argv[2])
    part = answer.with_suffix(".part")
    part.write_text(json.dumps({"url": server.listening_address}), encoding="utf-8")
    part.rename(answer)
    sys.stdin.read()
