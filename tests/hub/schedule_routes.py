"""Scheduled jobs over HTTP."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from .people import RUN_JOBS, require_permission
from .schedules import Schedule
from .world import Call, route


def _namespace(call: Call) -> str:
    namespace = call.path("namespace")
    require_permission(call.require_token(), RUN_JOBS, namespace)
    return namespace


def _schedule(call: Call) -> Schedule:
    return call.world.schedules.get(_namespace(call), call.path("schedule"))


async def create(call: Call) -> Response:
    """POST /api/scheduled-jobs/{namespace}."""
    namespace, person = _namespace(call), call.require_token().person
    return JSONResponse(call.world.schedules.add(namespace, person, await call.json()).told())


async def listed(call: Call) -> Response:
    """GET /api/scheduled-jobs/{namespace}; of `label` the first counts."""
    namespace, label = _namespace(call), call.request.query_params.get("label")
    found = [s for s in call.world.schedules.all.values() if s.namespace == namespace]
    if label:
        key, _, value = label.partition("=")
        found = [s for s in found if (s.spec.get("labels") or {}).get(key) == value]
    return JSONResponse([schedule.told() for schedule in found])


async def inspect(call: Call) -> Response:
    """GET /api/scheduled-jobs/{namespace}/{id}."""
    return JSONResponse(_schedule(call).told())


async def delete(call: Call) -> Response:
    """DELETE /api/scheduled-jobs/{namespace}/{id}; jobs that it has started run on."""
    del call.world.schedules.all[_schedule(call).id]
    return JSONResponse({})


async def suspend(call: Call) -> Response:
    """POST …/suspend."""
    schedule = _schedule(call)
    schedule.suspended = True
    return JSONResponse(schedule.told())


async def resume(call: Call) -> Response:
    """POST …/resume."""
    schedule = _schedule(call)
    schedule.suspended = False
    return JSONResponse(schedule.told())


async def run_now(call: Call) -> Response:
    """POST …/run: once, whatever the schedule says."""
    return JSONResponse(call.world.schedules.fire(_schedule(call)).told())


async def change_labels(call: Call) -> Response:
    """PUT …/labels."""
    schedule = _schedule(call)
    schedule.spec["labels"] = (await call.json())["labels"]
    return JSONResponse(schedule.told())


ALL = "/api/scheduled-jobs/{namespace}"
ONE = ALL + "/{schedule}"
ROUTES = [
    route("POST", ALL, create),
    route("GET", ALL, listed),
    route("GET", ONE, inspect),
    route("DELETE", ONE, delete),
    route("POST", ONE + "/suspend", suspend),
    route("POST", ONE + "/resume", resume),
    route("POST", ONE + "/run", run_now),
    route("PUT", ONE + "/labels", change_labels),
]
