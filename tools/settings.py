"""What a run is told from outside: default < file < environment < flag, each value with its origin.

Built once at the edge by `load_settings` and journalled with the run. Nothing else in ftagent reads the environment,
except for the variables that the libraries below it own (`HF_HOME`, `HF_TOKEN`, `TRACKIO_DIR`, …).
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from .errors import UserError
from .facts import Fact

ENVIRONMENT_PREFIX = "FTAGENT_"


class Settings(Fact):
    """Everything that ftagent can be told beside the instruction itself."""

    workdir: Path = Path()
    """Where `training_reports/` lies."""
    cache_dir: Path = Path.home() / ".cache" / "ftagent"
    """Models made from packages; safe to delete."""
    data_dir: Path = Path.home() / ".local" / "share" / "ftagent"
    """The ledger of predicted and actual; what makes predictions better on this machine."""
    datasets: dict[str, Path] = {}
    """Names of datasets that an instruction may use, and the files or folders that they stand for."""
    llm: str = "builtin"
    """`builtin`, or any litellm model id."""
    llm_base_url: str | None = None
    """Base URL of an OpenAI-compatible server."""
    llm_window: int | None = None
    """Tokens of prompt and answer that the LLM takes together; None: as litellm's table says, else 8,192."""
    backend: Literal["local", "hf-jobs"] | None = None
    """None: hf-jobs where a Hub token is found, else local."""
    namespace: str | None = None
    """The Hub user or organisation that owns and pays for jobs and owns their models; None: whose token it is."""
    trackio_space: str | None = None
    """A private Space on the Hub, as `owner/name`, to which trainings report their metrics as well; made if missing."""
    max_cost_usd: float | None = None
    """Hard cap over GPU and LLM money together."""
    cancel_hopeless: bool = True
    """Whether a job is ended whose loss is no number, or whose numbers went far from their start."""
    notify_command: str | None = Field(default=None, exclude=True)
    """A command that is started, with the message as its last argument, where a person is needed and at the end."""
    notify_url: str | None = Field(default=None, exclude=True)
    """A URL to which the same goes as JSON: run, kind and text. Whoever knows it may write there: no journal has it."""
    notify_bell: bool = False
    """Whether the terminal rings then."""
    python: str = sys.executable
    """The interpreter that runs scripts on this machine."""
    llama_cpp: Path | None = None
    """A llama.cpp checkout whose converter is used instead of the packaged one."""
    origins: dict[str, Literal["file", "environment", "flag"]] = {}
    """Field name to where its value came from; fields that are left out have their default."""


def carried_over(former: Settings, present: Settings) -> Settings:
    """Return the settings of a run that is taken up again: what is given now wins, what is left out stays as it was.

    Folders and the interpreter are always those of the present process: the run may have moved.
    """
    given = {*present.origins, "workdir", "cache_dir", "data_dir", "python"}
    kept = {name: getattr(former, name) for name in Settings.model_fields if name not in given}
    return present.model_copy(update={**kept, "origins": former.origins | present.origins})


def load_settings(flags: dict[str, Any] | None = None, *, environ: dict[str, str] | None = None) -> Settings:
    """Read the settings file and the environment, and lay `flags` over them.

    Args:
        flags: Values from the command line or from Python; None values count as not given.
        environ: The environment; defaults to `os.environ`.

    Raises:
        UserError: A value cannot be used, or the file is not TOML; the message names where it came from.
    """
    environ = dict(os.environ) if environ is None else environ
    file = config_folder(environ) / "config.toml"
    names = [name for name in Settings.model_fields if name != "origins"]

    layers: list[tuple[Literal["file", "environment", "flag"], dict[str, Any]]] = [
        ("file", _read_file(file)),
        ("environment", {n: environ[v] for n in names if (v := ENVIRONMENT_PREFIX + n.upper()) in environ}),
        ("flag", {n: v for n, v in (flags or {}).items() if v is not None}),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, Literal["file", "environment", "flag"]] = {}
    for field, variable in (("cache_dir", "XDG_CACHE_HOME"), ("data_dir", "XDG_DATA_HOME")):
        if home := environ.get(variable):
            values[field] = Path(home) / "ftagent"
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    try:
        settings = Settings(**values, origins=origins)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        where = {"file": str(file), "environment": ENVIRONMENT_PREFIX + name.upper()}.get(
            origins.get(name, ""), f"--{name.replace('_', '-')}"
        )
        raise UserError(
            f"`{values.get(name)}` from {where} is no usable {name}: {first['msg'].lower()}.",
            hint=f"known settings: {', '.join(names)}",
        ) from error
    return settings.model_copy(update={"workdir": settings.workdir.expanduser().resolve()})


def config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of a person's own settings and skills."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ftagent"


def _read_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"`{file}` is not TOML: {error}.", hint="mend that line or move the file away") from error
