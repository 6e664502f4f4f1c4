"""Holidays by the list: of a country and region, or from an iCalendar file, as dates."""

from datetime import date
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field, model_validator

from api.editing import Editing
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.sla import CalendarOut, Manager, Viewer
from services import configuration, holidays
from services.tickets import clock

router = APIRouter(prefix="/api/v1", tags=["sla"], route_class=Route)


class Country(Shape):
    """A country whose public holidays are known, with those of its regions that are."""

    code: str
    regions: list[str]


class HolidaysIn(Request):
    """Either a country (and region), or the text of an iCalendar file."""

    model_config = examples(
        {
            "country": "DE",
            "region": "BY",
            "first_year": 2026,
            "last_year": 2028,
            "excluded_names": ["Mariä Himmelfahrt"],
        },
        {
            "name": "Company days",
            "ics": "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20260703\r\n"
            "SUMMARY:Summer party\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
            "first_year": 2026,
            "last_year": 2026,
        },
    )

    name: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Left out, a country's own. A list of the same name is replaced."
    )
    country: Annotated[str, Field(min_length=2, max_length=3)] | None = None
    region: Annotated[str, Field(max_length=20)] | None = None
    language: Annotated[str, Field(max_length=10)] | None = None
    ics: Annotated[str, Field(max_length=2 << 20)] | None = None
    first_year: Annotated[int, Field(ge=1970, le=2200)]
    last_year: Annotated[int, Field(ge=1970, le=2200)]
    excluded: Annotated[list[date], Field(max_length=500)] = Field(
        default_factory=list, description="Dates of it that are worked on."
    )
    excluded_names: Annotated[
        list[Annotated[str, Field(max_length=200)]], Field(max_length=100)
    ] = Field(default_factory=list, description="Names of holidays that are worked on every year.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.country is None) == (self.ics is None):
            raise ValueError("name a country, or give an iCalendar file")
        if self.ics is not None and self.name is None:
            raise ValueError("a file's list needs a name")
        if not 0 <= self.last_year - self.first_year < 20:
            raise ValueError("a list covers 1 to 20 years")
        return self

    def wish(self) -> holidays.HolidayWish:
        return holidays.HolidayWish(
            name=self.name,
            country=self.country,
            region=self.region,
            language=self.language,
            ics=self.ics,
            first_year=self.first_year,
            last_year=self.last_year,
            excluded=tuple(self.excluded),
            excluded_names=tuple(self.excluded_names),
        )


@router.get("/holidays/countries", summary="Countries whose holidays are known")
async def list_countries(caller: Viewer) -> list[Country]:
    return [
        Country(code=code, regions=list(regions))
        for code, regions in (await holidays.countries()).items()
    ]


@router.put("/calendars/{calendar_id}/holidays", summary="Put a list of holidays in")
async def put_holidays(
    calendar_id: UUID, body: HolidaysIn, caller: Manager, edit: Editing
) -> CalendarOut:
    """The dates are worked out now and kept with a new version of the calendar; when their years
    are over, put the list in again."""
    found = await holidays.listed(body.wish())
    await edit.unless_changed(CalendarOut, configuration.calendar, calendar_id)
    row, changes = await holidays.put(edit.work, calendar_id, found, now=clock())
    return await edit.answer(caller, CalendarOut(**row), "calendar", calendar_id, changes)


@router.delete("/calendars/{calendar_id}/holidays", summary="Take a list of holidays out")
async def drop_holidays(
    calendar_id: UUID,
    caller: Manager,
    edit: Editing,
    name: Annotated[str, Query(min_length=1, max_length=100)],
) -> CalendarOut:
    await edit.unless_changed(CalendarOut, configuration.calendar, calendar_id)
    row, changes = await holidays.drop(edit.work, calendar_id, name, now=clock())
    return await edit.answer(caller, CalendarOut(**row), "calendar", calendar_id, changes)
