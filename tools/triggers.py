"""The words that say when a run is to be repeated: `every night at 2`, `whenever org/set is updated`.

Or its checkpoints evaluated: `evaluate every new checkpoint each night`.

Reading is by tables, as in `words.py`. Times are on the 24-hour clock and in UTC, as the Hub counts them; whatever can
be meant in two ways is a question. The expression is shown before anybody accepts it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .cron import firings_a_month
from .errors import InputError
from .facts import Trigger

THE_DATASET = ""
"""Stands for the run's own dataset where it is watched without being named."""

_NIGHT_HOUR = 2
"""For `every night` without an hour: the one of the usual example, when most of Europe and America sleep."""
_DAYS = (
    r"sundays?|sonntags?|dimanches?",
    r"mondays?|montags?|lundis?",
    r"tuesdays?|dienstags?|mardis?",
    r"wednesdays?|mittwochs?|mercredis?",
    r"thursdays?|donnerstags?|jeudis?",
    r"fridays?|freitags?|vendredis?",
    r"saturdays?|samstags?|samedis?",
)
"""From 0, as cron counts them; no abbreviations, which are names of datasets as well (`on sat`)."""
_ANY_DAY = "|".join(_DAYS)
_EACH = r"(?:every|each|on|jeden?|am|chaque|le)"
_CADENCES: tuple[tuple[str, str], ...] = (
    ("cron", r"cron(?:tab)?\s*[:=]?\s*[`\"']?(?P<cron>[\d*/,-]+(?:\s+[\d*/,-]+){4})[`\"']?"),
    ("step", r"(?:every|each|alle|toutes les)\s+(?P<count>\d+)\s+(?P<unit>hour|minute|stunde|heure)[sn]?"),
    ("uneven", r"(?:every|each) (?:other|second|third|\d+|two|three) (?:day|night|week|month|weekday|monday)s?|"
               r"(?:twice|(?:\d+|two|three|four) times) (?:a|per|each|every) (?:hour|day|night|week|month)|"
               r"fortnightly|biweekly"),
    ("hourly", r"hourly|(?:every|each) hour|stündlich|jede stunde|toutes les heures"),
    ("night", r"nightly|(?:every|each) night|jede nacht|nachts|chaque nuit|toutes les nuits"),
    ("morning", r"(?:every|each) morning|jeden morgen|chaque matin"),
    ("evening", r"(?:every|each) evening|jeden abend|chaque soir"),
    ("day", r"daily|(?:every|each) day|täglich|jeden tag|chaque jour|tous les jours"),
    ("weekdays", r"(?:on |every |each )?(?:weekdays?|workdays?|working days?)|werktags|en semaine"),
    ("weekends", r"(?:on |every |each |at )(?:the )?weekends?|(?:the )?weekends|am wochenende|le week-?end"),
    ("named", rf"{_EACH}\s+(?P<days>(?:{_ANY_DAY})(?:(?:\s*,\s*|\s+(?:and|und|et)\s+)(?:{_ANY_DAY}))*)"),
    ("date", r"(?:on |am |le )?(?:the )?(?P<date>\d{1,2})(?:st|nd|rd|th|\.|er)? (?:day )?of (?:each|every|the) month"),
    ("week", r"weekly|(?:every|each) week|wöchentlich|jede woche|chaque semaine"),
    ("month", r"monthly|(?:every|each) month|monatlich|jeden monat|chaque mois"),
)  # fmt: skip
_EDGE = r"(?<![\w/.-]){}(?![\w/-])"
_TIME = re.compile(
    r"\s*,?\s*(?:at|um|à|@|ab)\s+(?:(?P<word>noon|midnight|mittag|mitternacht|midi|minuit)|"
    r"(?P<hour>\d{1,2})(?:(?:[:.]|\s?h\s?)(?P<minute>\d{2}))?\s*(?P<half>[ap]\.?m\b\.?)?(?:\s*(?:uhr|h|heures?|o'clock)\b)?)"
)
_AND_ANOTHER = re.compile(
    r"\s*(?:,|and|or|und|oder|et|ou)\s+(?:(?:at|um|à)\s+\d|\d{1,2}(?:[:.h]\d{2}|\s*[ap]\.?m\b|\s*uhr\b|\s*(?:utc\s*)?(?:$|[,.;])))"
)
_ZONE = re.compile(
    r"\s*\(?(?:(?P<utc>utc|gmt|z)(?![\w+-])|(?P<other>[a-z]+/[a-z_]+|ce?s?t|es?d?t|[pcm][sd]t|bst|ist|jst|"
    r"(?:utc|gmt)\s*[+-]\s*\d+|(?:local|my|our) time|ortszeit))\b\)?"
)
_NAME = r"[`\"']?(?P<name>[\w.-]+/[\w.-]*\w)[`\"']?"
_ITSELF = r"(?:the |its |this |der |das |le |la )?(?:data ?set|datensatz|data|daten|rows|set|it|er|es|jeu de données)"
_CHANGES = (
    r"(?:(?:is|are|was|were|gets?|has|have|wird|werden|est|receives)\s+)?(?:been\s+)?"
    r"(?:updated?s?|chang(?:es?|ed)|grows?|(?:a )?new (?:rows|data|commits?|version)|"
    r"pushed(?: to)?|aktualisiert|geändert|mis à jour)"
)
_WATCHES = (
    rf"(?:whenever|when|every time|each time|any ?time|as soon as|if|sobald|(?:immer|jedes mal) wenn|"
    rf"(?:à )?chaque fois que)\s+(?:{_NAME}|{_ITSELF})\s+{_CHANGES}",
    rf"(?:on|after|at|upon) (?:every|each|any) (?:commit|push|update|change) (?:to|of|in) (?:{_NAME}|{_ITSELF})",
)
_JUDGE = (
    r"evaluat(?:e|es|ing)|re-?evaluate|check|test|measure|assess|score|judge|"
    r"bewerte|prüfe|evaluiere|teste|miss|évalue[rz]?|vérifie[rz]?|teste[rz]?|mesure[rz]?"
)
_JUDGE_LAST = r"(?:zu )?(?:bewerten|prüfen|evaluieren|testen|messen|auswerten)"
_CHECKPOINTS = (
    r"(?:(?:every|each|all|any|the|its|this run'?s|der|die|das|den|jeden?|alle|seine|chaque|tous|les|ses)\s+)*"
    r"(?P<new>(?:(?:new|newest|latest|neuen?|neuesten?|nouve(?:aux?|l))\s+)?)checkpoints?"
)
_SERIES = re.compile(rf"\b(?:{_JUDGE})\s+{_CHECKPOINTS}\b")
_SERIES_LAST = re.compile(rf"\b{_CHECKPOINTS}\s+{_JUDGE_LAST}\b")
_EVERY_NEW = re.compile(
    r"\b(?:every|each|all(?: the)?|jeden|alle|chaque|tous les) (?:new|neuen|nouve(?:aux?|l)) checkpoints?\b"
)
_BETWEEN = r"\s*(?:(?:of|from|in|von|aus|de)\s+\S+)?\s*,?\s*"
_TIMES = {"noon": 12, "mittag": 12, "midi": 12, "midnight": 0, "mitternacht": 0, "minuit": 0}


