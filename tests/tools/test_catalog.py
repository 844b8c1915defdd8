from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ftagent.tools import catalog
from ftagent.tools.catalog import Catalog, live_catalog, packaged_catalog, read_flavor
from ftagent.tools.flavor import Flavor

# Entries of `GET /api/jobs/hardware`, as `huggingface_hub.JobHardware` documents them.
CPU: dict[str, Any] = {
    "name": "cpu-basic",
    "prettyName": "CPU Basic",
    "cpu": "2 vCPU",
    "ram": "16 GB",
    "accelerator": None,
    "unitCostMicroUSD": 167,
    "unitCostUSD": 0.000167,
    "unitLabel": "minute",
}
L4X4 = CPU | {
    "name": "l4x4",
    "cpu": "48 vCPU",
    "ram": "186 GB",
    "ephemeralStorage": "3.2 TB",
    "accelerator": {"type": "gpu", "model": "L4", "quantity": "4", "vram": "96 GB", "manufacturer": "Nvidia"},
    "unitCostUSD": 0.063333,
}
NEURON = L4X4 | {
    "name": "inf2x6",
    "accelerator": {"type": "neuron", "model": "Inferentia2", "quantity": "6", "vram": "192 GB", "manufacturer": "AWS"},
}
AMD = L4X4 | {
    "name": "mi300x",
    "accelerator": {"type": "gpu", "model": "MI300X", "quantity": "1", "vram": "192 GB", "manufacturer": "AMD"},
}
BROKEN = [
    {},
    [],
    None,
    "l4x1",
    CPU | {"ram": "plenty"},
    CPU | {"cpu": None},
    CPU | {"unitCostUSD": None},
    CPU | {"unitCostUSD": float("nan")},
    CPU | {"unitCostUSD": -1},
    L4X4 | {"accelerator": "L4"},
    L4X4 | {"accelerator": L4X4["accelerator"] | {"quantity": "0"}},
]

# Prices per hour (https://huggingface.co/docs/hub/jobs-pricing, on the snapshot's date).
USD_PER_HOUR = {
    "cpu-basic": 0.01,
    "cpu-upgrade": 0.03,
    "cpu-xl": 1.00,
    "cpu-performance": 1.90,
    "t4-small": 0.40,
    "t4-medium": 0.60,
    "l4x1": 0.80,
    "l4x4": 3.80,
    "l40sx1": 1.80,
    "l40sx4": 8.30,
    "l40sx8": 23.50,
    "a10g-small": 1.00,
    "a10g-large": 1.50,
    "a10g-largex2": 3.00,
    "a10g-largex4": 5.00,
    "a100-large": 2.50,
    "a100x4": 10.00,
    "a100x8": 20.00,
    "h200": 5.00,
    "h200x2": 10.00,
    "h200x4": 20.00,
    "h200x8": 40.00,
    "rtx-pro-6000": 2.75,
    "rtx-pro-6000x2": 5.50,
    "rtx-pro-6000x4": 11.00,
    "rtx-pro-6000x8": 22.00,
}


class Hub:
    """What the Hub answers, and how long it takes; and what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body = json.dumps([CPU, L4X4])
        self.delay_s = 0.0
        self.asked: list[str] = []


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(self.path)
            time.sleep(hub.delay_s)
            body = hub.body.encode()
            self.send_response(hub.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # whoever asked has gone
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    catalog.catalog.cache_clear()
    yield hub
    catalog.catalog.cache_clear()
    server.shutdown()
    server.server_close()


def only(entry: Any) -> Flavor:
    found = read_flavor(entry)
    assert found is not None
    return found


# --- the Hub's own list -----------------------------------------------------------------------------------------------


def test_flavors_are_read_from_the_hub_and_asked_for_once(hub: Hub) -> None:
    found = catalog.catalog()
    assert found.live
    assert [flavor.name for flavor in found.flavors] == ["cpu-basic", "l4x4"]
    assert "just now" in found.words
    assert catalog.catalog() is found
    assert hub.asked == ["/api/jobs/hardware"]


def test_sums_over_all_gpus_are_shared_out_and_minutes_become_hours() -> None:
    flavor = only(L4X4)
    assert flavor.gpu is not None
    assert (flavor.gpus, flavor.gpu.memory_gib) == (4, 22.0)
    assert (flavor.cores, flavor.memory_gib, flavor.disk_gib) == (48, 186, 3200)
    assert flavor.usd_per_hour == pytest.approx(3.80, abs=0.001)


def test_half_of_the_virtual_cores_count() -> None:
    assert only(CPU).gflops == pytest.approx(only(L4X4).gflops / 24)


def test_a_disk_whose_size_is_not_told_rules_nothing_out() -> None:
    assert only(CPU).disk_gib is None


@pytest.mark.parametrize("entry", [NEURON, AMD, CPU | {"unitLabel": "hour"}])
def test_what_cuda_or_the_arithmetic_cannot_use_is_left_out(entry: dict[str, Any]) -> None:
    assert read_flavor(entry) is None


@pytest.mark.parametrize("entry", BROKEN)
def test_an_entry_that_cannot_be_read_does_not_cost_the_others(hub: Hub, entry: Any) -> None:
    hub.body = json.dumps([entry, L4X4])
    found = live_catalog()
    assert found is not None
    assert [flavor.name for flavor in found.flavors] == ["l4x4"]


# --- the snapshot -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "[]", "{}", "null", "[{", json.dumps(BROKEN), json.dumps([NEURON]), '{"a": 1}'])
def test_an_answer_without_a_flavor_falls_back_to_the_snapshot(hub: Hub, body: str) -> None:
    hub.body = body
    assert catalog.catalog() == packaged_catalog()


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_a_hub_in_trouble_falls_back_to_the_snapshot(hub: Hub, status: int) -> None:
    hub.status = status
    assert catalog.catalog() == packaged_catalog()


def test_a_hub_that_does_not_answer_is_not_waited_for(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "TIMEOUT_S", 0.2)
    hub.delay_s = 1
    start = time.monotonic()
    assert catalog.catalog() == packaged_catalog()
    assert time.monotonic() - start < hub.delay_s


def test_no_hub_at_all_falls_back_to_the_snapshot(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert catalog.catalog() == packaged_catalog()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert live_catalog() is None


def test_the_snapshot_has_every_flavor_at_its_price_per_hour() -> None:
    found = {flavor.name: flavor.usd_per_hour for flavor in packaged_catalog().flavors}
    assert found == pytest.approx(USD_PER_HOUR, abs=1e-4)


def test_every_gpu_of_the_snapshot_is_known() -> None:
    gpus = [flavor.gpu for flavor in packaged_catalog().flavors if flavor.gpu]
    assert all(gpu.capability > 0 for gpu in gpus)
    assert {gpu.name for gpu in gpus if not gpu.has_bf16} == {"T4"}


@pytest.mark.parametrize(("age", "warned"), [(0, False), (30, False), (31, True), (400, True)])
def test_old_prices_say_their_date_and_age(age: int, warned: bool) -> None:
    day: date = datetime.now(UTC).date() - timedelta(days=age)
    words = Catalog(flavors=(), as_of=day, live=False).words
    assert str(day) in words
    assert f"{age} days old" in words
    assert ("may have changed" in words) == warned
