"""Files: listed as trees, described one by one, and downloaded whole or in ranges."""

from __future__ import annotations

from typing import Any

from starlette.responses import FileResponse, JSONResponse, Response

from .errors import HubError
from .store import Commit, Entry, git_hash, pointer_size
from .world import Call, route


async def tree(call: Call) -> Response:
    """GET /api/{kind}/{id}/tree/{rev}[/{folder}]."""
    commit = call.revision(call.repo())
    folder = call.path("folder").strip("/") if "folder" in call.request.path_params else ""
    recursive = call.request.query_params.get("recursive", "").lower() in ("true", "1")
    found = below(commit, folder, recursive=recursive)
    if folder and not found:
        raise HubError(404, f"{folder} does not exist on {call.path('revision')!r}", code="EntryNotFound")
    return call.paged(found)


async def paths_info(call: Call) -> Response:
    """POST /api/{kind}/{id}/paths-info/{rev}; a path that does not exist is left out."""
    commit = call.revision(call.repo())
    if call.request.headers.get("content-type", "").startswith("application/json"):
        wanted = (await call.json())["paths"]
    else:
        wanted = (await call.request.form()).getlist("paths")
    wanted = [wanted] if isinstance(wanted, str) else wanted
    everything = {told["path"]: told for told in below(commit, "", recursive=True)}
    return JSONResponse([everything[path] for path in wanted if path in everything])


async def resolve(call: Call) -> Response:
    """GET and HEAD /{id}/resolve/{rev}/{path}: the file, with what the client's cache needs."""
    repo = call.repo(content=True)
    commit = call.revision(repo)
    entry = commit.entries.get(call.path("file"))
    headers = {"X-Repo-Commit": commit.oid, "Access-Control-Expose-Headers": "*"}
    if entry is None:
        raise HubError(404, f"{call.path('file')} does not exist", code="EntryNotFound", headers=headers)
    headers |= {"ETag": f'"{entry.content_hash}"', "Accept-Ranges": "bytes"}
    if entry.sha256:
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-Etag": f'"{entry.sha256}"'}
    return FileResponse(call.world.store.file(entry), headers=headers, media_type="application/octet-stream")


def below(commit: Commit, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """Return the entries of a folder in the Hub's form, folders before what is in them."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for entry in commit.entries.values():
        if not entry.path.startswith(prefix):
            continue
        parts = entry.path.removeprefix(prefix).split("/")
        depth = len(parts) if recursive else 1
        for length in range(1, min(depth, len(parts) - 1) + 1):
            path = prefix + "/".join(parts[:length])
            found[path] = {"type": "directory", "path": path, "oid": git_hash(path.encode()), "size": 0}
        if len(parts) <= depth:
            found[entry.path] = told_of(entry)
    return list(found.values())


def told_of(entry: Entry) -> dict[str, Any]:
    """Return one file in the Hub's form."""
    told: dict[str, Any] = {"type": "file", "path": entry.path, "oid": entry.oid, "size": entry.size}
    if entry.sha256:
        told["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": pointer_size(entry)}
    return told


REPO = "/api/{kind}/{namespace}/{name}"
FILE = "/{namespace}/{name}/resolve/{revision}/{file:path}"
ROUTES = [
    route("GET", REPO + "/tree/{revision}", tree),
    route("GET", REPO + "/tree/{revision}/{folder:path}", tree),
    route("POST", REPO + "/paths-info/{revision}", paths_info),
    route("GET", FILE, resolve),
    route("GET", "/{kind}" + FILE, resolve),
]
