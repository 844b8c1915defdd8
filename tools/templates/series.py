# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate==1.15.0",
#     "datasets==5.2.0",
#     "huggingface-hub==1.33.0",
#     "peft==0.21.2",
#     "torch==2.13.0",
#     "transformers==5.23.0",
#     "trl==1.16.0",
# ]
# ///
"""Every checkpoint that a training has pushed, measured on the rows that it did not see; each only once.

    uv run checkpoints.py          started by a schedule, again and again

A training pushes as it saves, so its checkpoints are the commits, tags, branches and folders of its repository that
have weights; a training that is scheduled itself pushes each time to a repository of its own, which counts as well. A
checkpoint is known by the hashes of its weights, wherever they lie. Its result, item by item, goes as one file into
`ftagent/series/` of the repository as soon as it is there; what has one is not measured again. One that does not load
has a result that says why, and the others are measured all the same. Each is measured in a process of its own, on the
held-out rows of its own repository, and the base model once on the same.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

# --- what is measured: ftagent writes these values --------------------------------------------------------------------

REPOSITORY = "tester/tuned"
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
REVISION = None
METHOD = "sft"
PROGRAM = "heldout.py"
MEASURE = {"loss_on": "completion", "max_length": 1024}
HELDOUT_SHA256 = ""
TIMEOUT_S = 3600

# <functions>
PROGRAMS = {"heldout.py": ""}
# </functions>

RESULTS = "ftagent/series"
TITLE = "Evaluate checkpoints: "
"""How the commits of this program begin: they bring no checkpoint."""
WEIGHTS = re.compile(r"(?:(?P<folder>.+)/)?(?:adapter_model|model)[^/]*\.safetensors")
NOT_LOADED = ("*optimizer.pt", "*scheduler.pt", "*rng_state*.pth", "*training_args.bin")
FIRING = re.compile(r"-[0-9a-f]{8,}")
"""What the repository of a scheduled training has behind the name of this one: the id of its job."""
SAFE = ".safetensors"
OTHER_FORMATS = ("*.bin", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.pt", "*.pth", "onnx/*", "original/*")
"""What a base model's repository may have beside its weights as safetensors."""
SLACK = 1.3
"""Another checkpoint is begun when the longest so far would fit into the time that is left, with this to spare."""
HUNG = 0.5
"""Of all the time, what one checkpoint may take."""


