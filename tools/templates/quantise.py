"""Quantise a GGUF file with llama.cpp: reads `{"source", "out", "ftype"}`, `ftype` being a number of `llama_ftype`."""

import json
import sys
from pathlib import Path

from cyllama.llama.llama_cpp import LlamaModelQuantizeParams, model_quantize


def main(request: dict) -> dict:
    """Write the quantised file; llama.cpp prints what becomes of each tensor."""
    parameters = LlamaModelQuantizeParams()
    parameters.ftype = request["ftype"]
    model_quantize(request["source"], request["out"], parameters)
    return {}


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
