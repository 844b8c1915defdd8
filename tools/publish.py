"""Onto the Hub: the proven files and the model, each into a private repository with its card; only where asked for.

The gate stands here: without `publish` in the plan's targets there is no publisher, and one takes only files that a
proof was recorded for. A file that is there already is not sent again, so a second call goes on where one was cut.
What a person wrote on a card stays (`templates/upload.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from .backends.hf_client import hub, patiently
from .backends.hf_results import owner_of
from .cards import gguf_card, model_card
from .errors import InputError, UserError
from .facts import GgufFile, Published, Spec
from .merging import merged
from .run import Run, experiment_name
from .templates.upload import (
    TABLE,
    Foreign,
    large_files,
    open_repository,
    put,
    put_card,
    put_text,
    quantisation_table,
    sha256_of,
)
from .trained import Checkpoint

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LONGEST_NAME = 96 - len("-GGUF")
"""What `validate_repo_id` of huggingface_hub allows."""
WEIGHTS = ("*.safetensors",)
BESIDE = ("*.json", "*.jinja", "*.txt", "*.model")
LOCAL_KEYS = ("_name_or_path", "name_or_path", "_model_name_or_path")
"""Where transformers notes from which folder something was loaded: nobody's business."""


def refuse_unpublishable(spec: Spec) -> None:
    """Refuse to plan a publication that cannot be: offline, or without a token.

    Raises:
        InputError: With what is missing, and the way out.
    """
    from huggingface_hub import constants, get_token

    if "publish" not in spec.targets:
        return
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            "publishing needs the Hub, and HF_HUB_OFFLINE is set.", hint="unset it, or leave the publishing out"
        )
    if get_token() is None:
        raise InputError(
            "publishing needs a Hub token, and there is none.",
            hint="`hf auth login` with the role write, or leave the publishing out: the files stay on this machine",
        )


def publisher_for(run: Run) -> Publisher | None:
    """Return who publishes this run's files; None where nobody asked for it.

    Raises:
        UserError: There is no token, or it may not write: said before hours of work, not after.
    """
    if run.spec is None or "publish" not in run.spec.targets:
        return None
    return Publisher(hub(), owner_of(run), run)


def repository_names(owner: str, spec: Spec) -> tuple[str, str]:
    """Return the repositories of an experiment: of the model, and of its GGUF files."""
    name = experiment_name(spec)[:LONGEST_NAME].rstrip("-.")
    return f"{owner}/{name}", f"{owner}/{name}-GGUF"


