"""Cron expressions: five fields (crontab(5)), checked before they are sent, and how often they fire."""

from __future__ import annotations

from datetime import date, timedelta

from .errors import InputError

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
CYCLE_DAYS = 4 * 365 + 1
"""After this long, leap years included, months and days of the week have all had their turn."""
MONTHS = 48


def firings_a_month(cron: str) -> float:
    """Return how often a schedule fires in a month, on average over four years.

    Args:
        cron: Five fields; with both days of the month and of the week restricted, one of the two is enough.

    Raises:
        InputError: It is no cron expression, or one that never fires.
    """
    minutes, hours, days, months, weekdays = _read(cron)
    by_date, by_weekday = (not field.startswith("*") for field in (cron.split()[2], cron.split()[4]))
    weekdays = {day % 7 for day in weekdays}  # Sunday is 0 and 7
    first, matching = date(2025, 1, 1), 0
    for number in range(CYCLE_DAYS):
        day = first + timedelta(days=number)
        is_date, is_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        is_day = (is_date or is_weekday) if by_date and by_weekday else (is_date and is_weekday)
        matching += day.month in months and is_day
    if not matching:
        raise InputError(f"the schedule `{cron}` never fires.", hint="name a day that its months have")
    return matching * len(hours) * len(minutes) / MONTHS


def _read(cron: str) -> list[set[int]]:
    fields = cron.split()
    if len(fields) != len(FIELDS):
        raise InputError(
            f"`{cron}` has {len(fields)} fields, and cron has five.", hint="minute hour day month weekday: 0 2 * * *"
        )
    return [_values(text, *field) for text, field in zip(fields, FIELDS, strict=True)]


def _values(text: str, name: str, low: int, high: int) -> set[int]:
    """Return what one field stands for: `*`, `a`, `a-b`, each with `/step`, several with commas."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        start, _, end = ("", "", "") if span == "*" else span.partition("-")
        try:
            first = int(start or low)
            last = int(end) if end else (high if step or span == "*" else first)
            values = range(first, last + 1, int(step or 1))
        except ValueError as error:
            raise InputError(f"`{text}` is no {name} of a schedule.", hint=f"{low} to {high}, or *") from error
        if not values or values[0] < low or last > high:
            raise InputError(f"`{text}` is no {name} of a schedule.", hint=f"{low} to {high}, or *")
        found |= set(values)
    return found
