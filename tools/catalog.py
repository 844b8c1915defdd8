"""The flavors of Hugging Face Jobs: what each has and what a minute of it costs, asked live, or as last written down.

A minute is billed while a job starts or runs (https://huggingface.co/docs/hub/jobs-pricing).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any

from .flavor import RENTED_CORE_GFLOPS, Flavor
from .gpus import gpu_model

SNAPSHOT = "flavors.json"
TIMEOUT_S = 10.0
STALE_DAYS = 30
"""Older prices are said to be old."""


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All flavors, and how fresh their prices are."""

    flavors: tuple[Flavor, ...]
    as_of: date
    live: bool

    @property
    def words(self) -> str:
        """Where the prices come from, for people."""
        if self.live:
            return "prices asked from the Hub just now"
        age = (datetime.now(UTC).date() - self.as_of).days
        old = ", and they may have changed" if age > STALE_DAYS else ""
        return f"prices of {self.as_of} ({age} days old{old}), as the Hub could not be asked"


@lru_cache(maxsize=1)
def catalog() -> Catalog:
    """Return the flavors with their prices of this moment, or those of the packaged snapshot; asked once a process."""
    return live_catalog() or packaged_catalog()


def live_catalog() -> Catalog | None:
    """Ask the Hub for its flavors; None where it cannot be asked."""
    from httpx import HTTPError
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session

    # `HfApi.list_jobs_hardware` sets no timeout: without a network it would wait for minutes.
    try:
        response = get_session().get(
            f"{constants.ENDPOINT}/api/jobs/hardware", headers=build_hf_headers(), timeout=TIMEOUT_S
        )
        response.raise_for_status()
        flavors = tuple(_readable(response.json()))
    except (HTTPError, OSError, ValueError, TypeError):
        return None
    return Catalog(flavors=flavors, as_of=datetime.now(UTC).date(), live=True) if flavors else None


def _readable(listed: Any) -> Iterator[Flavor]:
    """Yield the flavors whose entries have the known form: one of a new kind does not make all prices old."""
    for entry in listed:
        try:
            if flavor := read_flavor(entry):
                yield flavor
        except (ValueError, TypeError, KeyError, AttributeError):
            continue


def packaged_catalog() -> Catalog:
    """Return the flavors as they were when this version was made."""
    snapshot = json.loads((files("ftagent.tools") / SNAPSHOT).read_text(encoding="utf-8"))
    flavors = tuple(flavor for entry in snapshot["flavors"] if (flavor := read_flavor(entry)))
    return Catalog(flavors=flavors, as_of=date.fromisoformat(snapshot["as_of"]), live=False)


def read_flavor(entry: dict[str, Any]) -> Flavor | None:
    """Return one entry of `GET /api/jobs/hardware`, or None for an accelerator that torch's CUDA build cannot use.

    Sizes come as text with a unit, the memory of GPUs as their sum.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: It has another form.
    """
    accelerator = entry.get("accelerator")
    if accelerator and (accelerator["type"], accelerator["manufacturer"].lower()) != ("gpu", "nvidia"):
        return None
    if entry["unitLabel"] != "minute":
        return None
    gpus, price = int(accelerator["quantity"]) if accelerator else 0, 60 * float(entry["unitCostUSD"])
    if (accelerator and gpus < 1) or not 0 <= price < math.inf:
        raise ValueError(f"{gpus} GPUs at {price} an hour")
    cores, disk = math.floor(_number(entry["cpu"])), entry.get("ephemeralStorage")
    return Flavor(
        name=entry["name"],
        cores=cores,
        gflops=cores / 2 * RENTED_CORE_GFLOPS,
        memory_gib=_number(entry["ram"]),
        disk_gib=_number(disk) if disk else None,
        gpu=gpu_model(accelerator["model"], _number(accelerator["vram"]) / gpus) if accelerator else None,
        gpus=gpus,
        usd_per_hour=round(price, 4),
    )


def _number(text: str) -> float:
    found = re.match(r"\s*(\d+(?:\.\d+)?)\s*(TB)?", text)
    if not found:
        raise ValueError(f"`{text}` has no number")
    return float(found[1]) * (1000 if found[2] else 1)
