"""A Hub on loopback that serves dataset repositories from memory, as far as reading needs it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

SHA = "f" * 40


class Denied(NamedTuple):
    """Why a request is turned down, as the Hub's own headers say it."""

    status: int
    code: str = ""
    message: str = ""


class HubStub:
    """Repositories by id, each a dict of path to bytes. The tokens in `granted` open private and gated ones."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.granted: set[str] = set()
        self.strangers: set[str] = set()
        """Tokens of people who were granted nothing."""
        self.sent_bytes = 0
        self.is_gone = False
        """Whether every connection breaks off."""

    def denied(self, repository: str, token: str | None, *, is_file: bool) -> Denied | None:
        """Say why a token, or nobody, may not have something of a repository; a gated one hides its files only."""
        if token in self.granted:
            return None
        if token is not None and token not in self.strangers:
            return Denied(401, message="Invalid credentials in Authorization header")
        if repository in self.private:
            return Denied(401 if token is None else 404, "RepoNotFound", "Repository not found")
        if repository in self.gated and is_file:
            return Denied(401 if token is None else 403, "GatedRepo", "Access to this dataset is restricted")
        return None

    def card(self, repository: str) -> dict[str, Any]:
        """Return the front matter of the repository's README."""
        readme = self.repositories[repository].get("README.md", b"").decode()
        return yaml.safe_load(readme.split("---")[1]) if readme.startswith("---") else {}

    def info(self, repository: str) -> dict[str, Any]:
        """Return what `dataset_info` asks for."""
        gated = "manual" if repository in self.gated else False
        about = {"id": repository, "sha": SHA, "cardData": self.card(repository)}
        return about | {"gated": gated, "private": repository in self.private}

    def tree(self, repository: str, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
        """Return the entries below a folder."""
        prefix = f"{folder}/" if folder else ""
        found: dict[str, dict[str, Any]] = {}
        for path, content in self.repositories[repository].items():
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                below = prefix + "/".join(parts[:depth])
                found[below] = {"type": "directory", "path": below, "oid": "0" * 40, "size": 0}
            if recursive or len(parts) == 1:
                found[path] = {"type": "file", "path": path, "oid": "1" * 40, "size": len(content)}
        return list(found.values())


@contextmanager
def serving(stub: HubStub, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[ThreadingHTTPServer]:
    """Serve it, and point `huggingface_hub` and `datasets` to it."""
    from datasets import config
    from huggingface_hub import HfFileSystem, constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": stub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    HfFileSystem.clear_instance_cache()
    yield server
    HfFileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: HubStub

    def do_GET(self) -> None:
        if self._breaks_off():
            return
        url = urlsplit(self.path)
        parts = unquote(url.path).strip("/").split("/")
        if parts[:2] == ["api", "datasets"]:
            self._api("/".join(parts[2:4]), parts[4:], parse_qs(url.query))
        else:
            self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))

    do_HEAD = do_GET  # noqa: N815 (the base class names it)

    def do_POST(self) -> None:
        if self._breaks_off():
            return
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        wanted = json.loads(asked)["paths"] if asked.startswith("{") else parse_qs(asked).get("paths", [])
        repository = "/".join(parts[2:4])
        if self._is_denied(repository, is_file=False):
            return
        everything = self.stub.tree(repository, "", recursive=True)
        self._answer(200, json.dumps([entry for entry in everything if entry["path"] in wanted]).encode())

    def _api(self, repository: str, rest: list[str], query: dict[str, list[str]]) -> None:
        if self._is_denied(repository, is_file=rest[:1] == ["auth-check"]):
            return
        if repository not in self.stub.repositories:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] in (["revision"], ["tree"]) and rest[1] not in ("main", SHA):
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif rest[:1] == ["auth-check"]:
            self._answer(200, b"{}")
        elif rest[:1] == ["tree"]:
            entries = self.stub.tree(repository, "/".join(rest[2:]), recursive=query.get("recursive") == ["True"])
            if entries:
                self._answer(200, json.dumps(entries).encode())
            else:
                self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        else:
            self._answer(200, json.dumps(self.stub.info(repository)).encode())

    def _file(self, repository: str, revision: str, path: str) -> None:
        headers = {"X-Repo-Commit": SHA, "ETag": f'"{path}"', "Accept-Ranges": "bytes"}
        if self._is_denied(repository, is_file=True):
            return
        content = self.stub.repositories.get(repository, {}).get(path)
        if content is None or revision not in ("main", SHA):
            self._answer(404, b"", headers | {"X-Error-Code": "EntryNotFound"})
            return
        asked = self.headers.get("Range")
        if asked is None:
            self._answer(200, content, headers)
            return
        first, last = asked.removeprefix("bytes=").split("-")
        end = min(int(last or len(content) - 1) + 1, len(content))
        part = content[int(first) : end]
        self._answer(206, part, headers | {"Content-Range": f"bytes {first}-{end - 1}/{len(content)}"})

    def _breaks_off(self) -> bool:
        if self.stub.is_gone:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        return self.stub.is_gone

    def _is_denied(self, repository: str, *, is_file: bool) -> bool:
        """Turn the request down where its token does not suffice."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        denied = self.stub.denied(repository, token, is_file=is_file)
        if denied:
            self._answer(denied.status, b"{}", {"X-Error-Code": denied.code, "X-Error-Message": denied.message})
        return denied is not None

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.stub.sent_bytes += len(body)
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
