"""Put questions to base and tuned model, one server after the other: vLLM on a GPU, else llama.cpp.

The machine decides which, so that the same request does on every flavor. vLLM comes with an environment of its own
(`vllm` is the command that starts it there), since it wants other packages than a training does. An adapter is merged
before: what is asked is what is exported and served, and no server has its own idea of what an adapter may hold.

Reads `base`, its `revision`, `checkpoint`, `is_adapter`, `sheets`, `tasks` (of lm-eval), `is_chat`, `context`, `slots`
(by server), `vllm`, `server` (null, or one of the two), `may_fail`, `folder` for what is kept and `work` for what is
not. A sheet has `model` (base or tuned), `name`, `what`, `decoding`, and `questions`, a file of lines with `key`,
`prompt` and `seed`.

Each answer is a line of `folder`/SERVER/MODEL-NAME.jsonl as soon as it is there, and is not asked for again. Answers
with `server` (`kind`, `words` for people), the `lines` files by MODEL-NAME, and by model the `lm_eval` answers; where
it may fail and did, with `failed` alone, which says why.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from lines import iterate_lines, read_lines
from openai_client import MODEL, Decoding, Question, ServerFailed, answer_all, ask_server, call

HERE = Path(__file__).parent
QUANTISATION = "q8_0"
LOAD_TIMEOUT_S = {"llama.cpp": 600, "vllm": 1800}
"""vLLM's includes the download of its packages, some 8 GB."""
END_S = 30.0
POLL_S = 0.2
TELL_S = 2.0
MODELS = ("base", "tuned")
WEIGHTS = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
UNASKED = "auto"
"""What vLLM makes of a number type that nobody looked for: the model's own."""


def tell(**told) -> None:
    """Print one line for whoever follows."""
    print("@progress " + json.dumps(told), flush=True)


def run_beside(program: str, request: dict, work: Path) -> dict:
    """Let a program beside this one answer a request; one that fails ends this one as well."""
    asked, answer = work / f"{program}.request", work / f"{program}.answer"
    answer.unlink(missing_ok=True)
    asked.write_text(json.dumps(request), encoding="utf-8")
    done = subprocess.run([sys.executable, HERE / program, asked, answer], stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{program} ended with {done.returncode}")
    return json.loads(answer.read_text(encoding="utf-8"))


# --- the models -------------------------------------------------------------------------------------------------------


def folder_of(name: str, request: dict, work: Path) -> Path:
    """Return the folder of a whole model: downloaded, or merged."""
    if name == "tuned" and not request["is_adapter"]:
        return Path(request["checkpoint"])
    if name == "base":
        if request["revision"] is None:
            return Path(request["base"])
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(request["base"], revision=request["revision"], allow_patterns=WEIGHTS))
    tell(text="the adapter into its base")
    wanted = {key: request[key] for key in ("base", "revision", "checkpoint")}
    run_beside("merge.py", wanted | {"destination": str(work / "merged")}, work)
    return work / "merged"


def longest_of(folder: Path, wanted: int) -> int:
    """Return how many tokens of prompt and answer the model can hold, at most those that are wanted."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    told = (config.get("text_config") or config).get("max_position_embeddings")
    return min(wanted, told) if told else wanted


# --- the servers ------------------------------------------------------------------------------------------------------


def gpu_type() -> str | None:
    """Return the number type that this machine's GPU computes in, None where there is none.

    Asked in a process of its own: one that has looked holds memory of the GPU until it ends.
    """
    code = "import torch; print(*torch.cuda.get_device_capability() if torch.cuda.is_available() else ())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    if not said:
        return None
    return "bfloat16" if int(said[0]) >= 8 else "float16"  # before Ampere, bfloat16 is emulated, and slow


@contextmanager
def llama_cpp(folder: Path, context: int, slots: int, work: Path) -> Iterator[str]:
    """Serve a model folder with llama.cpp, as 8-bit GGUF."""
    gguf = work / "model.gguf"
    run_beside("convert.py", {"model": str(folder), "out": str(gguf), "type": QUANTISATION, "checkout": None}, work)
    asked, answer = work / "serve.request", work / "serve.answer"
    answer.unlink(missing_ok=True)
    asked.write_text(json.dumps({"gguf": str(gguf), "context": context, "slots": slots}), encoding="utf-8")
    with started([sys.executable, str(HERE / "serve.py"), str(asked), str(answer)]) as process:
        wait_for(process, answer.exists, "llama.cpp")
        yield json.loads(answer.read_text(encoding="utf-8"))["url"]
    gguf.unlink()


@contextmanager
def vllm(folder: Path, context: int, slots: int, command: list[str], dtype: str) -> Iterator[str]:
    """Serve a model folder with vLLM.

    `--generation-config vllm`: what the model's own file says of sampling must not come on top of what is asked for.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "served-model-name": MODEL,
        "host": "127.0.0.1",
        "port": port,
        "dtype": dtype,
        "max-model-len": context,
        "max-num-seqs": slots,
        "generation-config": "vllm",
        "uvicorn-log-level": "warning",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    url = f"http://127.0.0.1:{port}"
    with started([*command, "serve", str(folder), *words]) as process:
        wait_for(process, lambda: is_healthy(url), "vllm")
        yield url


