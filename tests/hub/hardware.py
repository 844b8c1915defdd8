"""The flavors on which jobs run here, with the prices that ftagent packages, as `GET /api/jobs/hardware` has them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from .errors import HubError


def listed() -> list[dict[str, Any]]:
    """Return every flavor as the Hub lists it."""
    snapshot = json.loads((files("ftagent.tools") / "flavors.json").read_text(encoding="utf-8"))
    return [
        {
            **flavor,
            "prettyName": flavor["name"].replace("-", " ").title(),
            "unitCostMicroUSD": round(flavor["unitCostUSD"] * 1e6),
        }
        for flavor in snapshot["flavors"]
    ]


def flavor_named(name: str) -> dict[str, Any]:
    """Return one flavor.

    Raises:
        HubError: There is none of this name.
    """
    found = next((flavor for flavor in listed() if flavor["name"] == name), None)
    if found is None:
        raise HubError(400, f"Invalid flavor: {name}")
    return found


def cost_usd(name: str, seconds: float) -> float:
    """Return what a job of this length costs."""
    return flavor_named(name)["unitCostUSD"] * seconds / 60


def described_to_job(name: str) -> dict[str, str]:
    """Return what a job finds in its environment about the machine it is on."""
    flavor = flavor_named(name)
    accelerator = flavor["accelerator"]
    return {
        "ACCELERATOR": accelerator["model"] if accelerator else "none",
        "CPU_CORES": flavor["cpu"].split()[0],
        "MEMORY": flavor["ram"].replace(" GB", "Gi"),
    }
