"""A calendar as a value: hours by weekday, holidays, dates with hours of their own."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Protocol, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    field_serializer,
    model_validator,
)

if TYPE_CHECKING:
    from domain.calendars.timeline import Timeline


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class NeverOpen(ValueError):
    """The asked amount of open time never comes."""

    code = "calendar_never_open"

    def __init__(self) -> None:
        super().__init__(
            "The calendar has too little open time ahead. Add weekly hours or a later open date."
        )


class StillPaused(ValueError):
    """A pause without an end comes before the answer."""

    code = "clock_paused"

    def __init__(self, since: datetime) -> None:
        super().__init__(f"Paused since {since.isoformat()}: there is no due time until it ends.")


class Span(Protocol):
    """Anything with a start and, once it is over, an end."""

    @property
    def start(self) -> datetime: ...
    @property
    def end(self) -> datetime | None: ...


class Interval(BaseModel):
    """From `start` until just before `end`; without an end it still lasts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: AwareDatetime
    end: AwareDatetime | None = None

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError("the end lies before the start")
        return self


_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")


def _checked_zone(name: str) -> str:
    # The set of names is asked, not the file system: "right/…" would count leap seconds, and a
    # case-blind disk would accept names that the next machine refuses.
    if name not in known_zones():
        raise ValueError(f"{name!r} is not an IANA time zone such as 'Europe/Berlin'")
    return name


# A time zone that there is, by its name.
Zone = Annotated[str, AfterValidator(_checked_zone)]


@cache
def known_zones() -> frozenset[str]:
    return frozenset(available_timezones() - {"Factory", "localtime"})


def _checked_window(window: tuple[str, str]) -> tuple[str, str]:
    start, end = window
    if not _TIME.fullmatch(start):
        raise ValueError(f"{start!r} is not a start: write HH:MM[:SS], before 24:00")
    if end != "24:00" and not _TIME.fullmatch(end):
        raise ValueError(f"{end!r} is not an end: write HH:MM[:SS], up to 24:00")
    return window


Window = Annotated[tuple[str, str], AfterValidator(_checked_window)]


class HolidayList(BaseModel):
    """Holidays that came from outside, as dates with their names, less those that do not count.

    A list is imported again as a whole; what was excluded, once by its date or every year by its
    name, stays excluded. `source` says where the dates came from, in words for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    source: str = Field(default="", max_length=500)
    days: dict[date, str] = Field(default_factory=dict, max_length=5000)
    excluded: frozenset[date] = frozenset()
    excluded_names: frozenset[str] = frozenset()

    @property
    def closed(self) -> dict[date, str]:
        """The dates that count, in order, with their names."""
        return {
            day: name
            for day, name in sorted(self.days.items())
            if day not in self.excluded and name not in self.excluded_names
        }

    @field_serializer("excluded", "excluded_names", when_used="json")
    def _in_order(self, values: frozenset[date] | frozenset[str]) -> list[date] | list[str]:
        return sorted(values)  # type: ignore[return-value]


class Calendar(BaseModel):
    """Weekly opening hours in one time zone, with dated exceptions; equal by value, hashable.

    A window is a pair of local times, `("09:00", "17:00")`. `"24:00"` may end one; an end that is
    not after its start lies on the next day, so `("22:00", "06:00")` is a night shift and
    `("00:00", "00:00")` a whole day. A holiday empties a date, whether in `holidays` or in one of
    `lists`; an override replaces what the date would have had, and wins over a holiday on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: Zone
    weekly: dict[Weekday, tuple[Window, ...]] = Field(default_factory=dict)
    holidays: frozenset[date] = frozenset()
    overrides: dict[date, tuple[Window, ...]] = Field(default_factory=dict)
    lists: tuple[HolidayList, ...] = Field(
        default=(), max_length=20, exclude_if=lambda lists: not lists
    )

    _hash: int | None = PrivateAttr(default=None)
    _timeline: "Timeline | None" = PrivateAttr(default=None)

    @field_serializer("holidays", when_used="json")
    def _in_order(self, holidays: frozenset[date]) -> list[date]:
        return sorted(holidays)  # a set's order differs between processes; stored JSON must not

    @property
    def closed(self) -> Mapping[date, str]:
        """Every holiday that counts, with its name as far as it has one."""
        found = dict.fromkeys(self.holidays, "")
        for each in self.lists:
            found.update(each.closed)
        return found

    # Both caches are derived from the fields, so they take no part in equality and are never
    # handed to a copy, whose fields `model_copy(update=…)` is about to change.
    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Calendar):
            return NotImplemented
        return (
            self.timezone == other.timezone
            and self.weekly == other.weekly
            and self.holidays == other.holidays
            and self.overrides == other.overrides
            and self.lists == other.lists
        )

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(
                (
                    self.timezone,
                    frozenset(self.weekly.items()),
                    self.holidays,
                    frozenset(self.overrides.items()),
                    frozenset(day for each in self.lists for day in each.days),
                )
            )
        return self._hash

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._hash = None
        copied._timeline = None
        return copied

    def __deepcopy__(self, memo: dict[int, object] | None = None) -> Self:
        return self.__copy__()  # nothing inside is ever changed in place

    def __reduce__(self) -> tuple[object, ...]:
        return type(self).model_validate, (self.model_dump(),)
