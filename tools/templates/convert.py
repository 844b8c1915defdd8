"""Convert a model folder to GGUF with llama.cpp's own converter.

Reads `{"model", "out", "type", "checkout"}`. `type` is one of the converter's: f32, f16, bf16, q8_0. `checkout` is a
llama.cpp checkout, or null for the converter that is installed as a package.
"""

import hashlib
import json
import runpy
import sys
from importlib.metadata import distribution
from pathlib import Path

MODULE = "convert_hf_to_gguf"

# A third party packages the converter, so only the files that were read and tested are run: SHA-256 over the names and
# contents of its Python files, by version. `python convert.py` prints that of the installed one.
PACKAGE = "convert-hf-to-gguf"
KNOWN = {"0.1.1": "5a330705f78807207d753dc16496fb90e6bc06b78225dad0a55314567bd0a541"}


def fingerprint() -> str:
    """Return the hash over the installed package's Python files."""
    digest = hashlib.sha256()
    for file in sorted(distribution(PACKAGE).files or [], key=str):
        if file.suffix == ".py":
            digest.update(str(file).encode() + b"\0" + Path(str(file.locate())).read_bytes())
    return digest.hexdigest()


def main(request: dict[str, str | None]) -> dict:
    """Run the converter as if from the command line; it raises or exits with 1 when it cannot."""
    sys.argv = [MODULE, "--outtype", request["type"], "--outfile", request["out"], request["model"]]
    if request["checkout"]:
        sys.path.insert(0, request["checkout"])
    elif fingerprint() != KNOWN.get(distribution(PACKAGE).version):
        sys.exit(f"{PACKAGE} {distribution(PACKAGE).version} is not the package that was tested: it is not run")
    runpy.run_module(MODULE, run_name="__main__")
    return {}


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(fingerprint())
    request_file, answer_file = map(Path, sys.argv[1:])  # before main puts the converter's arguments there
    answer = main(json.loads(request_file.read_text(encoding="utf-8")))
    answer_file.write_text(json.dumps(answer), encoding="utf-8")
