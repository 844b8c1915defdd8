"""When a schedule fires: the five fields of cron (crontab(5)), in UTC, and the names that the Hub takes for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .errors import HubError

NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
}
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
YEARS = 5
"""A day that has not come by then, such as 30 February, never does."""


@dataclass(frozen=True, kw_only=True)
class Cron:
    """A schedule, parsed."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either_day: bool
    """With both days of the month and of the week restricted, one of the two is enough."""

    def after(self, moment: datetime) -> datetime:
        """Return the first moment after this one at which it fires.

        Raises:
            HubError: It never does.
        """
        moment = moment.astimezone(UTC)
        start = (moment + timedelta(minutes=1)).replace(second=0, microsecond=0)
        for number in range(YEARS * 366):
            day = (start + timedelta(days=number)).date()
            if not self._has_day(datetime(day.year, day.month, day.day, tzinfo=UTC)):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                    if at >= start:
                        return at
        raise HubError(400, "Invalid schedule: it never fires")

    def _has_day(self, day: datetime) -> bool:
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (by_date or by_weekday if self.either_day else by_date and by_weekday)


def parse(schedule: str) -> Cron:
    """Read a schedule.

    Raises:
        HubError: It is none.
    """
    fields = NAMED.get(schedule, schedule).split()
    if len(fields) != len(LIMITS):
        raise HubError(400, f"Invalid schedule: {schedule}")
    try:
        minutes, hours, days, months, weekdays = (
            _values(text, low, high) for text, (low, high) in zip(fields, LIMITS, strict=True)
        )
    except ValueError as error:
        raise HubError(400, f"Invalid schedule: {schedule}") from error
    return Cron(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )


def _values(text: str, low: int, high: int) -> frozenset[int]:
    """Return what one field stands for: `*`, `a`, `a-b`, each with `/step`, several with commas."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = int(first)
            end = int(last) if last else (high if step else start)
        values = range(start, end + 1, int(step or 1))
        if not values or values[0] < low or values[-1] > high:
            raise ValueError(text)
        found.update(values)
    return frozenset(found)
