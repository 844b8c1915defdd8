"""The repository that takes each GGUF file when it is proven, and what an earlier try of the same export has put there.

Imported by exported.py. File, card and evidence come in one commit, so that whatever ends an export, the repository
tells the truth: a machine that is gone takes nothing with it but the file that it was making.
"""

import json
import time
from pathlib import Path

from upload import (
    TABLE,
    as_json,
    is_committed,
    large_files,
    open_repository,
    put_card,
    quantisation_table,
    read_text,
    tell,
)

EVIDENCE = "export.json"
"""Beside the files: what was proven of each, by which run, and from what."""
PAUSES_S = (2.0, 8.0, 30.0, 60.0)
"""Between the tries of a call that the Hub did not answer."""


class Shelf:
    """Where the proven files go.

    Args:
        repository: As exported.py has it.
    """

    def __init__(self, repository: dict) -> None:
        from huggingface_hub import HfApi

        self.api, self.repository = HfApi(), repository
        insist(self.open)
        self.kept: dict = insist(self.proven_before) or {"files": []}

    def open(self) -> None:
        """Make the repository, ours from its first file on."""
        repo_id, card = self.repository["id"], self.repository["card"]
        opened = open_repository(self.api, repo_id, private=self.repository["private"], is_known=card is None)
        if opened.is_new and card is not None:
            put_card(self.api, repo_id, card.replace(TABLE, quantisation_table([], None)), message="Write the card")

    def proven_before(self) -> dict | None:
        """Return what is there of the same run and made from the same, None where there is nothing.

        Only files count that lie there with the very bytes that were proven.
        """
        at = self.repository
        text = read_text(self.api, at["id"], at["folder"] + EVIDENCE)
        kept = json.loads(text) if text else {}
        if (kept.get("run"), kept.get("of")) != (at["run"], at["of"]):
            return None
        paths = [at["folder"] + file["path"] for file in kept["files"]]
        found = {item.path: getattr(item, "lfs", None) for item in self.api.get_paths_info(at["id"], paths)}
        lfs = [found.get(path) for path in paths]
        same = [f for f, there in zip(kept["files"], lfs, strict=True) if there and there.sha256 == f["sha256"]]
        return kept | {"files": same}

    def has(self, name: str) -> dict | None:
        """Return what was proven of a quantisation."""
        return next((file for file in self.kept["files"] if file["quantisation"] == name), None)

    def take(self, folder: Path, file: dict, made_from: dict) -> None:
        """Upload a file that was proven now.

        Args:
            folder: Where it lies.
            file: What was proven of it.
            made_from: The `reference` and the `stops` of its model.
        """
        tell(step="upload", text=f"{file['path']} to {self.repository['id']}")
        others = [other for other in self.kept["files"] if other["quantisation"] != file["quantisation"]]
        self.kept = {**made_from, "files": [*others, file]}
        if kept := insist(lambda: self.put(folder / file["path"])):
            tell(step="upload", text=f"a person wrote {kept}: that stays as it is")

    def put(self, file: Path) -> str:
        """Commit a file with evidence and card; return what of the card a person wrote and stays."""
        at = self.repository
        evidence = as_json(self.kept | {"run": at["run"], "of": at["of"]})
        beside = {at["folder"] + file.name: file, at["folder"] + EVIDENCE: evidence.encode()}
        message = f"Add {file.name}, proven in llama.cpp"
        if at["card"] is None:
            is_committed(self.api, at["id"], beside, None, message, may_give_up=True)
            return ""
        names = {item["path"] for item in self.kept["files"]}
        others = [name for name in large_files(self.api, at["id"]) if name not in names]
        table = quantisation_table(self.kept["files"], self.kept["reference"].get("perplexity"), others)
        return put_card(self.api, at["id"], at["card"].replace(TABLE, table), beside=beside, message=message)


def insist(call):
    """Return what a call to the Hub returns; where it does not answer try again: a proven file would be lost."""
    for pause in PAUSES_S:
        try:
            return call()
        except Exception as error:
            if not may_pass(error):
                raise
            tell(step="upload", text=f"again in {pause:g} s, after {type(error).__name__}: {str(error)[:200]}")
            time.sleep(pause)
    return call()


def may_pass(error: Exception) -> bool:
    """Tell whether the Hub may well take later what it did not take now."""
    from huggingface_hub.errors import HfHubHTTPError

    # What breaks off in the middle of a large file comes as a RuntimeError with its cause.
    cause = error.__cause__ if isinstance(error, RuntimeError) else error
    response = getattr(cause, "response", None)
    is_of_http = isinstance(cause, HfHubHTTPError.__bases__[0])
    return is_of_http and (response is None or response.status_code in (408, 429) or response.status_code >= 500)
