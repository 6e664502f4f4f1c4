"""Exact arithmetic over opening hours: when time is used up, how much was, what opens next."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from domain.calendars.calendar import Calendar, NeverOpen, Span, StillPaused
from domain.calendars.timeline import instant_of, moment_of, span_of, timeline_of, union


def due_at(
    start: datetime, allowance: timedelta, calendar: Calendar, pauses: Iterable[Span] = ()
) -> datetime:
    """The instant, in UTC, when `allowance` of open, unpaused time has passed since `start`.

    It is the earliest such instant: an allowance that is used up at closing time is due at closing
    time, not at the next opening. An allowance of zero is due at `start` itself, open or not.
    Pauses may overlap; time in several counts once, and a pause outside the opening hours changes
    nothing. Raises NeverOpen when the calendar has not that much open time ahead (there is no
    other limit to how far it looks), StillPaused when a pause without an end comes first.
    """
    left = span_of(allowance)
    if left < 0:
        raise ValueError("an allowance is not negative")
    timeline = timeline_of(calendar)
    now = instant_of(start)
    if not left:
        return moment_of(now)
    for paused, resumed in union(pauses):
        if paused > now:
            usable = timeline.open_between(now, paused)
            if left <= usable:
                break
            left -= usable
        if resumed is None:
            raise StillPaused(moment_of(paused))
        now = max(now, resumed)
    return moment_of(timeline.after(now, left))


def elapsed(
    start: datetime, end: datetime, calendar: Calendar, pauses: Iterable[Span] = ()
) -> timedelta:
    """The open, unpaused time between two instants; zero when `end` is not after `start`.

    A pause without an end lasts until `end`.
    """
    timeline = timeline_of(calendar)
    since, until = instant_of(start), instant_of(end)
    if until <= since:
        return timedelta()
    total = timeline.open_between(since, until)
    for paused, resumed in union(pauses):
        begin = max(paused, since)
        finish = until if resumed is None else min(resumed, until)
        if begin < finish:
            total -= timeline.open_between(begin, finish)
    return timedelta(microseconds=total)


def is_open(at: datetime, calendar: Calendar) -> bool:
    """True within a window; a window's start belongs to it, its end does not."""
    instant = instant_of(at)
    return timeline_of(calendar).next_open(instant, until=instant + 1) == instant


def next_opening(at: datetime, calendar: Calendar) -> datetime:
    """The first open instant that is not before `at`: `at` itself (in UTC) while open.

    Raises NeverOpen when nothing opens any more.
    """
    found = timeline_of(calendar).next_open(instant_of(at), until=None)
    if found is None:
        raise NeverOpen
    return moment_of(found)


def closing(at: datetime, calendar: Calendar) -> datetime | None:
    """When the open time that `at` lies in ends; None while closed, or where it never ends."""
    found = timeline_of(calendar).closing(instant_of(at))
    return None if found is None else moment_of(found)


def close_of_business_day(start: datetime, count: int, calendar: Calendar) -> datetime:
    """The close, in UTC, of the `count`-th whole business day from `start` on.

    A business day is a local date with open time; windows past midnight belong to the date they
    begin on. The date that `start` falls on counts only if it has not begun to be open before: from
    Monday 10:00 the first business day is Tuesday, from Monday 8:00 (or Sunday) it is Monday.
    Raises NeverOpen where there are not that many.
    """
    if count < 1:
        raise ValueError("business days are counted from one")
    return moment_of(timeline_of(calendar).business_day_after(instant_of(start), count))


def business_days(start: datetime, count: int, calendar: Calendar) -> timedelta:
    """The open time from `start` until `close_of_business_day`: an allowance in business days.

    So each business day is worth the open time of that very date, however long it is, and what is
    left of the date on which it started comes on top.
    """
    return elapsed(start, close_of_business_day(start, count, calendar), calendar)
