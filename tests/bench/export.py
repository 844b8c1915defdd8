"""The quantisation table of a real model: size, perplexity against the merged model, greedy agreement, tokens a second.

    python tests/bench/export.py [--model FOLDER] [--rows FILE] [--count 24] [--importance] [--only Q8_0 Q4_K_M]

Every file is made and proven as an export does it; the bounds are opened, so that a file that would fail shows its
figures, too, and the last column says what the export would do with it. Perplexity is over held-out chats, the model's
own in transformers is the first line. Tokens a second hang on what else the machine does; the rest does not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from ftagent.tools.export import ANSWER_TOKENS, COMPARED_TOKENS, LEAST_CONTEXT, LONGEST_ROW, SMALL_TALK
from ftagent.tools.llama_cpp import step_for
from ftagent.tools.models import resolve_model
from ftagent.tools.settings import Settings
from ftagent.tools.worker import run_worker

USUAL = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
OPEN = {"perplexity_ratio": 1e9, "agreement": 0.0}
ROWS = Path(__file__).parents[2] / "examples" / "docstrings.jsonl"
SETTINGS = Settings(python=sys.executable)


def request(
    model: Path, folder: Path, rows: list[dict[str, Any]], names: list[str], importance: bool
) -> dict[str, Any]:
    """Return what the export program is asked."""
    questions = [row["messages"][:-1] for row in rows[:3]]
    return {
        "model": str(model),
        "adapter": None,
        "folder": str(folder),
        "name": "model",
        "quantisations": [step_for(name) | OPEN for name in names],
        "importance": importance,
        "rows": rows,
        "questions": [[{"role": "user", "content": SMALL_TALK}], *questions],
        "max_length": LONGEST_ROW,
        "context": LEAST_CONTEXT,
        "answer_tokens": ANSWER_TOKENS,
        "compared_tokens": COMPARED_TOKENS,
        "checkout": None,
        "repository": None,
    }


def line(file: dict[str, Any]) -> str:
    """Return one line of the table."""
    proof, bounds = file["proof"], step_for(file["quantisation"])
    ratio = proof["perplexity"] / proof["reference_perplexity"]
    near = 1 / bounds["perplexity_ratio"] <= ratio <= bounds["perplexity_ratio"]
    good = near and proof["agreement"] >= bounds["agreement"]
    weighed = " + imatrix" if file["importance"] else ""
    return (
        f"| {file['quantisation']}{weighed} | {file['size_bytes'] / 1e6:.1f} MB | {proof['perplexity']:.4g} "
        f"| {100 * (ratio - 1):+.2f} % | {100 * proof['agreement']:.1f} % | {proof['tokens_per_s']:.0f} "
        f"| {'passes' if good else 'fails'} |"
    )


def main() -> None:
    """Make the files in a temporary folder, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--importance", action="store_true")
    parser.add_argument("--only", nargs="+", default=list(USUAL))
    options = parser.parse_args()
    model = options.model or Path(resolve_model("SmolLM2-135M-Instruct", SETTINGS, None).path or "")
    rows = [json.loads(text) for text in options.rows.read_text(encoding="utf-8").splitlines()]
    held = [{"messages": row["messages"]} for row in rows[-options.count :]]
    print("| quantisation | size | perplexity | against the model | same greedy tokens | tokens/s | bounds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        asked = request(model, Path(folder), held, options.only, options.importance)
        log = Path(folder, "export.log")

        def follow(told: dict[str, Any]) -> None:
            if "file" in told:
                print(line(told["file"]), flush=True)
            elif "failed" in told:
                print(f"| {told['failed']} | failed: {told['why']} |", flush=True)

        answer = run_worker(SETTINGS, "exported.py", asked, log=log, timeout_s=3 * 3600, on_progress=follow)
    known = answer["reference"]
    print(
        f"\nThe model itself, in transformers {known['transformers']} ({known['dtype']}): perplexity "
        f"{known['perplexity']:.4g} over {known['count']} tokens of {options.count} chats."
    )


if __name__ == "__main__":
    main()
