"""The days ahead of a calendar: what is open, and why the rest is not."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from domain.calendars.calendar import Calendar, Weekday
from domain.calendars.timeline import moment_of, timeline_of


class Reason(StrEnum):
    """Why a date has the hours it has."""

    WEEKDAY = "weekday"  # as every such weekday, open or not
    HOLIDAY = "holiday"
    OVERRIDE = "override"  # hours (or none) of its own


@dataclass(frozen=True, slots=True)
class Day:
    """One date. `windows` are the instants, in UTC, at which what begins on it opens and closes."""

    day: date
    windows: tuple[tuple[datetime, datetime], ...]
    reason: Reason
    name: str = ""  # the holiday's, where it has one

    @property
    def open(self) -> timedelta:
        """How long; a window past midnight counts for the date it begins on."""
        return sum((end - start for start, end in self.windows), timedelta())

    @property
    def why_closed(self) -> str | None:
        """A sentence for people; None where the date has open time."""
        if self.windows:
            return None
        match self.reason:
            case Reason.HOLIDAY:
                return f"Holiday: {self.name}." if self.name else "Holiday."
            case Reason.OVERRIDE:
                return "Closed on this date."
            case Reason.WEEKDAY:
                return "Closed on this weekday."


def preview(calendar: Calendar, first: date, *, days: int = 366) -> tuple[Day, ...]:
    """`days` dates from `first` on, each with its windows: what an editor of a calendar shows."""
    closed, weekdays, timeline = calendar.closed, tuple(Weekday), timeline_of(calendar)
    found = []
    for ahead in range(days):
        day = first + timedelta(days=ahead)
        if day in calendar.overrides:
            reason = Reason.OVERRIDE
        elif day in closed and calendar.weekly.get(weekdays[day.weekday()]):
            reason = Reason.HOLIDAY
        else:
            reason = Reason.WEEKDAY
        windows = tuple((moment_of(a), moment_of(b)) for a, b in timeline.intervals_of(day))
        found.append(Day(day, windows, reason, closed.get(day, "")))
    return tuple(found)
