"""Scheduled jobs: a job that is started whenever its schedule says so."""

from __future__ import annotations

import secrets
import threading
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .cron import Cron, parse
from .errors import HubError
from .jobs import TERMINAL, Job, Jobs
from .people import Person
from .store import now

TICK_S = 0.5


@dataclass(kw_only=True)
class Schedule:
    """One scheduled job."""

    id: str
    namespace: str
    person: Person
    spec: dict[str, Any]
    schedule: str
    cron: Cron
    next_at: datetime
    suspended: bool = False
    concurrency: bool = False
    created: str = field(default_factory=now)
    last: Job | None = None

    def told(self) -> dict[str, Any]:
        """Return it as the Hub tells of it."""
        last = {"id": self.last.id, "at": self.last.told()["createdAt"]} if self.last else None
        spec = {**self.spec, "secrets": sorted(self.spec.get("secrets") or {})}
        return {
            "id": self.id,
            "createdAt": self.created,
            "jobSpec": spec,
            "schedule": self.schedule,
            "suspend": self.suspended,
            "concurrency": self.concurrency,
            "status": {"lastJob": last, "nextJobRunAt": None if self.suspended else _iso(self.next_at)},
            "owner": {"id": f"id-{self.namespace}", "name": self.namespace, "type": "user"},
        }


class Schedules:
    """All scheduled jobs of one Hub, and the clock that starts them.

    Args:
        jobs: Where the jobs are started.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.all: dict[str, Schedule] = {}
        self._jobs = jobs
        self._stop = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True, name="schedules")
        self._clock.start()

    def add(self, namespace: str, person: Person, asked: dict[str, Any]) -> Schedule:
        """Take a scheduled job on.

        Raises:
            HubError: The schedule is none.
        """
        cron = parse(asked["schedule"])
        schedule = Schedule(
            id=secrets.token_hex(12),
            namespace=namespace,
            person=person,
            spec=asked["jobSpec"],
            schedule=asked["schedule"],
            cron=cron,
            next_at=cron.after(datetime.now(UTC)),
            suspended=bool(asked.get("suspend")),
            concurrency=bool(asked.get("concurrency")),
        )
        self.all[schedule.id] = schedule
        return schedule

    def get(self, namespace: str, schedule_id: str) -> Schedule:
        """Return a scheduled job.

        Raises:
            HubError: There is none in this namespace.
        """
        schedule = self.all.get(schedule_id)
        if schedule is None or schedule.namespace != namespace:
            raise HubError(404, "Scheduled job not found")
        return schedule

    def fire(self, schedule: Schedule) -> Job:
        """Start the job now.

        Raises:
            HubError: The last one still runs, and two at a time were not asked for.
        """
        if not schedule.concurrency and schedule.last and schedule.last.stage not in TERMINAL:
            raise HubError(409, "A job of this scheduled job is still running")
        initiator = {"type": "scheduled-job", "id": schedule.id}
        schedule.last = self._jobs.start(schedule.namespace, schedule.person, deepcopy(schedule.spec), initiator)
        return schedule.last

    def pass_time(self, until: datetime) -> list[Job]:
        """Start whatever is due by this moment, once each; the clock does so twice a second, a test may look ahead."""
        started: list[Job] = []
        for schedule in list(self.all.values()):
            if schedule.suspended or schedule.next_at > until:
                continue
            schedule.next_at = schedule.cron.after(until)
            try:
                started.append(self.fire(schedule))
            except HubError:  # busy, or no money: the next time comes
                continue
        return started

    def close(self) -> None:
        """Stop the clock."""
        self._stop.set()
        self._clock.join()

    def _tick(self) -> None:
        while not self._stop.wait(TICK_S):
            self.pass_time(datetime.now(UTC))


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