class Publisher:
    """Puts what was proven into the repositories of one experiment.

    Args:
        api: The client.
        owner: The user or organisation that owns them.
        run: The run, with its plan.
    """

    def __init__(self, api: HfApi, owner: str, run: Run) -> None:
        assert run.spec is not None
        self.api = api
        self.model_id, self.gguf_id = repository_names(owner, run.spec)
        self._private: dict[str, bool] = {}
        """The repositories that were opened, and whether each is private."""
        self._kept: dict[str, str] = {}
        """What of their cards a person wrote, where ftagent would have written."""
        self._open(self.model_id, lambda: model_card(run, self.model_id, self.gguf_id))

    def shelf(self, run: Run, of: str) -> dict[str, Any]:
        """Open the repository of the files, and return what `templates/exported.py` must know to put them there.

        Args:
            run: The run.
            of: What the files are made from.

        Raises:
            UserError: The Hub refuses, or the repository is somebody else's.
            ToolError: It does not answer.
        """
        card = gguf_card(run.model_copy(update={"files": ()}), self.gguf_id, self.model_id)
        self._open(self.gguf_id, lambda: card.replace(TABLE, quantisation_table([], None)))
        return {"id": self.gguf_id, "private": True, "folder": "", "card": card, "run": run.id, "of": of}

    def add(self, run: Run, file: GgufFile, beside: Mapping[str, str] = MappingProxyType({})) -> Run:
        """Upload one proven file, and say in the card what is there now; return the run that knows of it.

        Args:
            run: The run, which has recorded the proof.
            file: The file.
            beside: Small files that belong to it, by name.

        Raises:
            UserError: The Hub refuses.
            ToolError: It does not answer.
        """
        if file not in run.files:
            raise ValueError(f"{file.path} was never proven")
        run.journal.tell("progress", step="upload", text=f"{Path(file.path).name} to {self.gguf_id}")
        self._open(self.gguf_id, lambda: self._gguf_card(run))
        self._put(self.gguf_id, run.folder / file.path, Path(file.path).name, file.sha256)
        for name, text in beside.items():
            self._write_text(self.gguf_id, text, name)
        return self._tell_of_files(run)

    def finish(self, run: Run, checkpoint: Checkpoint, good: tuple[GgufFile, ...]) -> Run:
        """Upload whatever is not there yet: files, the model, and both cards as the run stands now.

        Raises:
            UserError: The Hub refuses.
            ToolError: It does not answer.
        """
        for file in good:
            run = self.add(run, file)
        return self._add_model(run, checkpoint)

    def _tell_of_files(self, run: Run) -> Run:
        self._write_card(self.gguf_id, self._gguf_card(run))
        for file in _present(run):
            described = (run.folder / file.path).with_suffix(".Modelfile")
            self._write_text(self.gguf_id, described.read_text(encoding="utf-8"), described.name)
        return self._record(run, "gguf", self.gguf_id, {Path(file.path).name: file.sha256 for file in _present(run)})

    def _add_model(self, run: Run, checkpoint: Checkpoint) -> Run:
        """Upload the adapter where others can get its base, else the whole model."""
        assert run.spec is not None and run.spec.model_ref is not None
        from_hub = run.spec.model_ref.source in ("hub", "cache")
        folder = checkpoint.folder if from_hub or not checkpoint.is_adapter else merged(run, checkpoint)
        run.journal.tell("progress", step="upload", text=f"the model to {self.model_id}")
        sent: dict[str, str] = {}
        for file in _matching(folder, WEIGHTS):
            sent[file.name] = sha256_of(file)
            self._put(self.model_id, file, file.name, sent[file.name])
        for file in _matching(folder, BESIDE):
            self._write_text(self.model_id, _without_local_paths(file), file.name)
        self._write_card(self.model_id, model_card(run, self.model_id, self.gguf_id if run.files else None))
        return self._record(run, "model", self.model_id, sent)

    def _gguf_card(self, run: Run) -> str:
        good = _present(run)
        there = patiently(lambda: large_files(self.api, self.gguf_id), f"list what is in `{self.gguf_id}`")
        others = {*there} - {Path(file.path).name for file in good}
        reference = next((file.proof.reference_perplexity for file in good), None)
        table = quantisation_table([file.model_dump() for file in good], reference, sorted(others))
        return gguf_card(run, self.gguf_id, self.model_id).replace(TABLE, table)

    def _record(self, run: Run, kind: Literal["gguf", "model"], repo_id: str, files: dict[str, str]) -> Run:
        fact = Published(
            kind=kind,
            repo_id=repo_id,
            url=f"{self.api.endpoint}/{repo_id}",
            private=self._private[repo_id],
            files=files,
            kept=self._kept.get(repo_id, ""),
        )
        return run if fact in run.published else run.record(fact)

    def _open(self, repo_id: str, card: Callable[[], str]) -> None:
        """Make the repository once, ours from its first file on."""
        if repo_id in self._private:
            return
        try:
            found = patiently(
                lambda: open_repository(self.api, repo_id, private=True), f"create `{repo_id}`", changes=True
            )
        except Foreign as error:
            raise UserError(
                f"{error}: nothing was uploaded.",
                hint="rename or delete that repository, or set FTAGENT_NAMESPACE to another owner",
            ) from error
        if found.is_new:
            self._write_card(repo_id, card())
        self._private[repo_id] = found.private

    def _put(self, repo_id: str, file: Path, name: str, sha256: str) -> None:
        patiently(
            lambda: put(self.api, repo_id, file, name, sha256=sha256, message=f"Add {name}"),
            f"upload `{name}` to `{repo_id}`",
            changes=True,
        )

    def _write_card(self, repo_id: str, card: str) -> None:
        self._kept[repo_id] = patiently(
            lambda: put_card(self.api, repo_id, card, message="Write the card"),
            f"write the card of `{repo_id}`",
            changes=True,
        )

    def _write_text(self, repo_id: str, text: str, name: str) -> None:
        patiently(
            lambda: put_text(self.api, repo_id, text, name, message=f"Write {name}"),
            f"upload `{name}` to `{repo_id}`",
            changes=True,
        )


def _present(run: Run) -> list[GgufFile]:
    """Return the proven files that lie here; what a later export could not make again is gone."""
    return [file for file in run.files if (run.folder / file.path).exists()]


def _matching(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(folder.glob(pattern))


def _without_local_paths(file: Path) -> str:
    """Return a small file as it may be shown: JSON without the folders of this machine."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".json" or file.stat().st_size > 10**6:
        return text
    config = json.loads(text)
    if isinstance(config, dict) and any(key in config for key in LOCAL_KEYS):
        return json.dumps({key: value for key, value in config.items() if key not in LOCAL_KEYS}, indent=2) + "\n"
    return text
