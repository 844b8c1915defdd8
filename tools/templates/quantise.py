"""Quantise a GGUF file with llama.cpp: reads `source`, `out`, `ftype` (a number of `llama_ftype`) and `importance`.

`importance` is null, or a file of importance.py. cyllama's `model_quantize` takes no importance matrix (its `imatrix`
cannot be set), so with one the file is written in two steps: llama.cpp chooses each tensor's type and writes it, and
the rows of every tensor that has importances are then quantised anew, with them, by ggml's own functions (libgguf), at
the same place and size. Answers with `weighted`, the number of those tensors.
"""

import json
import sys
from pathlib import Path

from cyllama.llama.llama_cpp import LlamaModelQuantizeParams, model_quantize


def weigh(source: str, out: str, importance: str) -> int:
    """Quantise every tensor that has importances anew, with them; return how many there were."""
    import numpy as np
    from gguf.gguf_reader import GGUFReader
    from gguf.quants import dequantize
    from libgguf import load_imatrix, quantize_rows

    importances = load_imatrix(importance)
    exact = {tensor.name: tensor for tensor in GGUFReader(source).tensors}
    weighted = 0
    for tensor in GGUFReader(out, "r+").tensors:
        columns = importances.get(tensor.name)
        if columns is None or tensor.tensor_type.name in ("F32", "F16", "BF16"):
            continue
        whole = exact[tensor.name]
        rows = np.asarray(dequantize(whole.data, whole.tensor_type), dtype=np.float32)
        tensor.data[:] = quantize_rows(rows, tensor.tensor_type, columns).reshape(tensor.data.shape)
        weighted += 1
    return weighted


def main(request: dict) -> dict:
    """Write the quantised file; llama.cpp prints what becomes of each tensor."""
    parameters = LlamaModelQuantizeParams()
    parameters.ftype = request["ftype"]
    model_quantize(request["source"], request["out"], parameters)
    if request.get("importance") is None:
        return {"weighted": 0}
    return {"weighted": weigh(request["source"], request["out"], request["importance"])}


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
