"""The whole export in one process: merge, convert, quantise, prove, and upload; the same on this machine and in a job.

It and its neighbours (merge.py, convert.py, reference.py, importance.py, quantise.py, proof.py, shelf.py, upload.py)
need the standard library, the packages of `ftagent[local,demo]`, and each other in one folder, but not ftagent:
`python exported.py REQUEST ANSWER`. The request is a JSON object:

    model           the folder of the whole tuned model, or where to merge it to
    adapter         null, or {"base", "revision", "checkpoint"}: merged into `model` first
    folder          where the files go
    name            what they are named after: NAME-Q4_K_M.gguf
    quantisations   [{"name", "convert", "ftype", "perplexity_ratio", "agreement"}]: the converter's type or the number
                    of llama.cpp's quantiser, and the bounds that the file must keep
    importance      whether the quantiser weighs by an importance matrix, made from every second row
    rows            [{"messages"} or {"text"}]: what was held out
    questions       chats without their answers, or beginnings of texts
    max_length, context, answer_tokens, compared_tokens
    checkout        null, or a llama.cpp checkout whose converter is used
    repository      null, or {"id", "private", "folder", "card", "run", "of"}: a model repository on the Hub (its token
                    is HF_TOKEN), and the folder of it, "" or with a slash at its end; the card, null for none, has
                    `<!-- quantisations -->` where the table of the files goes; what an earlier try of the same `run`
                    has made from the same (`of`) and put there is not made again

Each file is made under another name, and gets its own when it is proven. Progress lines tell `step` and `text`, the
`stops`, each `file` as soon as it is proven (and uploaded), and each that `failed` and `why`. A file that is in the
repository from an earlier try is not on this disk. The answer:

    files           [{"quantisation", "path", "size_bytes", "sha256", "importance", "proof"}], `path` in `folder`
    failed          {quantisation: why}; such a file is neither kept nor uploaded
    reference       {"perplexity", "count", "largest_weight", "dtype", "transformers"}
    stops           the texts that end an answer
"""

import fcntl
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shelf import Shelf
from upload import sha256_of, tell

HERE = Path(__file__).parent
SCRATCH = ("intermediate*", "*.unproven.gguf", ".reference.part", ".*.py.request", ".*.py.answer")
LARGEST_FLOAT16 = 65504.0
"""Weights beyond it are converted by way of bfloat16."""
SAME_TOKENS = 0.9
"""Share of held-out rows that must be cut into the tokenizer's very tokens; all must keep their special ones."""
SURE = 2.0
"""Standard errors that perplexity may lie beyond its bound: on few rows it says little (about 95 % of chance)."""
FLIPS = 2
"""Tokens of the greedy answers that may differ in any case: near ties, which rounding alone decides."""


@contextmanager
def alone_in(folder: Path) -> Iterator[int]:
    """Hold the folder as long as this process or one of its steps lives: what a killed export left comes to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def clean(folder: Path) -> None:
    """Remove everything but finished files, and what the merged model measured."""
    for pattern in SCRATCH:
        for left in folder.glob(pattern):
            left.unlink()


def link_or_copy(source: Path, out: Path) -> None:
    """Give a file a second name; on a disk that has none such, make a copy."""
    try:
        os.link(source, out)
    except OSError:
        shutil.copyfile(source, out)


class Steps:
    """The workers beside this file, one process each; a crash in one of them ends the export with its last line."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder, self.lock = folder, lock

    def run(self, worker: str, request: dict) -> dict:
        """Run one worker on one request."""
        asked, said = self.folder / f".{worker}.request", self.folder / f".{worker}.answer"
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, str(HERE / worker), str(asked), str(said)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, pass_fds=[self.lock])
        if done.returncode != 0:
            sys.exit(done.returncode if done.returncode > 0 else f"{worker} was ended by signal {-done.returncode}")
        return json.loads(said.read_text(encoding="utf-8"))