@dataclass(frozen=True, kw_only=True)
class TriggerReading:
    """What a text says of repetition, and the text without it."""

    trigger: Trigger | None
    question: str | None
    rest: str


def says_when(text: str) -> bool:
    """Tell whether a text says when something is to be repeated, be it in two ways."""
    read = read_trigger(text)
    return read.trigger is not None or read.question is not None


def read_trigger(text: str) -> TriggerReading:
    """Read when something is to be repeated; neither trigger nor question where nothing is said of it."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose lower case is longer: positions would not agree
        lowered = text
    found: list[tuple[str, re.Match[str]]] = []
    for name, pattern in (*_CADENCES, *(("webhook", pattern) for pattern in _WATCHES)):
        for match in re.finditer(_EDGE.format(f"(?:{pattern})"), lowered):
            if not any(_overlap(match, other) for _, other in found):
                found.append((name, match))
    if not found:
        question = "when are new checkpoints to be evaluated? Say, for example: every night at 2"
        asks = _series(lowered) and _EVERY_NEW.search(lowered)
        return TriggerReading(trigger=None, question=question if asks else None, rest=text)
    if {name for name, _ in found} in ({"week", "named"}, {"month", "date"}):  # `weekly, on Mondays` is one statement
        found = [entry for entry in found if entry[0] in ("named", "date")]
    if len(found) > 1:
        said = " and ".join(f"`{match[0]}`" for _, match in found)
        question = f"{said} are both said: when is it to run?"
        if _series(lowered):
            question += " One schedule trains or evaluates; the other one is made by `ftagent tool schedule_run` later"
        return TriggerReading(trigger=None, question=question, rest=text)
    reading, span = _one(text, lowered, *found[0])
    return _of_checkpoints(text, lowered, reading, span)


def _series(lowered: str) -> re.Match[str] | None:
    """Return where a text says that checkpoints are to be evaluated; the time may stand between verb and noun."""
    return _SERIES.search(lowered) or _SERIES_LAST.search(lowered)


def _of_checkpoints(text: str, lowered: str, reading: TriggerReading, span: tuple[int, int]) -> TriggerReading:
    """Return the reading with what is repeated: an evaluation of checkpoints, where the text says so."""
    start, end = span
    phrase = _series(f"{lowered[:start]}{' ' * (end - start)}{lowered[end:]}")
    if phrase is None:
        return reading
    first, last = min(start, phrase.start()), max(end, phrase.end())
    rest = "".join(" " if start <= n < end or phrase.start() <= n < phrase.end() else c for n, c in enumerate(text))
    trigger, question = reading.trigger, reading.question
    if trigger is not None and not _belong_together(lowered, phrase, span):
        question = f"`{text[start:end].strip()}`: is the training repeated, or are its new checkpoints evaluated then?"
    elif trigger is not None and trigger.kind == "webhook":
        question = "checkpoints are evaluated by the clock: at what time? Say, for example: every night at 2"
    elif trigger is not None:
        trigger = trigger.model_copy(update={"does": "evaluate", "words": text[first:last].strip()})
    return TriggerReading(trigger=None if question else trigger, question=question, rest=rest)


def _belong_together(lowered: str, phrase: re.Match[str], span: tuple[int, int]) -> bool:
    """Tell whether a time is that of the evaluation: in its phrase, behind it, or before it at a clause's start."""
    start, end = span
    if phrase.start() <= start and end <= phrase.end():
        return True
    if phrase.end() <= start:
        return re.fullmatch(_BETWEEN, lowered[phrase.end() : start]) is not None
    before = lowered[:start].rstrip()
    begins = not before or re.search(r"(?:[,.;:]|\b(?:and|then|und|dann|et|puis))$", before) is not None
    return begins and re.fullmatch(_BETWEEN, lowered[end : phrase.start()]) is not None


