"""Jobs over HTTP: started, listed, followed, cancelled; logs and metrics as server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
from starlette.responses import JSONResponse, Response, StreamingResponse

from . import hardware
from .errors import HubError
from .jobs import TERMINAL, Job, check_labels
from .people import RUN_JOBS, require_permission
from .world import Call, route

PAGE = 20
KEEP_ALIVE_S = 30.0
POLL_S = 0.02


def _namespace(call: Call) -> str:
    """Return the namespace of the path, if who asks may run jobs there."""
    namespace = call.path("namespace")
    require_permission(call.require_token(), RUN_JOBS, namespace)
    return namespace


def _job(call: Call) -> Job:
    return call.world.jobs.get(_namespace(call), call.path("job"))


async def run_job(call: Call) -> Response:
    """POST /api/jobs/{namespace}."""
    namespace, person = _namespace(call), call.require_token().person
    initiator = {"type": "user", "id": f"id-{person.name}", "name": person.name}
    return JSONResponse(call.world.jobs.start(namespace, person, await call.json(), initiator).told())


async def list_jobs(call: Call) -> Response:
    """GET /api/jobs/{namespace}; newest first, `stage` and `label` may come several times."""
    namespace, asked = _namespace(call), call.request.query_params
    stages = set(asked.getlist("stage"))
    labels = dict(label.split("=", 1) for label in asked.getlist("label"))
    found = [
        job.told()
        for job in reversed(list(call.world.jobs.all.values()))
        if job.namespace == namespace and (not stages or job.stage in stages) and labels.items() <= job.labels.items()
    ]
    return call.paged(found, PAGE)


async def inspect_job(call: Call) -> Response:
    """GET /api/jobs/{namespace}/{id}; and the job's page, to which links in reports lead."""
    return JSONResponse(_job(call).told())


async def cancel_job(call: Call) -> Response:
    """POST /api/jobs/{namespace}/{id}/cancel; one that has ended stays as it ended."""
    job = _job(call)
    job.kill("CANCELED", "Job was canceled")
    return JSONResponse(job.told())


async def change_labels(call: Call) -> Response:
    """PUT /api/jobs/{namespace}/{id}/labels: these instead of all."""
    job, labels = _job(call), (await call.json())["labels"]
    check_labels(labels)
    job.spec["labels"] = labels
    return JSONResponse(job.told())


async def logs(call: Call) -> Response:
    """GET …/logs: everything so far (or the last `tail` lines), then what comes, to the end."""
    job = _job(call)
    tail = call.request.query_params.get("tail")
    return _events(_log_events(job, None if tail is None else int(tail)))


async def metrics(call: Call) -> Response:
    """GET …/metrics: one measurement a second while the job runs."""
    job = _job(call)
    if job.stage != "RUNNING":
        raise HubError(500, "Internal Error - the job is not running")
    return _events(_metric_events(job))


async def list_hardware(call: Call) -> Response:
    """GET /api/jobs/hardware."""
    return JSONResponse(hardware.listed())


def _events(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _log_events(job: Job, tail: int | None) -> AsyncIterator[str]:
    started = f"===== Job started at {job.told()['startedAt'] or job.told()['createdAt']} ====="
    yield _data({"timestamp": job.told()["createdAt"], "data": started})
    sent, told_at = (0 if tail is None else max(0, len(job.lines) - tail)), time.monotonic()
    while True:
        has_ended = job.stage in TERMINAL  # asked first: what is printed until then is sent below
        for line in job.lines[sent:]:
            yield _data({"timestamp": line.timestamp, "data": line.text})
            sent, told_at = sent + 1, time.monotonic()
        if has_ended:
            return
        if time.monotonic() - told_at > KEEP_ALIVE_S:
            yield ": keep-alive\n\n"
            told_at = time.monotonic()
        await asyncio.sleep(POLL_S)


async def _metric_events(job: Job) -> AsyncIterator[str]:
    while job.stage == "RUNNING":
        yield "event: metric\n" + _data(_measured(job))
        await asyncio.sleep(1)


def _measured(job: Job) -> dict[str, Any]:
    memory, cpu = 0, 0.0
    for process in _processes(job):
        try:
            memory += process.memory_info().rss
            cpu += process.cpu_percent(0.0)
        except psutil.Error:
            continue
    return {
        "cpu_usage_pct": round(cpu),
        "cpu_millicores": 1000 * int(hardware.described_to_job(job.flavor)["CPU_CORES"]),
        "memory_used_bytes": memory,
        "memory_total_bytes": psutil.virtual_memory().total,
        "rx_bps": 0,
        "tx_bps": 0,
        "gpus": {},
        "replica": job.id[:5],
    }


def _processes(job: Job) -> list[psutil.Process]:
    try:
        first = psutil.Process(job.process.pid if job.process else -1)
        return [first, *first.children(recursive=True)]
    except (psutil.Error, ValueError):
        return []


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


JOB = "/api/jobs/{namespace}/{job}"
ROUTES = [
    route("GET", "/api/jobs/hardware", list_hardware),
    route("POST", "/api/jobs/{namespace}", run_job),
    route("GET", "/api/jobs/{namespace}", list_jobs),
    route("GET", JOB, inspect_job),
    route("POST", JOB + "/cancel", cancel_job),
    route("PUT", JOB + "/labels", change_labels),
    route("GET", JOB + "/logs", logs),
    route("GET", JOB + "/metrics", metrics),
    route("GET", "/jobs/{namespace}/{job}", inspect_job),
]
