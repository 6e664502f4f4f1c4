"""Holidays from outside, as the dates that calendars hold: by country and region, or from a file.

Rules see dates only. A list is expanded when somebody asks for it, for the years that they ask for,
and kept with the calendar's version; nothing is looked up while a deadline is worked out.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.calendars import HolidayList
from domain.errors import Invalid

MOST_YEARS = 20
MOST_DAYS = 5_000
MOST_BYTES = 2 << 20
_MOST_REPEATS = 400  # of one entry: a yearly holiday over far more years than anybody plans


def countries() -> dict[str, tuple[str, ...]]:
    """Country codes with the codes of their regions, those that holidays are known for."""
    import holidays  # slow to import, and wanted by few processes

    return {
        code: tuple(regions)
        for code, regions in sorted(holidays.list_supported_countries().items())
    }


def of_country(
    country: str,
    *,
    region: str | None = None,
    years: Iterable[int],
    language: str | None = None,
    excluded: Iterable[date] = (),
    excluded_names: Iterable[str] = (),
) -> HolidayList:
    """The public holidays of a country, with those of a region where one is named.

    Raises Invalid for a country, region or language that is not known.
    """
    import holidays

    wanted = sorted(set(years))
    if not wanted or len(wanted) > MOST_YEARS:
        raise Invalid(
            f"Holidays are listed for 1 to {MOST_YEARS} years.", fields={"/years": "are too many"}
        )
    code = country.upper()
    if code not in countries():
        raise Invalid(f"No holidays are known for {code}.", fields={"/country": "is not known"})
    try:
        found = holidays.country_holidays(
            code, subdiv=region or None, years=wanted, language=language
        )
    except NotImplementedError as error:
        named = f"{code}-{region}" if region else code
        raise Invalid(
            f"No holidays are known for {named}.", fields={"/region": "is not known"}
        ) from error
    if language is not None and language not in found.supported_languages:
        named = ", ".join(found.supported_languages) or "its own"
        raise Invalid(
            f"The holidays of {code} have no names in {language}. There are: {named}.",
            fields={"/language": "is not known there"},
        )
    name = f"{code}-{region}" if region else code
    return HolidayList(
        name=name,
        source=f"public holidays of {name}, {wanted[0]} to {wanted[-1]}",
        days=dict(sorted((day, str(said)) for day, said in found.items())),
        excluded=frozenset(excluded),
        excluded_names=frozenset(excluded_names),
    )


def of_ics(
    text: str,
    *,
    name: str,
    first: date,
    last: date,
    excluded: Iterable[date] = (),
    excluded_names: Iterable[str] = (),
) -> HolidayList:
    """The dates between `first` and `last` that an iCalendar file names.

    An entry closes each date that it touches in its own words: whole days as they are, an entry
    with times the dates it lies on as written. Entries that repeat every year are repeated; other
    rules of repetition are refused, because leaving them out would open days that are closed.
    Raises Invalid for what is no such file.
    """
    if len(text) > MOST_BYTES:
        raise Invalid("The file is too large.", fields={"/file": "holds more than 2 MB"})
    entries = list(_entries(text))
    if not entries and ":VCALENDAR" not in text.upper():
        raise Invalid("This is no iCalendar file.", fields={"/file": "holds no VCALENDAR"})
    days: dict[date, str] = {}
    for entry in entries:
        try:
            for day, said in _dates_of(entry, first, last):
                days.setdefault(day, said)
        except OverflowError as error:  # before the year 1, or after 9999
            raise Invalid(
                "The file has a date or length that no calendar holds.",
                fields={"/file": "has a date or length out of range"},
            ) from error
        if len(days) > MOST_DAYS:
            raise Invalid("The file names too many dates.", fields={"/file": "too many dates"})
    return HolidayList(
        name=name,
        source=f"iCalendar file, {first} to {last}",
        days=dict(sorted(days.items())),
        excluded=frozenset(excluded),
        excluded_names=frozenset(excluded_names),
    )


Properties = dict[str, list[tuple[dict[str, str], str]]]


def _entries(text: str) -> Iterator[Properties]:
    """Each VEVENT's properties by name, with their parameters; lines that were folded are whole."""
    unfolded = re.sub(r"\r?\n[ \t]", "", text)
    current: Properties | None = None
    inner = 0  # alarms inside an entry have properties of their own
    for line in unfolded.splitlines():
        bracket = _BRACKET.fullmatch(line.strip())
        if bracket is not None:
            opens, is_entry = bracket[1] is not None, bracket[2].upper() == "VEVENT"
            if is_entry:
                if current is not None and not opens:
                    yield current
                current, inner = ({} if opens else None), 0
            elif current is not None:
                inner += 1 if opens else -1
        elif current is not None and not inner and ":" in line:
            head, _, value = line.partition(":")
            name, *pairs = head.split(";")
            parameters = {
                key.upper(): said.strip('"') for key, _, said in (p.partition("=") for p in pairs)
            }
            current.setdefault(name.strip().upper(), []).append((parameters, value.strip()))