def _one(text: str, lowered: str, name: str, match: re.Match[str]) -> tuple[TriggerReading, tuple[int, int]]:
    start, end = match.span()
    time = _TIME.match(lowered, end) if name != "webhook" else None
    if time is None and name != "webhook" and (before := _just_before(lowered, start)):
        time, start = before, before.start()  # `at 2 every night`
    zone = _ZONE.match(lowered, max(end, time.end())) if time else None
    end = max([end, *(part.end() for part in (time, zone) if part)])
    rest, words = f"{text[:start]} {text[end:]}", text[start:end].strip()
    trigger: Trigger | None = None
    question: str | None
    if zone and zone["other"]:
        question = f"the Hub counts in UTC: which hour in UTC is `{words}`?"
    elif time and (another := _AND_ANOTHER.match(lowered, end)):
        question = f"`{words}{another[0]}`: one schedule has one time, or is a cron expression: cron 0 2,14 * * *"
    elif name == "webhook":
        groups = match.groupdict()
        watched = text[match.start("name") : match.end("name")] if groups.get("name") else THE_DATASET
        trigger, question = Trigger(kind="webhook", watched=watched, words=words), None
    else:
        cron, question = _cron(name, match, time)
        if cron is not None:
            trigger, question = _checked(cron, words)
    return TriggerReading(trigger=trigger, question=question, rest=rest), (start, end)