class Maker:
    """Makes one file after the other from one model."""

    def __init__(self, request: dict, steps: Steps) -> None:
        self.request, self.steps = request, steps
        self.folder = Path(request["folder"])
        self.source = self.folder / "intermediate.gguf"
        self.measured = request["rows"][::2] if request["importance"] else request["rows"]
        self.reference_file = self.folder / ".reference.json"
        self.importance: Path | None = None

    def measure(self) -> dict:
        """Measure the model that the files are held against, once for the same weights and rows."""
        request = {
            "model": self.request["model"],
            "rows": self.measured,
            "questions": self.request["questions"],
            "max_length": self.request["max_length"],
            "answer_tokens": self.request["compared_tokens"],
        }
        weights = [[file.name, file.stat()] for file in sorted(Path(request["model"]).glob("*.safetensors"))]
        states = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in weights]
        key = hashlib.sha256(json.dumps([request, states]).encode()).hexdigest()
        if self.reference_file.exists():
            self.reference = json.loads(self.reference_file.read_text(encoding="utf-8"))
            if self.reference["key"] == key:
                return self.reference
        tell(step="measure", text="the merged model in transformers")
        self.reference = self.steps.run("reference.py", request) | {"key": key}
        draft = self.reference_file.with_suffix(".part")
        draft.write_text(json.dumps(self.reference), encoding="utf-8")
        draft.rename(self.reference_file)
        return self.reference

    def convert(self, out: Path, kind: str) -> None:
        """Let the converter write a file."""
        tell(step="convert", text=f"to {kind.upper()}")
        request = {"model": self.request["model"], "out": str(out), "type": kind, "checkout": self.request["checkout"]}
        self.steps.run("convert.py", request)

    def sixteen_bit(self) -> Path:
        """Return the file that the quantiser reads, made once."""
        if not self.source.exists():
            draft = self.source.with_suffix(".part")
            self.convert(draft, "f16" if self.reference["largest_weight"] <= LARGEST_FLOAT16 else "bf16")
            draft.rename(self.source)
        return self.source

    def weigh(self) -> str | None:
        """Return the importance matrix, made once; None where none is wanted."""
        if not self.request["importance"]:
            return None
        if self.importance is None:
            tell(step="weigh", text="which inputs matter")
            self.importance = self.folder / f"{self.request['name']}.imatrix.gguf"
            request = {
                "model": self.request["model"],
                "gguf": str(self.sixteen_bit()),
                "rows": self.request["rows"][1::2],
                "max_length": self.request["max_length"],
                "out": str(self.importance),
            }
            self.steps.run("importance.py", request)
        return str(self.importance)

    def write(self, out: Path, wanted: dict) -> bool:
        """Write one file; tell whether an importance matrix weighed in it."""
        if wanted["convert"] == "f16" and self.reference["largest_weight"] > LARGEST_FLOAT16:
            raise TooLarge(f"its largest weight is {self.reference['largest_weight']:.3g}, which float16 cannot hold")
        if wanted["convert"] == "f16":
            link_or_copy(self.sixteen_bit(), out)
        elif wanted["convert"]:
            self.convert(out, wanted["convert"])
        if wanted["convert"]:
            return False
        source, importance = self.sixteen_bit(), self.weigh()
        tell(step="quantise", text=f"to {wanted['name']}")
        request = {"source": str(source), "out": str(out), "ftype": wanted["ftype"], "importance": importance}
        return self.steps.run("quantise.py", request)["weighted"] > 0

    def prove(self, gguf: Path, wanted: dict) -> dict:
        """Hold one file against the model in llama.cpp."""
        tell(step="prove", text=gguf.name)
        keys = ("questions", "context", "answer_tokens")
        request = {"gguf": str(gguf), "reference": str(self.reference_file), **{key: self.request[key] for key in keys}}
        found = self.steps.run("proof.py", request)
        if why := failure(found, self.reference, wanted, self.request["answer_tokens"]):
            raise Unproven(why)
        return {
            "loads": True,
            "answer": found["answer"],
            "stops_at_eos": found["stopped"],
            "template_matches": True,
            "tokens_per_s": found["tokens_per_s"],
            "special_tokens": found["special"],
            "same_tokens": found["same_tokens"],
            "perplexity": found["perplexity"],
            "perplexity_error": found["perplexity_error"],
            "reference_perplexity": self.reference["perplexity"],
            "measured_tokens": self.reference["count"],
            "agreement": found["agreement"],
        }

    def make(self, wanted: dict) -> dict:
        """Write and prove one file.

        Raises:
            Unproven: It failed; nothing of it is left.
        """
        gguf = self.folder / f"{self.request['name']}-{wanted['name']}.gguf"
        draft = gguf.with_suffix(".unproven.gguf")
        try:
            weighed = self.write(draft, wanted)
            proof = self.prove(draft, wanted)
            draft.rename(gguf)
        finally:
            draft.unlink(missing_ok=True)
        return {
            "quantisation": wanted["name"],
            "path": gguf.name,
            "size_bytes": gguf.stat().st_size,
            "sha256": sha256_of(gguf),
            "importance": weighed,
            "proof": proof,
        }