class Passing(Exception):
    """A failure that says nothing of a checkpoint: the next firing tries it again."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights in a repository."""

    repository: str
    revision: str
    folder: str
    step: int | None
    label: str
    at: str
    weights: dict[str, str]

    @property
    def name(self) -> str:
        """What a reader of the log calls it."""
        return f"{self.label} ({self.repository} at {self.revision[:7]})"

    def key(self, rows_sha256: str) -> str:
        """Return the name of its result: the same weights on the same rows have one, wherever they lie."""
        told = json.dumps([self.weights, rows_sha256, PROGRAM, MEASURE, BASE, REVISION], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


# --- what there is ----------------------------------------------------------------------------------------------------


def repositories(hub: HfApi) -> list[str]:
    """Return the repository of the training, and those of its scheduled firings."""
    owner, name = REPOSITORY.split("/")
    found = [repo.id for repo in hub.list_models(author=owner, search=name)]
    return [REPOSITORY, *sorted(i for i in found if FIRING.fullmatch(i.removeprefix(REPOSITORY)))]


def checkpoints(hub: HfApi, repository: str) -> Iterator[Checkpoint]:
    """Yield what a repository's history has, oldest first, and each set of weights once."""
    refs = hub.list_repo_refs(repository)
    names = {ref.target_commit: ref.name for ref in (*refs.tags, *refs.branches) if ref.name != "main"}
    commits = {commit.commit_id: commit for commit in hub.list_repo_commits(repository)}
    for revision in set(names) - set(commits):  # what only a branch has
        commits |= {commit.commit_id: commit for commit in hub.list_repo_commits(repository, revision=revision)}
    seen: set[str] = set()
    oldest_first = list(commits.values())[::-1]  # as far as one listing goes; some commits are of the same moment
    for commit in sorted(oldest_first, key=lambda commit: commit.created_at):
        if commit.title.startswith(TITLE) and commit.commit_id not in names:
            continue
        for folder, weights in folders_with_weights(hub, repository, commit.commit_id).items():
            told = json.dumps(weights, sort_keys=True)
            if told not in seen:
                seen.add(told)
                label = folder or names.get(commit.commit_id) or commit.title
                yield Checkpoint(
                    repository=repository,
                    revision=commit.commit_id,
                    folder=folder,
                    step=step_of(hub, repository, commit, folder, label),
                    label=label,
                    at=commit.created_at.isoformat(),
                    weights=weights,
                )


def folders_with_weights(hub: HfApi, repository: str, revision: str) -> dict[str, dict[str, str]]:
    """Return the hashes of the weights in each folder that has some, the root before the others."""
    found: dict[str, dict[str, str]] = {}
    for item in hub.list_repo_tree(repository, revision=revision, recursive=True):
        match = WEIGHTS.fullmatch(item.path)
        if match and not item.path.startswith("ftagent/"):
            lfs = getattr(item, "lfs", None)
            content = lfs.sha256 if lfs else item.blob_id
            found.setdefault(match["folder"] or "", {})[item.path.rsplit("/", 1)[-1]] = content
    return dict(sorted(found.items()))


def step_of(hub: HfApi, repository: str, commit, folder: str, label: str) -> int | None:
    """Return the step at which a checkpoint was saved: as its folder or its commit says, or the trainer's own state."""
    for text in (folder, commit.title, label):
        if found := re.search(r"(?:checkpoint-|step[ -]?)(\d+)", text):
            return int(found[1])
    name = f"{folder}/trainer_state.json".lstrip("/")
    if not hub.file_exists(repository, name, revision=commit.commit_id):
        return None
    state = Path(hub.hf_hub_download(repository, name, revision=commit.commit_id)).read_text(encoding="utf-8")
    return json.loads(state).get("global_step")


def heldout_of(hub: HfApi, repository: str, folder: Path) -> tuple[Path, str]:
    """Return the rows that a training held out, and their hash.

    The rows of the run's own repository are those that ftagent knows of; others are what their training noted.

    Raises:
        Passing: It has not pushed them yet, since it does so at its end; or they are not what it wrote.
    """
    if not (hub.file_exists(repository, "heldout.jsonl") and hub.file_exists(repository, "result.json")):
        raise Passing("its training has not pushed its held-out rows yet")
    rows, result = (
        Path(hub.hf_hub_download(repository, name, local_dir=folder / repository))
        for name in ("heldout.jsonl", "result.json")
    )
    noted = json.loads(result.read_text(encoding="utf-8")).get("heldout_sha256", "").removeprefix("sha256:")
    wanted, sha256 = HELDOUT_SHA256 if repository == REPOSITORY else noted, sha256_of(rows)
    if sha256 != wanted:
        raise Passing(f"its heldout.jsonl is not what the training wrote ({sha256[:12]}, and not {wanted[:12]})")
    return rows, sha256


def sha256_of(file: Path) -> str:
    """Return the hash of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# --- one firing -------------------------------------------------------------------------------------------------------


class Firing:
    """What is there, what is new of it, and how it is kept.

    Args:
        hub: The client.
        home: A folder of this program's own.
    """

    def __init__(self, hub: HfApi, home: Path) -> None:
        self.hub, self.home, self.began = hub, home, time.monotonic()
        self.longest, self.failed = 0.0, 0
        (home / "programs").mkdir()
        for name, text in PROGRAMS.items():
            (home / "programs" / name).write_text(text, encoding="utf-8")
        try:
            there = [item.path for item in hub.list_repo_tree(REPOSITORY, RESULTS)]
        except EntryNotFoundError:
            there = []
        self.done = {path.rsplit("/", 1)[-1].removesuffix(".json") for path in there}

    def new(self) -> list[tuple[Checkpoint, Path, str]]:
        """Return the checkpoints without a result, with their rows and the hash of those."""
        found: dict[str, tuple[Checkpoint, Path, str]] = {}
        for repository in repositories(self.hub):
            every = list(checkpoints(self.hub, repository))
            try:
                rows = heldout_of(self.hub, repository, self.home / "rows")
            except Passing as error:
                print(f"{repository}: {len(every)} checkpoints, not measured: {error}", flush=True)
                self.failed += "not what" in str(error)
                continue
            fresh = {key: (one, *rows) for one in every if (key := one.key(rows[1])) not in self.done | found.keys()}
            print(f"{repository}: {len(every)} checkpoints, {len(fresh)} of them new", flush=True)
            found |= fresh
        return list(found.values())

    def evaluate(self, one: Checkpoint, base: str, rows: Path, rows_sha256: str) -> None:
        """Measure one checkpoint, and push its result; the base's with the first that needs it.

        Raises:
            Passing: It could not be measured now.
        """
        began, base_key = time.monotonic(), f"base-{rows_sha256[:16]}"
        with tempfile.TemporaryDirectory() as folder:
            self.download(one, folder)
            found = self.measured(Path(folder, one.folder), base, rows, tuned_only=base_key in self.done)
        told = {
            name: getattr(one, name) for name in ("repository", "revision", "folder", "step", "label", "at", "weights")
        }
        common = {"rows_sha256": rows_sha256, "base": BASE, "method": METHOD, "job": os.environ.get("JOB_ID")}
        own = found.get("own", {"broken": found.get("broken")})
        files = {one.key(rows_sha256): {**told, **common, **own}}
        if "base" in found:
            files[base_key] = {**common, "label": "base", **found["base"]}
        self.push(files, one.label)
        self.longest = max(self.longest, time.monotonic() - began)
        print(f"evaluated {one.name}: {own.get('means') or 'BROKEN, ' + own['broken']}", flush=True)

    def download(self, one: Checkpoint, folder: str) -> None:
        """Download the files of one checkpoint.

        Raises:
            Passing: They could not be downloaded, and others may well be.
        """
        # a pattern's `*` stands for slashes, too: what is not in the root is left out with `*/*`
        wanted, left_out = (f"{one.folder}/*", []) if one.folder else ("*", ["*/*"])
        try:
            snapshot_download(
                one.repository,
                revision=one.revision,
                local_dir=folder,
                allow_patterns=wanted,
                ignore_patterns=[*NOT_LOADED, *left_out],
            )
        except (OSError, HfHubHTTPError.__bases__[0]) as error:
            raise Passing(f"it could not be downloaded: {error}"[:300]) from error

    def measured(self, place: Path, base: str, rows: Path, *, tuned_only: bool) -> dict[str, Any]:
        """Return what `one_checkpoint.py` says of a checkpoint in a folder.

        Raises:
            Passing: The machine failed it.
        """
        asked, said = self.home / "request.json", self.home / "answer.json"
        request = {"program": PROGRAM, "method": METHOD, "measure": MEASURE, "base": base, "base_id": BASE}
        request |= {
            "checkpoint": str(place),
            "rows": str(rows),
            "tuned_only": tuned_only,
            "timeout_s": HUNG * TIMEOUT_S,
        }
        asked.write_text(json.dumps(request), encoding="utf-8")
        subprocess.run([sys.executable, self.home / "programs" / "one_checkpoint.py", asked, said], check=True)
        found = json.loads(said.read_text(encoding="utf-8"))
        if "passing" in found:
            raise Passing(found["passing"])
        return found

    def push(self, files: dict[str, dict[str, Any]], label: str) -> None:
        """Push results, all in one commit."""
        folder = self.home / "pushed"
        for name, content in files.items():
            file = folder / f"{name}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(content, indent=1), encoding="utf-8")
            self.done.add(name)
        wanted = [f"{name}.json" for name in files]
        self.hub.upload_folder(
            repo_id=REPOSITORY,
            folder_path=folder,
            path_in_repo=RESULTS,
            allow_patterns=wanted,
            commit_message=TITLE + label[:60],
        )

    def has_time(self) -> bool:
        """Whether another checkpoint can be measured before this job is ended."""
        return time.monotonic() - self.began + SLACK * self.longest < TIMEOUT_S


def rehearse(firing: Firing, folder: Path) -> None:
    """Look at what there is for real, and measure a tiny checkpoint in the place of it; nothing is pushed."""
    new = firing.new()
    found = firing.measured(folder / "checkpoint", str(folder / "base"), folder / "heldout.jsonl", tuned_only=False)
    (folder / "result.json").write_text(json.dumps({"new": len(new), **found}), encoding="utf-8")
    print(f"rehearsed on a tiny checkpoint: {found}; a firing would evaluate {len(new)}", flush=True)


def download_base(hub: HfApi) -> str:
    """Return the folder of the base model, downloaded once for all checkpoints."""
    has_safe = any(name.endswith(SAFE) for name in hub.list_repo_files(BASE, revision=REVISION))
    return snapshot_download(BASE, revision=REVISION, ignore_patterns=list(OTHER_FORMATS) if has_safe else None)


def main(home: Path) -> int:
    """Evaluate what is new, as far as the time allows; the exit code is 1 where something could not be measured."""
    firing = Firing(HfApi(), home)
    if "FTAGENT_REHEARSAL" in os.environ:
        rehearse(firing, Path(os.environ["FTAGENT_REHEARSAL"]))
        return 0
    new = firing.new()
    base = download_base(firing.hub) if new else ""
    for number, (one, rows, rows_sha256) in enumerate(new):
        if not firing.has_time():
            print(f"{len(new) - number} checkpoints are left for the next firing: there is no time for another one")
            break
        try:
            firing.evaluate(one, base, rows, rows_sha256)
        except Passing as error:
            firing.failed += 1
            print(f"NOT MEASURED: {one.name}: {error}; the next firing tries it again", flush=True)
    print("done", flush=True)
    return 1 if firing.failed else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(main(Path(scratch)))
