"""Worked examples in a file: a calendar, a start, a target, pauses, and when it is due.

What people write is taken as they mean it: days by any name, hours with or without seconds, dates
alone or with a name, pauses as pairs or with names. What cannot be meant is refused with a reason.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from domain.calendars import Calendar, Weekday, business_days, due_at, known_zones
from domain.sla import vocabulary as words
from domain.sla.clocks import Pause
from domain.sla.vocabulary import checked
from domain.sla.vocabulary import first as _first

_WITH_SECONDS = re.compile(r"[T ]\d\d:\d\d:\d\d")
_DAYS = tuple(Weekday)
_FULL_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOSED = (None, False, "", "closed", "none", "off")
# What an entry of a list says beside its hours.
_BESIDE_A_WINDOW = (*words.DAYS, *words.CLOSED, "date")


class UnknownZone(ValueError):
    """The case names a time zone that there is not."""

    code = "unknown_zone"

    def __init__(self, name: object) -> None:
        super().__init__(f"{name!r} is not an IANA time zone such as 'Europe/Berlin'")


def unknown_zone(line: object) -> UnknownZone | None:
    """The complaint about a line that names no known time zone; None for any other line."""
    try:
        Vector.model_validate(line)
    except OverflowError:
        return None
    except ValidationError as error:
        causes = (one.get("ctx", {}).get("error") for one in error.errors())
        return next((cause for cause in causes if isinstance(cause, UnknownZone)), None)
    return None


def _zone(name: object) -> str:
    if name is None:
        return "UTC"
    text = str(name).strip()
    if text in known_zones():
        return text
    folded = {zone.lower(): zone for zone in known_zones()}
    found = folded.get(text.lower().replace(" ", "_")) or ("UTC" if text in ("Z", "z") else None)
    if found is None:
        raise UnknownZone(name)
    return found


def _clock_time(raw: object, *, end: bool) -> str:
    """A time of day as calendars write it: two digits each, seconds only where there are any."""
    text = str(raw).strip().lower()
    parts = text.split(":")
    if len(parts) == 1 and text.isdigit():
        parts = [text, "00"] if len(text) < 3 else [text[:-2], text[-2:]]
    if not 2 <= len(parts) <= 3 or not all(p.split(".")[0].isdigit() for p in parts):
        raise ValueError(f"{raw!r} is not a time of day")
    hours, minutes = int(parts[0]), int(parts[1])
    seconds = int(parts[2].split(".")[0]) if len(parts) == 3 else 0
    if (hours, minutes, seconds) == (24, 0, 0) and not end:
        raise ValueError("a window starts before 24:00")
    return f"{hours:02}:{minutes:02}" + (f":{seconds:02}" if seconds else "")


def _window(raw: object) -> tuple[str, str]:
    if isinstance(raw, str):
        parts: list[object] = list(re.split(r"\s*(?:-|–|—|/|\bto\b)\s*", raw.strip()))
    elif isinstance(raw, Mapping):
        checked(raw, "a window", words.OPENS, words.CLOSES, also=_BESIDE_A_WINDOW)
        parts = [_first(raw, *words.OPENS), _first(raw, *words.CLOSES)]
    else:
        parts = list(raw) if isinstance(raw, Iterable) else []
    if len(parts) != 2 or None in parts:
        raise ValueError(f"{raw!r} is not a window: write a start and an end")
    return _clock_time(parts[0], end=False), _clock_time(parts[1], end=True)


def _windows(raw: object) -> list[tuple[str, str]]:
    if isinstance(raw, str) and raw.strip().lower() in _CLOSED:
        return []
    if raw is None or raw is False:
        return []
    if isinstance(raw, Mapping):
        if _first(raw, *words.CLOSED) is True:
            return []
        if (inner := _first(raw, *words.WITHIN)) is not None:
            checked(raw, "a day's hours", words.WITHIN, words.CLOSED, also=_BESIDE_A_WINDOW)
            return _windows(inner)
        return [] if not raw or "closed" in raw else [_window(raw)]
    if isinstance(raw, str):
        return [_window(part) for part in raw.split(",")]
    listed = list(raw) if isinstance(raw, Iterable) else []
    is_flat_pair = len(listed) == 2 and all(
        isinstance(one, str) and not re.search(r"\d\s*[-–—]\s*\d", one) for one in listed
    )
    return [_window(listed)] if is_flat_pair else [_window(one) for one in listed]


def _weekday(raw: object) -> Weekday:
    text = str(raw).strip().lower()
    for place, name in enumerate(_FULL_NAMES):
        if len(text) >= 2 and (name.startswith(text) or text.rstrip("s.") == name):
            return _DAYS[place]
        if len(text) >= 3 and text.startswith(name[:3]) and text.rstrip("s.") in (
            "tues", "thur", "thurs", "weds", name[:3],
        ):  # fmt: skip
            return _DAYS[place]
    raise ValueError(f"{raw!r} is not a day: write mon, tue, wed, thu, fri, sat, sun")


def _weekly(raw: object) -> dict[Weekday, list[tuple[str, str]]]:
    """Hours by day, from a mapping by name or number, or from a list."""
    if raw is None:
        return {}
    found: dict[Weekday, list[tuple[str, str]]] = {}

    def add(day: Weekday, windows: object) -> None:
        found.setdefault(day, []).extend(_windows(windows))

    if isinstance(raw, Mapping):
        numbers = [str(key).strip() for key in raw if str(key).strip().isdigit()]
        first = 0 if "0" in numbers else 1  # Monday is 0, or 1 as in ISO 8601
        for key, windows in raw.items():
            text = str(key).strip()
            for each in [_DAYS[int(text) - first]] if text.isdigit() else _some_days(text):
                add(each, windows)
        return found
    listed = list(raw) if isinstance(raw, Iterable) else []
    named = [one for one in listed if isinstance(one, Mapping) and _first(one, "day", "weekday")]
    if named or any(isinstance(one, Mapping) and _first(one, "days") for one in listed):
        for one in listed:
            days = _first(one, *words.DAYS)
            inner = _first(one, *words.WITHIN)
            for day in days if isinstance(days, list) else [days]:
                for each in _some_days(str(day)):
                    add(each, one if inner is None else inner)
        return found
    if len(listed) != 7:
        raise ValueError("weekly hours as a list need seven days, Monday first")
    for each, windows in zip(_DAYS, listed, strict=True):
        add(each, windows)
    return found


def _some_days(text: str) -> list[Weekday]:
    """`mon`, `Mon-Fri`, `daily`, `weekdays`."""
    low = text.strip().lower()
    if low in ("daily", "all", "everyday", "every day", "*"):
        return list(_DAYS)
    if low in ("weekdays", "workdays"):
        return list(_DAYS[:5])
    if low in ("weekend", "weekends"):
        return list(_DAYS[5:])
    begin, dash, end = re.sub(r"\s*(-|–|—)\s*", "-", low).partition("-")
    if not dash:
        return [_weekday(low)]
    first, last = _DAYS.index(_weekday(begin)), _DAYS.index(_weekday(end))
    return [_DAYS[(first + n) % 7] for n in range((last - first) % 7 + 1)]


def _date(raw: object) -> date:
    text = str(raw).strip()
    return date.fromisoformat(text[:10] if len(text) > 10 and text[10] in "T " else text)


def _dates(raw: object) -> list[date]:
    """Dates from a list, a mapping by date, or entries with a name or an end."""
    if raw is None:
        return []
    found: list[date] = []
    for one in raw if isinstance(raw, Iterable) and not isinstance(raw, str) else [raw]:
        if isinstance(one, Mapping):
            checked(one, "a holiday", words.DATE, words.LAST_DATE)
            first = _date(_first(one, *words.DATE))
            until = _first(one, *words.LAST_DATE)
            last = first if until is None else _date(until)
            found += [first + timedelta(days=n) for n in range((last - first).days + 1)]
        else:
            found.append(_date(one))
    return found


def _overrides(raw: object) -> dict[date, list[tuple[str, str]]]:
    if raw is None:
        return {}
    if isinstance(raw, Mapping):
        return {_date(day): _windows(windows) for day, windows in raw.items()}
    found = {}
    for one in raw if isinstance(raw, Iterable) else []:
        if isinstance(one, Mapping):
            hours = (*words.OPENS, *words.CLOSES)
            checked(one, "an override", words.WITHIN, words.CLOSED, also=("date", "day", *hours))
        inner = _first(one, *words.WITHIN)
        if inner is None and _first(one, "start", "from", "open") is not None:
            inner = [_window(one)]
        for day in _dates([_first(one, "date", "day")]):
            found[day] = _windows(inner)
    return found


_ALWAYS = {day: [("00:00", "24:00")] for day in Weekday}


def _is_always(raw: object) -> bool:
    return isinstance(raw, str) and raw.lower().replace("/", "x") in ("24x7", "always")


def _calendar(raw: object, *, is_line: bool = False) -> object:
    """A calendar as it is written here, as `Calendar` takes it. Raises UnknownZone.

    With `is_line` its own words stand among those of a case.
    """
    if isinstance(raw, Calendar):
        return raw
    if raw is None or _is_always(raw):
        return {"timezone": "UTC", "weekly": _ALWAYS}
    if not isinstance(raw, Mapping):
        raise ValueError("a calendar is an object with a timezone and weekly hours")
    checked(raw, "a calendar", *words.WHOLE_CALENDAR, also=_LINE if is_line else ())
    zone = _zone(_first(raw, *words.ZONE))
    weekly = _first(raw, *words.WEEKLY)
    if _is_always(weekly):
        weekly = _ALWAYS
    dropped = set(_dates(_first(raw, *words.EXCLUDED)))
    holidays = _dates(_first(raw, *words.HOLIDAYS))
    return {
        "timezone": zone,
        "weekly": _weekly(weekly),
        "holidays": [day for day in holidays if day not in dropped],
        "overrides": _overrides(_first(raw, *words.OVERRIDES)),
    }


def _moment(raw: object) -> object:
    """An instant; one without an offset is in UTC, as the files say."""
    if isinstance(raw, str):
        text = raw.strip()
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return raw
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return raw


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


def _pause(raw: object) -> object:
    if isinstance(raw, Mapping):
        checked(raw, "a pause", words.PAUSED, words.RESUMED)
        start = _first(raw, *words.PAUSED)
        end = _first(raw, *words.RESUMED)
        return {"start": _moment(start), "end": _moment(end or None)}
    match raw:
        case [start, end]:
            return {"start": _moment(start), "end": _moment(end or None)}
        case [start]:
            return {"start": _moment(start)}
        case str() if "/" in raw:
            start, _, end = raw.partition("/")
            return {"start": _moment(start), "end": _moment(end) if end else None}
        case Pause():
            return raw
        case _:
            raise ValueError(f"{raw!r} is not a pause: write a start and an end")


def _none_is_empty(raw: object) -> object:
    return () if raw is None else raw


_DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)
_UNITS = {
    "seconds": 1 / 60, "secs": 1 / 60, "minutes": 1.0, "mins": 1.0, "min": 1.0, "hours": 60.0,
    "hrs": 60.0, "days": 1440.0,
}  # fmt: skip
_STEMS = ("target", "budget", "allowance", "duration", "sla")
_SHORT = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|hours?|d|days?)")
_SHORT_DAYS = re.compile(r"(\d+)\s*(?:bd|business[ _-]?days?|working[ _-]?days?)")
_TARGET = (*_STEMS, *(f"{stem}_{unit}" for stem in _STEMS for unit in _UNITS))
_CHANGE = (*words.CALENDAR[:2], *words.PRIORITY, *_TARGET)
_LINE = (
    *words.START, *words.PAUSES, *words.CHANGES, *words.DUE, *words.BUSINESS_DAYS, *words.TARGETS,
    *_TARGET, "unit", "target_unit", "priority", "calendar",
)  # fmt: skip
_LINE_GROUPS = (
    words.START, words.CALENDAR, words.PAUSES, words.CHANGES, words.DUE,
    (*words.BUSINESS_DAYS, *_TARGET), ("unit", "target_unit"),
)  # fmt: skip


def _number(said: object, unit: str) -> float:
    try:
        return float(str(said))
    except ValueError as error:
        raise ValueError(f"{said!r} is not a number of {unit}") from error


def _minutes(raw: object, priority: object = None) -> object:
    """A target in minutes, from whichever way it is written; None where it is not."""
    for stem in _STEMS:
        for unit, factor in _UNITS.items():
            said = _first(raw, f"{stem}_{unit}")
            if said is not None:
                return _number(said, unit) * factor
    said = next((v for stem in _STEMS if (v := _first(raw, stem)) is not None), None)
    if said is None and priority is not None:
        said = _first(_first(raw, *words.TARGETS), str(priority).lower())
    if isinstance(said, Mapping):
        parts: dict[object, object] = {f"target_{key}": value for key, value in said.items()}
        checked(parts, "a target", _TARGET)
        return _minutes(parts)
    if isinstance(said, str):
        if (short := _SHORT.fullmatch(said.strip().lower())) is not None:
            factor = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}[short[2][0]]
            return float(short[1]) * factor
        try:
            return float(said)
        except ValueError:
            return _DURATION.validate_python(said) / timedelta(minutes=1)
    return said


class Change(BaseModel):
    """From `at` on another target or calendar holds, counted from the start as ever."""

    model_config = ConfigDict(frozen=True)

    at: Moment
    target_minutes: float | None = Field(default=None, ge=0)
    calendar: Calendar | None = None


class Vector(BaseModel):
    """One line of a file of worked examples: a calendar, a start, a target, pauses, and the due."""

    model_config = ConfigDict(frozen=True)

    id: str = ""
    calendar: Calendar
    start: Moment
    target_minutes: float = Field(ge=0, allow_inf_nan=False)
    business_days: int | None = Field(default=None, ge=1, le=1000)
    pauses: Annotated[
        tuple[Annotated[Pause, BeforeValidator(_pause)], ...], BeforeValidator(_none_is_empty)
    ] = ()
    changes: Annotated[tuple[Change, ...], BeforeValidator(_none_is_empty)] = ()
    due: str | None = None
    expects_none: bool = False  # the line itself says that there is no due time
    to_the_second: bool = False  # the line writes its start with seconds, so the answer does too

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, line: object) -> object:
        if not isinstance(line, Mapping):
            return line
        said: dict[str, object] = {str(key): value for key, value in line.items()}
        if isinstance(said.get("id"), (int, float)):
            said["id"] = str(said["id"])
        start = _first(line, *words.START)
        if start is not None:
            said["start"] = start
        if isinstance(start, str):
            said.setdefault("to_the_second", bool(_WITH_SECONDS.search(start)))
        written = _first(line, *words.CALENDAR)
        if written is None and _first(line, *words.ZONE, "weekly") is not None:
            said["calendar"] = _calendar(line, is_line=True)  # its words stand in the line
        else:
            checked(line, "a case", *_LINE_GROUPS, also=_LINE)
            said["calendar"] = _calendar(written)
        days, said_priority = _days_promised(line), _first(line, "priority")
        if days is not None:
            said["business_days"] = days
        minutes = None if days is not None else _minutes(_as_numbered(line), said_priority)
        if minutes is not None or days is not None:
            said["target_minutes"] = 0 if minutes is None else minutes
        changes = _first(line, *words.CHANGES)
        if changes is not None:
            listed = changes if isinstance(changes, list) else [changes]
            said["changes"] = [_change(one, line) for one in listed if isinstance(one, Mapping)]
        said["pauses"] = _first(line, *words.PAUSES)
        due = next((key for key in line if words.plain(key) in words.DUE), None)
        said["expects_none"] = due is not None and line[due] is None
        said["due"] = line[due] if due is not None and isinstance(line[due], str) else None
        return said


def _days_promised(line: Mapping[object, object]) -> object:
    """A target in business days, from whichever way it is written; None where it is not."""
    days = _first(line, *words.BUSINESS_DAYS)
    said = next((v for stem in _STEMS if (v := _first(line, stem)) is not None), None)
    if days is None and isinstance(said, Mapping):
        days = _first(said, "business_days") if len(said) == 1 else None
    if days is None and isinstance(said, str):
        written = _SHORT_DAYS.fullmatch(said.strip().lower())
        days = None if written is None else written[1]
    unit = _first(line, "unit", "target_unit")
    if unit is None:
        return days
    if _SHORT_DAYS.fullmatch(f"1 {str(unit).strip().lower()}"):
        return said if days is None else days
    if str(unit).strip().lower() in _UNITS:
        return days
    raise ValueError(f"{unit!r} is no unit of time: write minutes, hours or business_days")


def _as_numbered(line: Mapping[object, object]) -> Mapping[object, object]:
    """A line whose unit stands beside its number, with the unit in the name of the target."""
    unit = str(_first(line, "unit", "target_unit") or "").strip().lower()
    if unit not in _UNITS:
        return line
    said = next((v for stem in _STEMS if (v := _first(line, stem)) is not None), None)
    return line if said is None else {f"target_{unit}": said}


def _change(raw: Mapping[object, object], line: Mapping[object, object]) -> dict[str, object]:
    checked(raw, "a change", words.CHANGED, _TARGET, also=_CHANGE)
    calendar, priority = _first(raw, *words.CALENDAR[:2]), _first(raw, *words.PRIORITY)
    minutes = _minutes(raw)
    if minutes is None and priority is not None:
        minutes = _minutes({"targets": _first(line, *words.TARGETS)}, priority)
    return {
        "at": _first(raw, *words.CHANGED),
        "target_minutes": minutes,
        "calendar": None if calendar is None else _calendar(calendar),
    }


def due_of(vector: Vector) -> datetime:
    """When it is due: the last target over the last calendar, from the start, less the pauses."""
    calendar, target = vector.calendar, timedelta(minutes=vector.target_minutes)
    if vector.business_days is not None:
        target += business_days(vector.start, vector.business_days, calendar)
    for change in sorted(vector.changes, key=lambda change: change.at):
        calendar = change.calendar or calendar
        if change.target_minutes is not None:
            target = timedelta(minutes=change.target_minutes)
    return due_at(vector.start, target, calendar, vector.pauses)


def breach_of(vector: Vector) -> datetime | None:
    """When a change has put the due time into the past, as of the change; None where none has."""
    if not vector.changes:
        return None
    last = max(change.at for change in vector.changes)
    return last if due_of(vector) < last else None


def solve(vector: Vector) -> str:
    """The vector's due time in UTC, like `2025-03-31T10:30Z`, with seconds where they matter."""
    return written(due_of(vector), to_the_second=vector.to_the_second)


def written(at: datetime, *, to_the_second: bool = False) -> str:
    """An instant as the files write it, as finely as it needs."""
    if at.microsecond:
        precision = "microseconds"
    elif at.second or to_the_second:
        precision = "seconds"
    else:
        precision = "minutes"
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def complaint(error: ValidationError | OverflowError) -> str:
    """The first thing that is wrong with a line, in words."""
    if isinstance(error, OverflowError):
        return "a number is out of range"
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the line"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"
