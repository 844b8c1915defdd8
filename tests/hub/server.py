"""The Hub as a server: put together, started in a thread of a test or in a process of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from . import errors, file_routes, job_routes, repo_routes, schedule_routes, upload_routes, webhook_routes
from .faults import Faults, FaultyAnswers
from .jobs import Jobs
from .people import RUN_JOBS, WRITE_REPOS, People
from .schedules import Schedules
from .store import Content, Gate, Kind, Repo, Store
from .webhooks import Webhooks
from .world import KeepEncodedSlashes, Seen, World

if TYPE_CHECKING:
    from huggingface_hub import HfApi

START_S = 10.0
LFS_FROM_BYTES = 1 << 20
"""Larger files come by LFS. The real Hub asks for it from 10 MiB on, and for binary formats whatever their size."""
ROUTES = [
    *job_routes.ROUTES,
    *schedule_routes.ROUTES,
    *webhook_routes.ROUTES,
    *upload_routes.ROUTES,
    *repo_routes.ROUTES,
    *file_routes.ROUTES,
    *repo_routes.PAGES,
]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """One user's tokens, of every kind that matters."""

    write: str
    read: str
    jobs: str
    """fineGrained: repositories and jobs."""
    no_jobs: str
    """fineGrained: repositories, no jobs."""


class LoopbackHub:
    """A Hub on a free port of this machine, as a context manager.

    Args:
        folder: Where it keeps everything; a Hub that is started on the same folder again has the same repositories.
        user: The user who exists from the start, member of the organisation `acme`; `tokens` are theirs.
        credits_usd: What that user's jobs may cost; None for without end.
        lfs_from_bytes: Files of this size and more are uploaded by LFS.
        port: The port; 0 takes a free one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        user: str = "tester",
        credits_usd: float | None = None,
        lfs_from_bytes: int = LFS_FROM_BYTES,
        port: int = 0,
    ) -> None:
        self._folder = folder
        self._socket = socket.create_server(("127.0.0.1", port))
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.user = user
        jobs = Jobs(folder, self.endpoint)
        self._world = World(
            endpoint=self.endpoint,
            store=Store(folder),
            people=People(),
            jobs=jobs,
            schedules=Schedules(jobs),
            webhooks=Webhooks(jobs),
            faults=Faults(),
            lfs_from_bytes=lfs_from_bytes,
        )
        self.people, self.store, self.jobs = self._world.people, self._world.store, jobs
        self.schedules, self.webhooks, self.faults = self._world.schedules, self._world.webhooks, self._world.faults
        self.person = self.people.add(user, orgs=("acme",), credits_usd=credits_usd)
        self.tokens = Tokens(
            write=self.people.issue(self.person, "write"),
            read=self.people.issue(self.person, "read"),
            jobs=self.people.issue(self.person, "fineGrained", WRITE_REPOS, RUN_JOBS),
            no_jobs=self.people.issue(self.person, "fineGrained", WRITE_REPOS),
        )
        config = uvicorn.Config(
            make_app(self._world), http="h11", ws="none", lifespan="off", log_level="error", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    @property
    def requests(self) -> list[Seen]:
        """Everything that was asked so far, in order."""
        return self._world.requests

    def asked(self, method: str, path: str) -> list[Seen]:
        """Return the requests of this method whose path begins like this."""
        return [seen for seen in self.requests if seen.method == method and seen.path.startswith(path)]

    def add_repo(
        self,
        kind: Kind,
        repo_id: str,
        files: Mapping[str, Content],
        *,
        private: bool = False,
        gated: Gate = False,
    ) -> Repo:
        """Make a repository with these files: text, bytes, or a path on disk."""
        repo = self.store.create(kind, repo_id, private=private, gated=gated)
        self.store.add_files(repo, files)
        return self.store.get(kind, repo_id)

    def add_files(self, kind: Kind, repo_id: str, files: Mapping[str, Content], *, title: str = "by hand") -> str:
        """Commit files to `main` as their owner does on the website, and return the commit."""
        return self.store.add_files(self.store.get(kind, repo_id), files, title=title).oid

    def read(self, kind: Kind, repo_id: str, path: str, revision: str = "main") -> bytes:
        """Return a file's content."""
        commit = self.store.head(self.store.get(kind, repo_id), revision)
        return self.store.read(commit.entries[path])

    def files(self, kind: Kind, repo_id: str, revision: str = "main") -> list[str]:
        """Return the paths of all files."""
        return list(self.store.head(self.store.get(kind, repo_id), revision).entries)

    def environment(self, token: str | None = None) -> dict[str, str]:
        """Return what a process needs in its environment to take this for the Hub; it has a cache of its own."""
        environment = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self._folder / "client"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        return environment | ({"HF_TOKEN": token} if token else {})

    def api(self, token: str | None = None) -> HfApi:
        """Return an unmodified client; it works inside `used_here`, or where the environment was set in time."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=token or self.tokens.write)

    @contextmanager
    def used_here(self, token: str | None = None) -> Iterator[HfApi]:
        """Let this very process take it for the Hub, although `huggingface_hub` has read its environment already.

        Args:
            token: The token that the process has; by default the one with the role `write`.
        """
        from datasets import config
        from huggingface_hub import HfFileSystem, constants

        token = token or self.tokens.write
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment(token).items():
                patch.setenv(name, value)
            patch.setattr(constants, "ENDPOINT", self.endpoint)
            template = f"{self.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
            patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            patch.setattr(constants, "HF_HUB_CACHE", str(self._folder / "client" / "hub"))
            patch.setattr(constants, "HF_HUB_OFFLINE", False)
            patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
            patch.setattr(config, "HF_ENDPOINT", self.endpoint)
            patch.setattr(config, "HF_HUB_OFFLINE", False)
            HfFileSystem.clear_instance_cache()
            yield self.api(token)
            HfFileSystem.clear_instance_cache()

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise RuntimeError(f"the Hub did not start on {self.endpoint}")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.schedules.close()
        self.jobs.close()
        self._server.should_exit = True
        self._thread.join(timeout=START_S)
        self._socket.close()


def make_app(world: World) -> Any:
    """Return the ASGI app of one Hub."""
    app = Starlette(routes=ROUTES, exception_handlers={errors.HubError: errors.answer, 404: _nothing_here})
    app.state.world = world

    def note(method: str, path: str, status: int | None) -> None:
        world.requests.append(Seen(method=method, path=path, status=status))

    return KeepEncodedSlashes(FaultyAnswers(app, world.faults, note))


async def _nothing_here(request: Request, _: Exception) -> JSONResponse:
    return JSONResponse({"error": f"nothing at {request.url.path}"}, status_code=404)
