"""Our client against lm-eval's own: the same server, questions, decoding and slots; items a second, and the scores.

    python tests/bench/eval.py [--model FOLDER] [--items 60]

Wall-clock times on a busy machine vary; the two are run in turns, so that the ratio is fair.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from ftagent.tools.evaluation.models import QUANTISATION, SLOTS
from ftagent.tools.llama_cpp import convert, serve
from ftagent.tools.models import resolve_model
from ftagent.tools.settings import Settings
from ftagent.tools.templates.openai_client import Decoding, Question, answer_all, ask_server
from ftagent.tools.worker import run_worker

TOKENS = 24
TASK = """
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: {tokens}, do_sample: false, temperature: 0}}
filter_list:
  - name: last-number
    filter:
      - {{function: regex, regex_pattern: '(\\d+)', group_select: -1}}
      - {{function: take_first}}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
SETTINGS = Settings(python=sys.executable)


def rows(count: int) -> list[dict[str, str]]:
    """Return sums that a small model gets right now and then."""
    return [{"question": f"What is {n} plus {n + 3}?", "answer": str(2 * n + 3)} for n in range(11, 11 + count)]


def ours(url: str, items: list[dict[str, str]], file: Path) -> tuple[float, list[bool]]:
    """Ask with our client; return the seconds, and which items are right."""
    asked = [Question(key=str(n), prompt=_turn(row["question"])) for n, row in enumerate(items)]
    decoding = Decoding(max_tokens=TOKENS, stop=("\n\n",))
    started = time.monotonic()
    say = ask_server(url, decoding)
    lines = answer_all(say, asked, file=file, slots=SLOTS, judge=lambda *_: {}, on_progress=lambda *_: None)
    seconds = time.monotonic() - started
    said = [(re.findall(r"\d+", lines[question.key]["text"]) or [""])[-1] for question in asked]
    return seconds, [text == row["answer"] for text, row in zip(said, items, strict=True)]


def _turn(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def theirs(url: str, model: Path, items: list[dict[str, str]], folder: Path) -> tuple[float, list[bool]]:
    """Ask with lm-eval's client; return its seconds without imports, and which items are right."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items), encoding="utf-8")
    task = TASK.format(file=folder / "rows.jsonl", tokens=TOKENS)
    (folder / "sums.yaml").write_text(task, encoding="utf-8")
    request = {
        "url": url,
        "model": str(model),
        "is_chat": True,
        "tasks": ["sums"],
        "folder": str(folder),
        "slots": SLOTS,
        "max_length": 2048,
    }
    answer = run_worker(SETTINGS, "lm_harness.py", request, log=folder / "lm-eval.log", timeout_s=3600)
    samples = sorted(answer["samples"], key=lambda sample: sample["doc"])
    return answer["seconds"], [sample["scores"]["exact_match"] == 1 for sample in samples]


def main() -> None:
    """Serve one model, ask it in turns, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--items", type=int, default=60)
    given = parser.parse_args()
    ref = resolve_model(given.model, SETTINGS)
    if ref.path is None:
        parser.error(f"{given.model} lies on the Hub only: name a folder")
    with tempfile.TemporaryDirectory() as scratch:
        folder, model, items = Path(scratch), Path(ref.path), rows(given.items)
        gguf = folder / f"model-{QUANTISATION}.gguf"
        convert(SETTINGS, model, gguf, QUANTISATION, log=folder / "convert.log")
        with serve(SETTINGS, gguf, log=folder / "serve.log", context=2048, slots=SLOTS) as url:
            ours(url, items[:SLOTS], folder / "warm-up.jsonl")
            rounds = [(ours(url, items, folder / f"{n}.jsonl"), theirs(url, model, items, folder)) for n in range(2)]
    print(f"{len(items)} questions, at most {TOKENS} tokens, {SLOTS} slots, {given.model} in {QUANTISATION}\n")
    print("| client | items/s, each round | right |\n|---|---|---|")
    for name, found in zip(("ftagent", "lm-eval"), zip(*rounds, strict=True), strict=True):
        speeds = ", ".join(f"{len(items) / seconds:.2f}" for seconds, _ in found)
        print(f"| {name} | {speeds} | {sum(found[0][1])} of {len(items)} |")
    agree = sum(a == b for a, b in zip(rounds[0][0][1], rounds[0][1][1], strict=True))
    print(f"\nBoth judge {agree} of {len(items)} items alike.")


if __name__ == "__main__":
    main()
