"""Repositories: made, shown, listed, changed and deleted; their branches, tags and history."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import yaml
from starlette.responses import JSONResponse, Response

from .errors import HubError
from .people import READ_REPOS, WRITE_REPOS, require_content, require_permission, whoami
from .store import Commit, Repo, Store, pointer_size
from .world import Call, kind_of, route

SAFETENSORS = ".safetensors"


async def who_am_i(call: Call) -> Response:
    """GET /api/whoami-v2."""
    return JSONResponse(whoami(call.require_token()))


async def create(call: Call) -> Response:
    """POST /api/repos/create."""
    token, asked = call.require_token(), await call.json()
    repo_id = f"{asked.get('organization') or token.person.name}/{asked['name']}"
    kind = kind_of(f"{asked.get('type') or 'model'}s")
    require_permission(token, WRITE_REPOS, repo_id.split("/")[0])
    private = asked.get("visibility") == "private" or asked.get("private") is True
    try:
        repo = call.world.store.create(kind, repo_id, private=private)
    except HubError as error:
        if error.status != 409:
            raise
        existing = call.world.store.get(kind, repo_id)
        answer = {"error": error.message, "url": f"{call.world.endpoint}/{existing.path}"}
        return JSONResponse(answer, status_code=409)
    return JSONResponse({"url": f"{call.world.endpoint}/{repo.path}", "name": repo.id, "id": f"id-{repo.id}"})


async def delete(call: Call) -> Response:
    """DELETE /api/repos/delete."""
    token, asked = call.require_token(), await call.json()
    repo_id = f"{asked.get('organization') or token.person.name}/{asked['name']}"
    repo = call.world.store.get(kind_of(f"{asked.get('type') or 'model'}s"), repo_id)
    require_permission(token, WRITE_REPOS, repo.namespace)
    call.world.store.delete(repo)
    return JSONResponse({})


async def change_settings(call: Call) -> Response:
    """PUT /api/{kind}/{id}/settings."""
    repo, asked = call.own_repo(), await call.json()
    if "visibility" in asked or "private" in asked:
        repo.private = asked.get("visibility") == "private" or asked.get("private") is True
    if "gated" in asked:
        repo.gated = asked["gated"]
    call.world.store.save(repo)
    return JSONResponse({"private": repo.private, "gated": repo.gated})


async def list_repos(call: Call) -> Response:
    """GET /api/{kind}; `author`, `search` and `limit` are honoured, private ones shown to those who may see them."""
    asked, token = call.request.query_params, call.token
    author, word = asked.get("author"), asked.get("search", "").lower()
    found = [
        repo
        for repo in call.world.store.all(call.kind)
        if (not author or repo.namespace == author)
        and word in repo.id.lower()
        and (not repo.private or (token and token.allows(READ_REPOS, repo.namespace)))
    ]
    return call.paged([describe(call.world.store, repo, "main") for repo in found], int(asked.get("limit", 1000)))


async def info(call: Call) -> Response:
    """GET /api/{kind}/{id}[/revision/{rev}]; `expand` and `blobs` are honoured."""
    repo = call.repo()
    wanted = call.request.query_params.getlist("expand")
    blobs = call.request.query_params.get("blobs") == "True"
    revision = call.path("revision") if "revision" in call.request.path_params else "main"
    told = describe(call.world.store, repo, revision, blobs=blobs)
    if wanted:
        told = {"_id": told["_id"], "id": told["id"], **{name: told[name] for name in wanted if name in told}}
    return JSONResponse(told)


async def auth_check(call: Call) -> Response:
    """GET /api/{kind}/{id}/auth-check."""
    call.repo(content=True)
    return JSONResponse({})


async def auth_check_write(call: Call) -> Response:
    """GET /api/{kind}/{id}/auth-check/write."""
    call.own_repo()
    return JSONResponse({})


async def refs(call: Call) -> Response:
    """GET /api/{kind}/{id}/refs."""
    repo = call.repo()

    def told(what: str, names: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{what}/{n}", "targetCommit": oid} for n, oid in names.items()]

    return JSONResponse(
        {"branches": told("heads", repo.branches), "tags": told("tags", repo.tags), "converts": [], "pullRequests": []}
    )


async def commits(call: Call) -> Response:
    """GET /api/{kind}/{id}/commits/{rev}."""
    repo = call.repo()
    history = call.world.store.history(repo, call.path("revision"))
    return call.paged(
        [
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in history
        ]
    )


async def create_branch(call: Call) -> Response:
    """POST /api/{kind}/{id}/branch/{name}."""
    repo, name, asked = call.own_repo(), call.path("revision"), await call.json()
    if name in repo.branches:
        raise HubError(409, f"Reference refs/heads/{name} already exists")
    repo.branches[name] = call.world.store.head(repo, asked.get("startingPoint") or "main").oid
    call.world.store.save(repo)
    return JSONResponse({})


async def create_tag(call: Call) -> Response:
    """POST /api/{kind}/{id}/tag/{rev}."""
    repo, asked = call.own_repo(), await call.json()
    if asked["tag"] in repo.tags:
        raise HubError(409, f"Tag reference exists already: {asked['tag']}")
    repo.tags[asked["tag"]] = call.world.store.head(repo, call.path("revision")).oid
    call.world.store.save(repo)
    return JSONResponse({})


async def delete_ref(call: Call) -> Response:
    """DELETE /api/{kind}/{id}/branch/{name} and …/tag/{name}."""
    repo, name = call.own_repo(), call.path("revision")
    names = repo.branches if "/branch/" in call.request.url.path else repo.tags
    if name not in names or name == "main":
        raise HubError(404, f"no such reference: {name}", code="RevisionNotFound")
    del names[name]
    call.world.store.save(repo)
    return JSONResponse({})


# --- what is told of a repository -------------------------------------------------------------------------------------


def describe(store: Store, repo: Repo, revision: str, *, blobs: bool = False) -> dict[str, Any]:
    """Return everything that the Hub says of a repository at a revision."""
    commit = store.head(repo, revision)
    card = _card(store, commit)
    told: dict[str, Any] = {
        "_id": f"id-{repo.id}",
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.oid,
        "lastModified": commit.date,
        "createdAt": repo.created,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": list(card.get("tags") or []),
        "cardData": card,
        "siblings": siblings(commit, blobs=blobs),
        "usedStorage": sum(entry.size for entry in commit.entries.values()),
    }
    if repo.kind == "model":
        told |= {name: card[name] for name in ("library_name", "pipeline_tag") if name in card}
        told |= {"modelId": repo.id, "config": _config(store, commit)}
        if weights := _weights(store, commit):
            told["safetensors"] = {"parameters": weights, "total": sum(weights.values())}
    return told


def siblings(commit: Commit, *, blobs: bool) -> list[dict[str, Any]]:
    """Return the files as `model_info` lists them, with sizes and hashes on demand."""
    told: list[dict[str, Any]] = []
    for entry in commit.entries.values():
        one: dict[str, Any] = {"rfilename": entry.path}
        if blobs:
            one |= {"size": entry.size, "blobId": entry.oid}
            if entry.sha256:
                one["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": pointer_size(entry)}
        told.append(one)
    return told


def _card(store: Store, commit: Commit) -> dict[str, Any]:
    readme = commit.entries.get("README.md")
    text = store.read(readme).decode("utf-8", "replace") if readme else ""
    parts = text.split("---\n", 2)
    found = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    return json.loads(json.dumps(found, default=str)) if isinstance(found, dict) else {}


def _config(store: Store, commit: Commit) -> dict[str, Any]:
    """Return the part of `config.json` that the Hub shows."""
    entry = commit.entries.get("config.json")
    config = json.loads(store.read(entry)) if entry else {}
    return {name: config[name] for name in ("architectures", "model_type") if name in config}


def _weights(store: Store, commit: Commit) -> dict[str, int]:
    """Count the parameters by data type, from the headers of the safetensors files; none where one has no header."""
    counts: Counter[str] = Counter()
    for entry in commit.entries.values():
        if not entry.path.endswith(SAFETENSORS):
            continue
        with store.file(entry).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            try:
                header = json.loads(file.read(length if length < entry.size else 0))
            except ValueError:
                return {}
        for name, tensor in header.items():
            if name != "__metadata__":
                counts[tensor["dtype"]] += math.prod(tensor["shape"])
    return dict(counts)


async def look_again(call: Call) -> Response:
    """GET /{kind}/{id}: the page that links in cards and reports lead to, in short."""
    repo = call.repo()
    require_content(call.token, repo)
    return JSONResponse(describe(call.world.store, repo, "main"))


REPO = "/api/{kind}/{namespace}/{name}"
ROUTES = [
    route("GET", "/api/whoami-v2", who_am_i),
    route("POST", "/api/repos/create", create),
    route("DELETE", "/api/repos/delete", delete),
    route("GET", "/api/{kind:str}", list_repos),
    route("GET", REPO, info),
    route("GET", REPO + "/revision/{revision}", info),
    route("PUT", REPO + "/settings", change_settings),
    route("GET", REPO + "/auth-check", auth_check),
    route("GET", REPO + "/auth-check/write", auth_check_write),
    route("GET", REPO + "/refs", refs),
    route("GET", REPO + "/commits/{revision}", commits),
    route("POST", REPO + "/branch/{revision}", create_branch),
    route("POST", REPO + "/tag/{revision}", create_tag),
    route("DELETE", REPO + "/branch/{revision}", delete_ref),
    route("DELETE", REPO + "/tag/{revision}", delete_ref),
]
PAGES = [
    route("GET", "/{namespace}/{name}", look_again),
    route("GET", "/{kind}/{namespace}/{name}", look_again),
]
