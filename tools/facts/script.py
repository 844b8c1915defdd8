"""The training script, the origin of each of its values, and the proof that it runs."""

from __future__ import annotations

from typing import Any, Literal

from .base import Fact, Method


class Parameter(Fact):
    """One value that the training uses, and where it comes from."""

    name: str
    value: Any
    origin: Literal["stated", "rule", "default"]
    reason: str = ""


class Script(Fact):
    """The training script as it was written."""

    path: str
    """Relative to the run folder."""
    sha256: str
    method: Method
    parameters: tuple[Parameter, ...]
    pins: tuple[str, ...]


class Check(Fact):
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str = ""


class PreflightReport(Fact):
    """What happened when this very script ran on a two-layer twin of the model."""

    script_sha256: str
    ok: bool
    seconds: float
    checks: tuple[Check, ...]
    log: str
    """Log file, relative to the run folder."""
