"""Base and tuned model as two GGUF files of the same kind, for one llama.cpp server after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import ToolError
from ..llama_cpp import convert, serve
from ..merging import chat_template, merged
from ..run import Run
from ..templates.lines import read_lines
from ..templates.openai_client import ServerFailed, answer_all, ask_server
from ..trained import Checkpoint
from .part import FOLDER
from .sheets import Lines, Said, Sheet

# Half the bytes of F16, which is what a CPU's speed of generation hangs on, with weights off by 0.4 % at most.
QUANTISATION = "Q8_0"
SLOTS = 4


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model that can be served when it is needed."""

    run: Run
    name: str
    """`base` or `tuned`."""
    folder: Path
    """Its weights, as transformers keeps them."""
    revision: str
    """What tells its weights from others: a commit, or a hash over the files."""

    @property
    def chat_template(self) -> str | None:
        """Its chat template, as it will be read into the GGUF file."""
        return chat_template(self.folder)

    def fingerprint(self, *settings: Any) -> str:
        """Return what tells answers of this model, served like this and asked with these settings, from all others."""
        made_by = [self.revision, self.chat_template, QUANTISATION, server(), *settings]
        return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]

    @contextmanager
    def serve(self, *, context: int) -> Iterator[str]:
        """Convert the model and serve it while the block lasts; the file goes with the block.

        Args:
            context: Tokens of prompt and answer that one request may have.

        Raises:
            ToolError: llama.cpp does not know its architecture, or is not installed.
        """
        log = self.run.log("evaluate")
        gguf = self.run.folder / "eval" / f"{self.name}-{QUANTISATION}.gguf"
        gguf.parent.mkdir(exist_ok=True)
        try:
            self.run.journal.tell("progress", step="evaluate", text=f"{self.name} model: converting to {QUANTISATION}")
            convert(self.run.settings, self.folder, gguf, QUANTISATION, log=log)
            with serve(self.run.settings, gguf, log=log, context=context, slots=SLOTS) as url:
                yield url
        finally:
            gguf.unlink(missing_ok=True)


@dataclass
class LazyServer:
    """A served model whose server starts with the first question that no file answers yet.

    Args:
        served: The model.
        context: Tokens of prompt and answer that one request may have.
        stack: Ends the server.
    """

    served: Served
    context: int
    stack: ExitStack
    url: str | None = None

    def answer(self, sheet: Sheet) -> Lines:
        """Return a line for each question of a sheet, by its key; see `answer_all`.

        Raises:
            ToolError: The server failed; the lines so far are kept.
        """
        file = self.file_of(sheet)
        known = read_lines(file)
        if self.url is None and any(question.key not in known for question in sheet.questions):
            self.url = self.stack.enter_context(self.served.serve(context=self.context))

        def tell(done: int, total: int) -> None:
            text = f"{self.served.name} model: {sheet.what}"
            self.served.run.journal.tell("progress", step="evaluate", text=text, done=done, total=total)

        say = ask_server(self.url or "", sheet.decoding)
        try:
            return answer_all(say, sheet.questions, file=file, slots=SLOTS, judge=sheet.judge, on_progress=tell)
        except ServerFailed as error:
            raise ToolError(f"llama.cpp {error}") from error

    def file_of(self, sheet: Sheet) -> Path:
        """Return where the lines of a sheet lie; those of a base may serve every run that has the same one."""
        run, name = self.served.run, self.served.name
        is_shared = sheet.is_shared and name == "base"
        home = run.settings.cache_dir / "evaluation" if is_shared else run.folder / FOLDER
        return home / f"{sheet.name}-{name}-{self.served.fingerprint(*sheet.made_by)}.jsonl"


def answered_here(run: Run, checkpoint: Checkpoint, sheets: Sequence[Sheet]) -> Said:
    """Return what both models answer on this machine, one llama.cpp server after the other.

    Raises:
        ToolError: A server failed; the answers so far are kept.
    """
    lines: dict[str, Lines] = {}
    for served in both(run, checkpoint):
        of_model = [sheet for sheet in sheets if sheet.model == served.name]
        with ExitStack() as stack:
            asked = LazyServer(served, max((sheet.context for sheet in of_model), default=0), stack)
            lines |= {sheet.title: asked.answer(sheet) for sheet in of_model}
    return Said(lines=lines, served=f"both models in {QUANTISATION} on llama.cpp ({server()})")


def server() -> str:
    """Return which llama.cpp serves, as a report names it.

    Raises:
        ToolError: It is not installed.
    """
    try:
        return f"xllamacpp {version('xllamacpp')}"
    except PackageNotFoundError as error:
        raise ToolError("llama.cpp's server is not installed.", hint="pip install 'ftagent[demo]'") from error


def both(run: Run, checkpoint: Checkpoint) -> tuple[Served, Served]:
    """Return the base and the tuned model.

    Raises:
        ToolError: The base's weights cannot be had, or the adapter cannot be merged.
    """
    assert run.spec is not None and run.spec.model_ref is not None
    base = Served(run=run, name="base", folder=base_folder(checkpoint), revision=run.spec.model_ref.revision)
    tuned = Served(run=run, name="tuned", folder=merged(run, checkpoint), revision=_weights_hash(checkpoint.folder))
    return base, tuned


def base_folder(checkpoint: Checkpoint) -> Path:
    """Return the folder of the base's weights, downloaded where they are not here.

    Raises:
        ToolError: They cannot be read.
    """
    return _base_files(checkpoint, ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"])


def _base_files(checkpoint: Checkpoint, patterns: list[str]) -> Path:
    if checkpoint.revision is None:
        return Path(checkpoint.base)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(checkpoint.base, revision=checkpoint.revision, allow_patterns=patterns))
    except OSError as error:
        raise ToolError(f"the files of the base model `{checkpoint.base}` cannot be read: {error}") from error


def chat_templates(checkpoint: Checkpoint) -> tuple[str | None, str | None]:
    """Return the chat templates of base and tuned model, without their weights.

    Raises:
        ToolError: The base's cannot be read.
    """
    base = chat_template(_base_files(checkpoint, ["*.jinja", "tokenizer_config.json"]))
    has_own = any(checkpoint.folder.glob("tokenizer*"))
    return base, chat_template(checkpoint.folder) if has_own else base


def _weights_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as weights:
            digest.update(hashlib.file_digest(weights, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
