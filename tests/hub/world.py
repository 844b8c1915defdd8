"""Everything that one Hub knows, and what every route needs of a request."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import HubError
from .faults import Faults
from .jobs import Jobs
from .people import WRITE_REPOS, People, Token, require_content, require_permission, require_sight
from .schedules import Schedules
from .store import KINDS, Commit, Kind, Repo, Store
from .webhooks import Webhooks

PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request that was answered, or not."""

    method: str
    path: str
    status: int | None
    """None: the connection broke before."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(kw_only=True)
class World:
    """The state of one Hub."""

    endpoint: str
    store: Store
    people: People
    jobs: Jobs
    schedules: Schedules
    webhooks: Webhooks
    faults: Faults
    lfs_from_bytes: int
    uploads: dict[str, str] = field(default_factory=dict)
    """Signatures of LFS uploads that were promised, and the hash that each may bring."""
    requests: list[Seen] = field(default_factory=list)

    def committed(self, repo: Repo, commit: Commit) -> None:
        """Tell whoever watches the repository."""
        self.webhooks.fire(repo, commit)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, with the world that it asks."""

    world: World
    request: Request

    def path(self, name: str) -> str:
        """Return a part of the path, decoded."""
        return unquote(self.request.path_params[name])

    @property
    def token(self) -> Token | None:
        """Who asks, if anybody we know."""
        return self.world.people.known(self.request.headers.get("authorization"))

    def require_token(self) -> Token:
        """Return who asks; nobody is refused."""
        return self.world.people.require(self.request.headers.get("authorization"))

    @property
    def kind(self) -> Kind:
        """The kind of repository in the path."""
        return kind_of(self.request.path_params.get("kind", "models"))

    def repo(self, *, content: bool = False) -> Repo:
        """Return the repository of the path, if who asks may see it, or its content."""
        repo = self.world.store.get(self.kind, f"{self.path('namespace')}/{self.path('name')}")
        (require_content if content else require_sight)(self.token, repo)
        return repo

    def own_repo(self) -> Repo:
        """Return the repository of the path, if who asks may write to it."""
        repo, token = self.repo(), self.require_token()
        require_permission(token, WRITE_REPOS, repo.namespace)
        return repo

    def revision(self, repo: Repo) -> Commit:
        """Return the commit that the path names."""
        return self.world.store.head(repo, self.path("revision") if "revision" in self.request.path_params else "main")

    async def json(self) -> dict[str, Any]:
        """Return the body, which must be one JSON object; none counts as empty."""
        body = await self.request.body()
        return (await self.request.json()) if body else {}

    def paged(self, items: Sequence[Any], size: int = PAGE) -> JSONResponse:
        """Return one page of a list, with a link to the next."""
        start = int(self.request.query_params.get("cursor", 0))
        headers: dict[str, str] = {}
        if start + size < len(items):
            asked = [(k, v) for k, v in self.request.query_params.multi_items() if k != "cursor"]
            query = urlencode([*asked, ("cursor", start + size)])
            path = self.request.scope["raw_path"].decode("ascii").split("?")[0]
            headers["Link"] = f'<{self.world.endpoint}{path}?{query}>; rel="next"'
        return JSONResponse(list(items[start : start + size]), headers=headers)


Handler = Callable[[Call], Awaitable[Response]]


def route(method: str, path: str, handler: Handler) -> Route:
    """Return a route whose handler gets a `Call`."""

    async def endpoint(request: Request) -> Response:
        return await handler(Call(world=request.app.state.world, request=request))

    methods = ["GET", "HEAD"] if method == "GET" else [method]
    return Route(path, endpoint, methods=methods)


def kind_of(plural: str) -> Kind:
    """Return the kind that a path names in the plural."""
    for kind in KINDS:
        if plural == f"{kind}s":
            return kind
    raise HubError(404, f"there are no {plural} here")


class KeepEncodedSlashes:
    """Lets `refs%2Fpr%2F1` stay one part of the path: everything else is decoded before it is routed."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raw = scope["raw_path"].decode("ascii").split("?")[0]
            parts = re.split(r"(%2[fF]|%25)", raw)
            scope = {**scope, "path": "".join(p if p.startswith("%2") and len(p) == 3 else unquote(p) for p in parts)}
        await self.app(scope, receive, send)
