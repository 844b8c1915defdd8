"""Webhooks over HTTP: those of who asks."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from .webhooks import Webhook
from .world import Call, route


def _webhook(call: Call) -> Webhook:
    return call.world.webhooks.get(call.require_token().person, call.path("webhook"))


async def create(call: Call) -> Response:
    """POST /api/settings/webhooks."""
    made = call.world.webhooks.add(call.require_token().person, await call.json())
    return JSONResponse({"webhook": made.told()})


async def listed(call: Call) -> Response:
    """GET /api/settings/webhooks."""
    person = call.require_token().person
    return JSONResponse([webhook.told() for webhook in call.world.webhooks.all.values() if webhook.person is person])


async def show(call: Call) -> Response:
    """GET /api/settings/webhooks/{id}."""
    return JSONResponse({"webhook": _webhook(call).told()})


async def change(call: Call) -> Response:
    """POST /api/settings/webhooks/{id}: what is given replaces what was."""
    webhook, asked = _webhook(call), await call.json()
    webhook.watched = asked.get("watched") or webhook.watched
    webhook.domains = asked.get("domains") or webhook.domains
    webhook.secret = asked.get("secret", webhook.secret)
    webhook.url = asked.get("url", webhook.url)
    return JSONResponse({"webhook": webhook.told()})


async def enable(call: Call) -> Response:
    """POST …/enable."""
    webhook = _webhook(call)
    webhook.disabled = False
    return JSONResponse({"webhook": webhook.told()})


async def disable(call: Call) -> Response:
    """POST …/disable."""
    webhook = _webhook(call)
    webhook.disabled = True
    return JSONResponse({"webhook": webhook.told()})


async def delete(call: Call) -> Response:
    """DELETE /api/settings/webhooks/{id}."""
    del call.world.webhooks.all[_webhook(call).id]
    return JSONResponse({})


ALL = "/api/settings/webhooks"
ONE = ALL + "/{webhook}"
ROUTES = [
    route("POST", ALL, create),
    route("GET", ALL, listed),
    route("GET", ONE, show),
    route("POST", ONE, change),
    route("DELETE", ONE, delete),
    route("POST", ONE + "/enable", enable),
    route("POST", ONE + "/disable", disable),
]
