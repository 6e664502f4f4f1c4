"""Lists of holidays, expanded to dates when they are put into a calendar, and kept with it."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pydantic import ValidationError

from adapters import holidays
from domain.calendars import Calendar, HolidayList
from domain.errors import Invalid, NotFound
from models.session import Row, Work
from services import configuration
from services.configuration import Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class HolidayWish:
    """Which holidays somebody wants: a country's, or those of a file; for which years."""

    first_year: int
    last_year: int
    name: str | None = None
    country: str | None = None
    region: str | None = None
    language: str | None = None
    ics: str | None = None
    excluded: tuple[date, ...] = ()
    excluded_names: tuple[str, ...] = ()


async def countries() -> Mapping[str, tuple[str, ...]]:
    """Country codes with those of their regions."""
    return await asyncio.to_thread(holidays.countries)


async def listed(wish: HolidayWish) -> HolidayList:
    """The dates. Raises Invalid for a country that is not known, or what is no such file."""
    return await asyncio.to_thread(_listed, wish)  # a file may be large, a first import slow


def _listed(wish: HolidayWish) -> HolidayList:
    if wish.ics is not None:
        return holidays.of_ics(
            wish.ics,
            name=wish.name or "File",
            first=date(wish.first_year, 1, 1),
            last=date(wish.last_year, 12, 31),
            excluded=wish.excluded,
            excluded_names=wish.excluded_names,
        )
    found = holidays.of_country(
        wish.country or "",
        region=wish.region,
        years=range(wish.first_year, wish.last_year + 1),
        language=wish.language,
        excluded=wish.excluded,
        excluded_names=wish.excluded_names,
    )
    return found if wish.name is None else found.model_copy(update={"name": wish.name})


async def put(
    work: Work, calendar_id: uuid.UUID, found: HolidayList, *, now: datetime
) -> tuple[Row, Changes]:
    """The calendar with this list, in the place of one of the same name; a new version of it."""
    await configuration.hold(work)
    calendar = Calendar.model_validate((await configuration.calendar(work, calendar_id))["body"])
    others = [each for each in calendar.lists if each.name != found.name]
    return await _with_lists(work, calendar_id, calendar, [*others, found], now=now)


async def drop(
    work: Work, calendar_id: uuid.UUID, name: str, *, now: datetime
) -> tuple[Row, Changes]:
    """The calendar without that list. Raises NotFound."""
    await configuration.hold(work)
    calendar = Calendar.model_validate((await configuration.calendar(work, calendar_id))["body"])
    others = [each for each in calendar.lists if each.name != name]
    if len(others) == len(calendar.lists):
        raise NotFound(f"The calendar has no list {name!r}.")
    return await _with_lists(work, calendar_id, calendar, others, now=now)


async def _with_lists(
    work: Work,
    calendar_id: uuid.UUID,
    calendar: Calendar,
    lists: Sequence[HolidayList],
    *,
    now: datetime,
) -> tuple[Row, Changes]:
    try:
        body = Calendar.model_validate(
            {**calendar.model_dump(), "lists": [each.model_dump() for each in lists]}
        )
    except ValidationError as error:
        raise Invalid(
            "That is too much for a calendar.", fields={"/name": error.errors()[0]["msg"]}
        ) from error
    return await configuration.change_calendar(
        work, calendar_id, name=None, body=body, active=None, now=now
    )