_BRACKET = re.compile(r"(?:(BEGIN)|END)\s*:\s*([\w-]+)", re.IGNORECASE)


def _dates_of(entry: Properties, first: date, last: date) -> Iterator[tuple[date, str]]:
    if "DTSTART" not in entry or _text(entry, "STATUS").upper() == "CANCELLED":
        return
    begin, is_whole = _when(entry["DTSTART"][0])
    end = begin + timedelta(days=1) if is_whole else begin
    if "DTEND" in entry:
        end, _ = _when(entry["DTEND"][0])
    elif "DURATION" in entry:
        end = begin + _duration(entry["DURATION"][0][1])
    begin_day = begin.date()
    # A whole day ends before its end; so does what ends at midnight.
    length = max((end - timedelta(microseconds=1)).date() - begin_day, timedelta()).days
    named = _text(entry, "SUMMARY")
    starts = [
        *_repeated(begin_day, _text(entry, "RRULE"), first - timedelta(days=length), last),
        *(_when((parameters, one))[0].date() for parameters, one in _listed(entry, "RDATE")),
    ]
    missing = {_when((parameters, one))[0].date() for parameters, one in _listed(entry, "EXDATE")}
    for start in starts:
        if start in missing:
            continue
        for offset in range(min(length, 366) + 1):
            day = start + timedelta(days=offset)
            if first <= day <= last:
                yield day, named


def _listed(entry: Properties, name: str) -> Iterator[tuple[dict[str, str], str]]:
    for parameters, value in entry.get(name, []):
        for one in value.split(","):
            yield parameters, one


def _repeated(start: date, rule: str, first: date, last: date) -> Iterator[date]:
    """The start dates that a rule gives, from `first` to `last`."""
    if not rule:
        yield start
        return
    parts = dict(part.partition("=")[::2] for part in rule.upper().split(";") if part)
    known = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYMONTHDAY", "WKST"}
    same_day = parts.get("BYMONTH", str(start.month)) == str(start.month) and parts.get(
        "BYMONTHDAY", str(start.day)
    ) == str(start.day)
    if parts.get("FREQ") != "YEARLY" or set(parts) - known or not same_day:
        raise Invalid(
            f"The file repeats an entry in a way that is not understood: {rule}.",
            fields={"/file": "repeats an entry otherwise than every year on its date"},
        )
    every = max(_number(parts.get("INTERVAL", "1")), 1)
    count = min(_number(parts.get("COUNT", str(_MOST_REPEATS))), _MOST_REPEATS)
    until = _when(({}, parts["UNTIL"]))[0].date() if "UNTIL" in parts else last
    given = 0
    for year in range(start.year, min(last.year, until.year) + 1, every):
        try:
            day = start.replace(year=year)
        except ValueError:
            continue  # 29 February, in a year without one
        if given >= count or day > until or day > last:
            return
        given += 1
        if day >= first:
            yield day


def _when(written: tuple[dict[str, str], str]) -> tuple[datetime, bool]:
    """A date or time as its writer's wall clock shows it, and whether it is a date alone."""
    _, value = written
    try:
        if re.fullmatch(r"\d{8}", value):
            return datetime.strptime(value, "%Y%m%d").replace(tzinfo=_WALL), True
        bare = value.removesuffix("Z")
        return datetime.strptime(bare, "%Y%m%dT%H%M%S").replace(tzinfo=_WALL), False
    except ValueError as error:
        raise Invalid(
            f"The file has a date that is none: {value[:40]!r}.",
            fields={"/file": "has a date that is none"},
        ) from error


_WALL = ZoneInfo("UTC")  # only to count days on
_SPAN = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


def _duration(value: str) -> timedelta:
    found = _SPAN.fullmatch(value.upper().removeprefix("+"))
    if found is None:
        raise Invalid(
            f"The file has a length that is none: {value[:40]!r}.",
            fields={"/file": "has a length that is none"},
        )
    weeks, days, hours, minutes, seconds = (_number(part or "0") for part in found.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def _number(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", value):
        raise Invalid(
            f"The file has a number that is none: {value[:40]!r}.",
            fields={"/file": "has a number that is none"},
        )
    return int(value)


def _text(entry: Properties, name: str) -> str:
    if name not in entry:
        return ""
    said = entry[name][0][1].replace("\0", "")  # which Postgres keeps in no text
    return re.sub(r"\\([\\;,nN])", lambda m: " " if m[1] in "nN" else m[1], said)[:200]
