"""Webhooks: a commit to a watched repository, or to any of a watched user's, starts a job or calls a URL."""

from __future__ import annotations

import json
import secrets
import threading
import urllib.error
import urllib.request
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from .errors import HubError
from .jobs import Job, Jobs
from .people import Person
from .store import Commit, Repo

CALL_TIMEOUT_S = 10.0


@dataclass(kw_only=True)
class Webhook:
    """One webhook."""

    id: str
    person: Person
    watched: list[dict[str, str]]
    domains: list[str]
    secret: str | None
    url: str | None = None
    source: Job | None = None
    """The job whose like is started."""
    disabled: bool = False
    started: list[str] = field(default_factory=list)
    """Ids of the jobs that it has started."""
    failures: list[str] = field(default_factory=list)
    """What went wrong when it fired."""

    def watches(self, repo: Repo) -> bool:
        """Tell whether an event of this repository is for it."""
        if self.disabled or "repo" not in self.domains:
            return False
        names = {repo.kind: repo.id, "user": repo.namespace, "org": repo.namespace}
        return any(names.get(item["type"]) == item["name"] for item in self.watched)

    def told(self) -> dict[str, Any]:
        """Return it as the Hub tells of it."""
        told: dict[str, Any] = {"id": self.id, "watched": self.watched, "domains": self.domains}
        told |= {"disabled": self.disabled, "url": self.url, "secret": self.secret}
        if self.source:
            told["job"] = {**self.source.spec, "secrets": sorted(self.source.spec.get("secrets") or {})}
        return told


class Webhooks:
    """All webhooks of one Hub.

    Args:
        jobs: Where jobs are started.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.all: dict[str, Webhook] = {}
        self._jobs = jobs

    def add(self, person: Person, asked: dict[str, Any]) -> Webhook:
        """Take a webhook on.

        Raises:
            HubError: It names neither a URL nor a job that exists.
        """
        source = self._jobs.all.get(asked.get("jobSourceId", ""))
        if not asked.get("url") and source is None:
            raise HubError(400, "a webhook needs a `url`, or the `jobSourceId` of a job that exists")
        webhook = Webhook(
            id=secrets.token_hex(12),
            person=person,
            watched=asked["watched"],
            domains=asked.get("domains") or ["repo", "discussion"],
            secret=asked.get("secret"),
            url=asked.get("url"),
            source=source,
        )
        self.all[webhook.id] = webhook
        return webhook

    def get(self, person: Person, webhook_id: str) -> Webhook:
        """Return one of a person's webhooks.

        Raises:
            HubError: There is none.
        """
        webhook = self.all.get(webhook_id)
        if webhook is None or webhook.person is not person:
            raise HubError(404, "Webhook not found")
        return webhook

    def fire(self, repo: Repo, commit: Commit) -> None:
        """Let everybody know who watches the repository."""
        for webhook in list(self.all.values()):
            if not webhook.watches(repo):
                continue
            payload = _payload(webhook, repo, commit)
            if webhook.source:
                self._start(webhook, webhook.source, repo, payload)
            else:
                threading.Thread(target=_call, args=(webhook, payload), daemon=True).start()

    def _start(self, webhook: Webhook, source: Job, repo: Repo, payload: dict[str, Any]) -> None:
        spec = deepcopy(source.spec)
        spec["environment"] = {
            **(spec.get("environment") or {}),
            "WEBHOOK_PAYLOAD": json.dumps(payload),
            "WEBHOOK_REPO_ID": repo.id,
            "WEBHOOK_REPO_TYPE": repo.kind,
            "WEBHOOK_SECRET": webhook.secret or "",
        }
        try:
            job = self._jobs.start(source.namespace, webhook.person, spec, {"type": "webhook", "id": webhook.id})
        except HubError as error:
            webhook.failures.append(error.message)
        else:
            webhook.started.append(job.id)


def _payload(webhook: Webhook, repo: Repo, commit: Commit) -> dict[str, Any]:
    return {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {"type": repo.kind, "name": repo.id, "private": repo.private, "headSha": commit.oid},
        "updatedRefs": [{"ref": "refs/heads/main", "oldSha": commit.parent, "newSha": commit.oid}],
        "webhook": {"id": webhook.id, "version": 3},
    }


def _call(webhook: Webhook, payload: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json", "X-Webhook-Secret": webhook.secret or ""}
    request = urllib.request.Request(webhook.url or "", data=json.dumps(payload).encode(), headers=headers)
    try:
        urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S).close()
    except (urllib.error.URLError, OSError) as error:
        webhook.failures.append(str(error))
