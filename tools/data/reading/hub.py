"""Datasets on the Hub, by id or as `hf://` paths: pinned to a commit, and laid out without downloading their rows.

Only the repository itself is asked (its files, its README, the user's token): the dataset viewer's server is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...facts import DatasetRef
from ...wording import one_line
from .formats import FORMATS, REMOTE, ending_of, endings, unbroken
from .layout import Layout
from .local import NOT_DATA, split_of
from .splits import choose_subset, listed

HUB = "https://huggingface.co/datasets"
HUB_TIMEOUT_S = 10.0
LOG_IN = "`hf auth login` or HF_TOKEN"
PREFIX = f"{REMOTE}datasets/"

READERS = {entry["path"] for entry in FORMATS.values()}
"""The readers of `datasets` that ftagent knows; the others are for pictures, sound, proteins and the like."""


class Unreachable(Exception):
    """The Hub gave no answer, or knows nothing of the name."""


def find_on_hub(name: str) -> DatasetRef:
    """Pin a Hub id, `owner/name` or `owner/name@revision`, to its commit.

    Raises:
        Unreachable: With the reason.
        InputError: It is gated, or has no such revision.
    """
    repository, _, revision = name.partition("@")
    info = _info(repository, revision or None)
    licence = info.card_data.get("license") if info.card_data else None
    return DatasetRef(
        id=repository,
        source="hub",
        revision=info.sha or "",
        loader={"path": repository, "revision": info.sha},
        licence=licence if isinstance(licence, str) else None,
    )


def find_hub_path(name: str) -> DatasetRef:
    """Find the files of `hf://datasets/owner/name[@revision][/path]`; the path may be a folder or a pattern.

    Raises:
        Unreachable: The repository cannot be found.
        InputError: It is no such path, or has no data files.
    """
    match = re.fullmatch(rf"{PREFIX}([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.*))?", name.rstrip("/"))
    if match is None:
        raise InputError(f"`{one_line(name)}` is no path that ftagent reads.", hint=f"{PREFIX}OWNER/NAME/FILE")
    repository, revision, inside = match.groups()
    found = find_on_hub(f"{repository}@{revision}" if revision else repository)
    if not inside:
        return found
    files = _files(f"{PREFIX}{repository}@{found.revision}/{inside}")
    options = {str(FORMATS[ending_of(file) or ""]): file for file in files}
    if len(options) != 1:
        raise InputError(
            f"`{one_line(name, 120)}` " + ("mixes several formats." if options else "has no data files."),
            hint=f"name one of its files; ftagent reads {endings()}",
        )
    splits: dict[str, list[str]] = {}
    for file in files:
        splits.setdefault(split_of(file.split("@", 1)[1].split("/", 1)[1]), []).append(file)
    loader = FORMATS[ending_of(files[0]) or ""] | {"data_files": splits}
    return found.model_copy(update={"id": name, "loader": loader})


def _files(address: str) -> list[str]:
    from huggingface_hub import HfFileSystem

    files = HfFileSystem()
    with answers(address):
        if files.isdir(address):
            found = files.find(address)
        else:
            found = files.glob(address) if "*" in address else [address] * files.exists(address)
    data = sorted(f"{REMOTE}{str(file).removeprefix(REMOTE)}" for file in found)
    return [file for file in data if ending_of(file) and file.rsplit("/", 1)[-1] not in NOT_DATA]


def _info(repository: str, revision: str | None) -> Any:
    from huggingface_hub import HfApi

    with answers(repository):
        info = HfApi().dataset_info(repository, revision=revision, timeout=HUB_TIMEOUT_S)
        if info.gated:
            HfApi().auth_check(repository, repo_type="dataset")
        return info


@contextmanager
def answers(name: str) -> Iterator[None]:
    """Turn what the Hub may answer into words.

    Raises:
        Unreachable: There is no such dataset, or no Hub.
        InputError: It is gated, lacks the revision, or the user's token is none.
    """
    from httpx import HTTPError
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise InputError(
            f"the Hub dataset `{one_line(name)}` is gated.",
            hint=f"ask for access at {HUB}/{one_line(name)}, then {LOG_IN}",
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"the Hub dataset `{one_line(name)}` has no such revision.", hint="name a branch, a tag or a commit of it"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        why = "the Hub knows no such dataset (or it is private and no token of yours opens it)"
        raise Unreachable(why, f"check the spelling; a private one wants {LOG_IN}") from error
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise _unreachable(error) from error
        raise InputError(
            f"the Hub refuses your token for `{one_line(name)}` ({error.response.status_code}).",
            hint=f"{LOG_IN} with a token that may read it",
        ) from error
    except (HTTPError, OSError) as error:
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> Unreachable:
    why = f"the Hub cannot be reached ({one_line(str(error).rstrip('.') or type(error).__name__, 120)})"
    return Unreachable(why, "name a local file, or look at the network and HF_ENDPOINT")


def hub_layout(ref: DatasetRef, subset: str | None, benchmarks: Sequence[str]) -> Layout:
    """Choose the subset of a Hub dataset, and list the files of its splits.

    Raises:
        InputError: No subset can be chosen, or its files are of no kind that ftagent reads.
        datasets.exceptions.DatasetsError, OSError, ValueError: The Hub or the dataset's card make no sense.
    """
    if "data_files" in ref.loader:
        return _path_layout(ref, subset)
    from datasets.load import dataset_module_factory

    with unbroken():
        module = dataset_module_factory(ref.loader["path"], revision=ref.revision)
    parameters = module.builder_configs_parameters
    configs = {config.name: config for config in parameters.builder_configs or []}
    chosen, why = _subset(ref.id, subset, list(configs), parameters, benchmarks)
    config = configs[chosen]
    reader = _reader_of(ref.id, module.module_path)
    files: Any = config.data_files
    files = files.resolve(module.builder_kwargs["base_path"]) if hasattr(files, "resolve") else files
    info = (module.dataset_infos or {}).get(chosen)
    is_named = len(configs) > 1 or subset
    return Layout(
        loader=ref.loader | ({"name": chosen} if is_named else {}),
        format=reader,
        options=_options(config),
        splits={str(split): tuple(map(str, addresses)) for split, addresses in files.items()},
        totals={str(split): part.num_examples for split, part in ((info and info.splits) or {}).items()},
        subset=chosen if is_named else None,
        why_subset=why,
    )


def _path_layout(ref: DatasetRef, subset: str | None) -> Layout:
    if subset:
        raise InputError(f"`{one_line(ref.id)}` is a path and has no subset `{one_line(subset)}`.", hint="leave it out")
    return Layout(
        loader=dict(ref.loader),
        format=ref.loader["path"],
        options={key: value for key, value in ref.loader.items() if key not in ("path", "data_files")},
        splits={split: tuple(files) for split, files in ref.loader["data_files"].items()},
    )


def _subset(
    dataset: str, stated: str | None, names: list[str], parameters: Any, benchmarks: Sequence[str]
) -> tuple[str, str]:
    if stated is None:
        default = parameters.default_config_name
        return choose_subset(dataset, names, default if default in names else None, benchmarks)
    if stated not in names:
        raise InputError(
            f"dataset `{one_line(dataset)}` has no subset `{one_line(stated)}`, only {listed(names)}.",
            hint="--subset NAME" if len(names) > 1 else "leave it out",
        )
    return stated, ""


def _reader_of(dataset: str, module: str) -> str:
    reader = module.rsplit(".", 1)[-1]
    if reader not in READERS:
        raise InputError(
            f"the files of `{one_line(dataset)}` are read by `{reader}`, which yields no rows of text.",
            hint=f"ftagent reads {endings()}",
        )
    return reader


def _options(config: Any) -> dict[str, Any]:
    """Return what the card tells the reader: whatever differs from the reader's defaults."""
    from dataclasses import fields

    own = ("name", "version", "data_dir", "data_files", "description")
    plain = type(config)()
    return {
        field.name: value
        for field in fields(config)
        if field.name not in own and (value := getattr(config, field.name)) != getattr(plain, field.name)
    }


def looks_like_hub_path(name: str) -> bool:
    """Whether the name is an `hf://` path."""
    return name.startswith(REMOTE)


def is_plain_id(name: str) -> bool:
    """Whether the name could be a Hub id, with or without a revision."""
    return name.count("/") <= 1 and ending_of(Path(name.partition("@")[0])) is None