def _just_before(lowered: str, start: int) -> re.Match[str] | None:
    """Return the time of the day that stands directly before a position."""
    return next(
        (time for time in _TIME.finditer(lowered, 0, start) if not lowered[time.end() : start].strip(" ,")), None
    )


def _checked(cron: str, words: str) -> tuple[Trigger | None, str | None]:
    try:
        firings_a_month(cron)
    except InputError as error:
        return None, f"{error.message} When is it to run?"
    return Trigger(kind="cron", cron=cron, words=words), None


def _cron(name: str, match: re.Match[str], time: re.Match[str] | None) -> tuple[str | None, str | None]:
    """Return the expression, or what must be asked first."""
    match name:
        case "cron":
            return " ".join(match["cron"].split()), None
        case "step":
            return _steps(int(match["count"]), match["unit"], match[0])
        case "hourly":
            return "0 * * * *", None
        case "uneven":
            return (
                None,
                f"`{match[0]}`: on which days, and at what times (UTC)? A cron expression says it: cron 0 2,14 * * *",
            )
        case "week":
            return None, f"`{match[0]}`: on which day, and at what time?"
        case "month":
            return (
                None,
                f"`{match[0]}`: on which day of the month, and at what time? Say: on the 1st of each month at 2",
            )
        case _:
            pass
    if time is None and name != "night":
        return None, f"`{match[0]}`: at what time (UTC)?"
    hour, minute = _clock(time, name) if time else (_NIGHT_HOUR, 0)
    if hour > 23 or minute > 59:
        return None, f"`{match[0]}{time[0] if time else ''}` is no time of the day: at what time (UTC)?"
    days = {"weekdays": "1-5", "weekends": "0,6"}.get(name, "*")
    if name == "named":
        days = ",".join(str(number) for number, day in enumerate(_DAYS) if re.search(rf"\b(?:{day})\b", match["days"]))
    return f"{minute} {hour} {match['date'] if name == 'date' else '*'} * {days}", None


def _steps(count: int, unit: str, said: str) -> tuple[str | None, str | None]:
    """Return every so many minutes or hours, where that comes out even."""
    whole = 60 if unit == "minute" else 24
    if count < 1 or whole % count:
        return None, f"`{said}` does not come out even in {whole}: how often is it to run?"
    every = "*" if count == 1 else f"*/{count}"
    if count == whole:
        return ("0 * * * *" if unit == "minute" else "0 0 * * *"), None
    return (f"{every} * * * *" if unit == "minute" else f"0 {every} * * *"), None


def _clock(time: re.Match[str], part_of_day: str) -> tuple[int, int]:
    """Return hour and minute; `every evening at 8` and `every night at 10` are hours after noon."""
    if time["word"]:
        return _TIMES[time["word"]], 0
    hour, minute, half = int(time["hour"]), int(time["minute"] or 0), (time["half"] or "")[:1]
    if half:
        return (hour % 12 + (12 if half == "p" else 0) if 1 <= hour <= 12 else 99), minute
    if part_of_day == "night" and hour == 12:
        return 0, minute
    late = {"night": range(7, 12), "evening": range(4, 12)}.get(part_of_day, range(0))
    return (hour + 12 if hour in late else hour), minute


def _overlap(one: re.Match[str], other: re.Match[str]) -> bool:
    return one.start() < other.end() and other.start() < one.end()