class Unproven(Exception):
    """A file that must not be used, and why."""


class TooLarge(Unproven):
    """A file whose type cannot hold the weights."""


def failure(found: dict, reference: dict, wanted: dict, answer_tokens: int) -> str | None:
    """Return what is wrong with a file, None where nothing is."""
    ratio = found["perplexity"] / reference["perplexity"]
    compared = sum(len(answer["tokens"]) - answer["start"] for answer in reference["answers"])
    flips = round((1 - found["agreement"]) * compared)
    if reference["template"] not in (None, found["template"]):
        return "its chat template is not the tokenizer's"
    if not found["special"]:
        return "its special tokens are not the tokenizer's: a prompt comes out as other tokens than in training"
    if not found["same_tokens"] >= SAME_TOKENS:
        return f"it cuts {100 * (1 - found['same_tokens']):.0f} % of the held-out rows into other tokens"
    if not found["answer"]:
        return f"it answered {found['asked']} questions with nothing"
    if not found["stopped"]:
        said = found["answer"][:80]
        return f"it did not stop within {answer_tokens} tokens on {found['asked']} questions; the last: {said!r}"
    most, error = wanted["perplexity_ratio"], found["perplexity_error"]
    if not (math.isfinite(ratio) and abs(math.log(ratio)) - SURE * error <= math.log(most)):
        return (
            f"its perplexity is {found['perplexity']:.4g}, the merged model's {reference['perplexity']:.4g}: "
            f"{ratio:.3g} times (± {100 * SURE * error:.1f} %), where {wanted['name']} may have {most:g} times"
        )
    if flips > max(FLIPS, (1 - wanted["agreement"]) * compared):
        return (
            f"it says other tokens than the merged model in {flips} of {compared} places, "
            f"where {wanted['name']} may in {100 * (1 - wanted['agreement']):.0f} %"
        )
    return None


def merge(request: dict, steps: Steps) -> None:
    """Merge the adapter, where there is one, into the folder of the whole model."""
    if request["adapter"] is not None:
        tell(step="merge", text="the adapter into its base")
        steps.run("merge.py", {**request["adapter"], "destination": request["model"]})


def make_all(request: dict, steps: Steps, shelf: Shelf | None) -> dict:
    """Make, and where that is wanted upload, one file after the other."""
    known = {wanted["name"]: shelf.has(wanted["name"]) if shelf else None for wanted in request["quantisations"]}
    maker = Maker(request, steps)
    if shelf and known and all(known.values()):
        made_from = {key: shelf.kept[key] for key in ("reference", "stops")}
    else:
        made_from = begin(maker)
    tell(stops=made_from["stops"])
    files, failed = [], {}
    for wanted in request["quantisations"]:
        name = wanted["name"]
        try:
            file = known[name] or maker.make(wanted)
        except Unproven as error:
            failed[name] = str(error)
            tell(failed=name, why=str(error))
            continue
        if known[name]:
            tell(step="upload", text=f"{file['path']} was proven and uploaded by an earlier try")
        elif shelf:
            shelf.take(maker.folder, file, made_from)
        files.append(file)
        tell(file=file)
    return {"files": files, "failed": failed, **made_from}


def begin(maker: Maker) -> dict:
    """Merge and measure what the files are made from."""
    merge(maker.request, maker.steps)
    reference = maker.measure()
    told = {key: reference[key] for key in ("perplexity", "count", "largest_weight", "dtype", "transformers")}
    return {"reference": told, "stops": reference["stops"]}


def main(request: dict) -> dict:
    """Make all files in a folder that nobody else works in, and leave nothing there but them."""
    shelf, folder = Shelf(request["repository"]) if request["repository"] else None, Path(request["folder"])
    with alone_in(folder) as lock:
        clean(folder)  # what a killed process left
        try:
            return make_all(request, Steps(folder, lock), shelf)
        finally:
            clean(folder)


if __name__ == "__main__":
    found = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