def is_healthy(url: str) -> bool:
    """Whether a server says that it is ready."""
    try:
        call(url, "/health")
    except ServerFailed:
        return False
    return True


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen]:
    """Start a server, without the token, in a group of its own that is gone at the end, with its GPU memory."""
    secrets = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    environment |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen) -> None:
    """Ask a group to end, and make it."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.communicate(timeout=END_S)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    process.wait()


def wait_for(process: subprocess.Popen, is_ready, kind: str) -> None:
    """Wait until a server is ready; one that ends before, or takes too long, ends this program."""
    until = time.monotonic() + LOAD_TIMEOUT_S[kind]
    while not is_ready():
        if process.poll() is not None:
            sys.exit(f"{kind} ended with {process.returncode} before it could be asked")
        if time.monotonic() > until:
            sys.exit(f"{kind} was not ready within {LOAD_TIMEOUT_S[kind]} s")
        time.sleep(POLL_S)


# --- asking -----------------------------------------------------------------------------------------------------------


class Asker:
    """Puts everything to one model after the other, and starts no server for what is answered already."""

    def __init__(self, request: dict, kind: str, dtype: str) -> None:
        self.request, self.kind, self.dtype = request, kind, dtype
        name = f"{kind}-{QUANTISATION if kind == 'llama.cpp' else dtype}"
        self.kept, self.work = Path(request["folder"], name), Path(request["work"])
        self.work.mkdir(parents=True, exist_ok=True)

    def file_of(self, sheet: dict) -> Path:
        """Return where the answers to a sheet are kept."""
        return self.kept / f"{sheet['model']}-{sheet['name']}.jsonl"

    def is_answered(self, sheet: dict) -> bool:
        """Whether every question of a sheet has its line."""
        known = read_lines(self.file_of(sheet))
        return all(question.key in known for question in questions_of(sheet))

    def ask(self, name: str) -> None:
        """Put to one model what it has not answered."""
        sheets = [sheet for sheet in self.request["sheets"] if sheet["model"] == name and not self.is_answered(sheet)]
        measured, note = self.kept / f"{name}-lm-eval.json", self.kept / "server.json"
        wants_tasks = bool(self.request["tasks"]) and not measured.exists()
        if not sheets and not wants_tasks:
            return
        folder = folder_of(name, self.request, self.work)
        if wants_tasks and self.measure(folder, None, measured):
            wants_tasks = False
        if not sheets and not wants_tasks:
            return
        tell(text=f"{name} model: {self.kind} starts")
        with self.serving(folder) as url:
            self.kept.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps({"kind": self.kind, "words": self.words(url)}), encoding="utf-8")
            for sheet in sheets:
                self.put(sheet, url)
            if wants_tasks:
                self.measure(folder, url, measured)
        shutil.rmtree(self.work / "merged", ignore_errors=True)

    def serving(self, folder: Path):
        """Return the server of a model, which runs while the block lasts."""
        context, slots = longest_of(folder, self.request["context"]), self.request["slots"][self.kind]
        if self.kind == "vllm":
            return vllm(folder, context, slots, self.request["vllm"], self.dtype)
        return llama_cpp(folder, context, slots, self.work)

    def words(self, url: str) -> str:
        """Return what serves, for people."""
        if self.kind == "vllm":
            return f"both models in {self.dtype} on vLLM ({call(url, '/version')['version']})"
        return f"both models in {QUANTISATION.upper()} on llama.cpp (xllamacpp {version('xllamacpp')})"

    def put(self, sheet: dict, url: str) -> None:
        """Ask all of a sheet, as many questions at a time as the server has slots."""
        last = 0.0

        def on_progress(done: int, total: int) -> None:
            nonlocal last
            if done == total or time.monotonic() - last > TELL_S:
                last = time.monotonic()
                tell(text=f"{sheet['model']} model: {sheet['what']}", done=done, total=total)

        decoding = Decoding(**sheet["decoding"] | {"stop": tuple(sheet["decoding"]["stop"])})
        answer_all(
            ask_server(url, decoding),
            questions_of(sheet),
            file=self.file_of(sheet),
            slots=self.request["slots"][self.kind],
            judge=lambda *_: {},
            on_progress=on_progress,
        )

    def measure(self, folder: Path, url: str | None, out: Path) -> bool:
        """Let lm-eval measure: without a server what compares likelihoods, with one the rest; tell whether it did."""
        request = {
            "url": url,
            "model": str(folder),
            "is_chat": self.request["is_chat"],
            "tasks": self.request["tasks"],
            "folder": None,
            "slots": self.request["slots"][self.kind],
            "max_length": longest_of(folder, self.request["context"]),
        }
        answer = run_beside("lm_harness.py", request, self.work)
        if answer["through"] is None:
            return False
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(answer), encoding="utf-8")
        return True

    def answer(self) -> dict:
        """Return what there is, by name."""
        note, place = self.kept / "server.json", self.kept.relative_to(self.request["folder"])
        found = {name: self.kept / f"{name}-lm-eval.json" for name in MODELS}
        return {
            "server": json.loads(note.read_text(encoding="utf-8")) if note.exists() else None,
            "lines": {
                f"{sheet['model']}-{sheet['name']}": f"{place}/{self.file_of(sheet).name}"
                for sheet in self.request["sheets"]
            },
            "lm_eval": {name: json.loads(file.read_text("utf-8")) for name, file in found.items() if file.exists()},
        }


def questions_of(sheet: dict) -> list[Question]:
    """Return the questions of a sheet."""
    return [Question(**line) for line in iterate_lines(Path(sheet["questions"]))]


def asked(request: dict) -> dict:
    """Ask the base, and then the tuned model."""
    dtype = None if request["server"] else gpu_type()
    kind = request["server"] or ("vllm" if dtype else "llama.cpp")
    asker = Asker(request, kind, dtype or UNASKED)
    for name in MODELS:
        asker.ask(name)
    return asker.answer()


def main(request: dict) -> dict:
    """Ask, or say why it could not be: where nobody asked for answers, the job has other results to bring home."""
    try:
        return asked(request)
    except (ServerFailed, SystemExit) as error:
        if not request["may_fail"]:
            raise
        return {"failed": str(error)}


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
