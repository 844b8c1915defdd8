"""Uploads: small files inside the commit, large ones by git-LFS before it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from .errors import HubError
from .store import Change, Store
from .world import Call, route

BINARY = (".safetensors", ".parquet", ".arrow", ".bin", ".pt", ".gguf")
"""Formats that always come by LFS, as the `.gitattributes` of a new repository has it; `Dataset.push_to_hub` counts on
it, since it deletes its files before it commits them."""


async def preupload(call: Call) -> Response:
    """POST /api/{kind}/{id}/preupload/{rev}: whether each file comes inside the commit, or by LFS.

    The hash of what is there already lets the client leave out what has not changed.
    """
    commit = call.revision(call.own_repo())
    told: list[dict[str, Any]] = []
    for file in (await call.json())["files"]:
        is_large = file["size"] >= call.world.lfs_from_bytes or file["path"].endswith(BINARY)
        known = commit.entries.get(file["path"])
        oid = known.content_hash if known and bool(known.sha256) == is_large else None
        mode = "lfs" if is_large else "regular"
        told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return JSONResponse({"files": told})


async def lfs_batch(call: Call) -> Response:
    """POST /{id}.git/info/lfs/objects/batch: where to upload what is not here yet."""
    call.request.path_params["name"] = call.path("name").removesuffix(".git")
    call.own_repo()
    world = call.world
    told: list[dict[str, Any]] = []
    for wanted in (await call.json())["objects"]:
        one: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
        if not (world.store.objects / wanted["oid"]).exists():
            signature = secrets.token_hex(8)
            world.uploads[signature] = wanted["oid"]
            one["actions"] = {
                "upload": {"href": f"{world.endpoint}/lfs/{wanted['oid']}?signature={signature}", "header": {}},
                "verify": {"href": f"{world.endpoint}/lfs/{wanted['oid']}/verify", "header": {}},
            }
        told.append(one)
    return JSONResponse({"transfer": "basic", "objects": told}, media_type="application/vnd.git-lfs+json")


async def lfs_upload(call: Call) -> Response:
    """PUT /lfs/{oid}: the content itself, which must have the hash that was promised."""
    oid, store = call.path("oid"), call.world.store
    if call.world.uploads.get(call.request.query_params.get("signature", "")) != oid:
        raise HubError(403, "this upload was not promised")
    draft = store.objects / f"{oid}.{secrets.token_hex(4)}.part"
    digest = hashlib.sha256()
    try:
        with draft.open("wb") as file:
            async for block in call.request.stream():
                digest.update(block)
                await run_in_threadpool(file.write, block)
        if digest.hexdigest() != oid:
            raise HubError(400, f"the content's SHA-256 is {digest.hexdigest()}")
        draft.rename(store.objects / oid)
    finally:
        draft.unlink(missing_ok=True)
    return Response(status_code=200)


async def lfs_verify(call: Call) -> Response:
    """POST /lfs/{oid}/verify."""
    call.require_token()
    call.world.store.put_lfs("", call.path("oid"), (await call.json())["size"])
    return JSONResponse({})


async def commit(call: Call) -> Response:
    """POST /api/{kind}/{id}/commit/{rev}: one JSON object a line, the header first."""
    repo, token = call.own_repo(), call.require_token()
    if call.request.query_params.get("create_pr"):
        raise HubError(400, "this Hub has no pull requests")
    lines = [json.loads(line) for line in (await call.request.body()).splitlines() if line.strip()]
    header = lines[0]["value"]
    made = call.world.store.commit(
        repo,
        list(_changes(lines[1:], call.world.store)),
        title=header["summary"],
        message=header.get("description", ""),
        author=token.person.name,
        branch=call.path("revision"),
        parent=header.get("parentCommit"),
    )
    await run_in_threadpool(call.world.committed, repo, made)
    url = f"{call.world.endpoint}/{repo.path}/commit/{made.oid}"
    return JSONResponse({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def _changes(lines: list[dict[str, Any]], store: Store) -> Iterator[Change]:
    for line in lines:
        value = line["value"]
        path = value["path"]
        match line["key"]:
            case "file":
                content = base64.b64decode(value["content"]) if value["encoding"] == "base64" else value["content"]
                yield Change(path=path, entry=store.put(path, content))
            case "lfsFile":
                yield Change(path=path, entry=store.put_lfs(path, value["oid"], value.get("size")))
            case "deletedFile" | "deletedFolder":
                yield Change(path=path, is_folder=line["key"] == "deletedFolder")
            case key:
                raise HubError(400, f"a commit has no `{key}`")


async def validate_yaml(call: Call) -> Response:
    """POST /api/validate-yaml: every card is good."""
    return JSONResponse({"errors": [], "warnings": []})


async def no_xet(call: Call) -> Response:
    """GET …/xet-write-token/{rev}: large files travel by LFS here."""
    raise HubError(501, "this Hub has no Xet storage: set HF_HUB_DISABLE_XET=1")


REPO = "/api/{kind}/{namespace}/{name}"
BATCH = "/{namespace}/{name}/info/lfs/objects/batch"
ROUTES = [
    route("POST", REPO + "/preupload/{revision}", preupload),
    route("POST", REPO + "/commit/{revision}", commit),
    route("GET", REPO + "/xet-write-token/{revision}", no_xet),
    route("POST", BATCH, lfs_batch),
    route("POST", "/{kind}" + BATCH, lfs_batch),
    route("PUT", "/lfs/{oid}", lfs_upload),
    route("POST", "/lfs/{oid}/verify", lfs_verify),
    route("POST", "/api/validate-yaml", validate_yaml),
]
