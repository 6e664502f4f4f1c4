"""Opening hours by looking at the clock on the wall, minute after minute.

Slow and short on purpose, and nothing of it is shared with the arithmetic it is to check: a day is
walked through from its first minute to its last, each minute is asked what the local clock shows.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.calendars import Calendar, Interval, Weekday

Span = tuple[datetime, datetime]
DAY = timedelta(days=1)


class Hours:
    """A calendar's open time. Days are kept once they have been walked through."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._zone = ZoneInfo(calendar.timezone)
        self._closed = set(calendar.closed)
        self._days: dict[date, list[Span]] = {}
        self._shown: dict[date, list[Span]] = {}
        written = [
            time
            for windows in (*calendar.weekly.values(), *calendar.overrides.values())
            for window in windows
            for time in window
        ]
        in_seconds = any(len(time) > 5 for time in written)
        self._tick = timedelta(seconds=1) if in_seconds else timedelta(minutes=1)
        self._every_week = any(calendar.weekly.values())
        # Without weekly hours nothing opens after the last date with hours of its own.
        self._last = max(calendar.overrides, default=date.min)

    def used(self, start: datetime, end: datetime, pauses: Sequence[Interval]) -> timedelta:
        """The open time between two instants that lies in no pause."""
        total = timedelta()
        for begin, finish in self._open(start, until=end):
            for piece in _without(begin, finish, pauses):
                total += piece[1] - piece[0]
        return total

    def due(
        self, start: datetime, amount: timedelta, pauses: Sequence[Interval]
    ) -> datetime | None:
        """When that much open time outside of pauses is used up; None when it never is."""
        if amount <= timedelta():
            return start
        lasting = [pause.start for pause in pauses if pause.end is None]
        for begin, finish in self._open(start, until=min(lasting, default=None)):
            for piece_begin, piece_finish in _without(begin, finish, pauses):
                if amount <= piece_finish - piece_begin:
                    return piece_begin + amount
                amount -= piece_finish - piece_begin
        return None

    def business_days(self, start: datetime, count: int) -> timedelta | None:
        """The open time until the close of the n-th date that begins to be open from `start` on."""
        day = start.astimezone(self._zone).date() - DAY
        while self._every_week or day <= self._last:
            spans = self.opened_on(day)
            if spans and spans[0][0] >= start:
                count -= 1
                if not count:
                    return self.used(start, spans[-1][1], ())
            day += DAY
        return None

    def opened_on(self, day: date) -> list[Span]:
        """When the windows that begin on a local date are open, whatever the dates around it."""
        found: list[Span] = []
        if not self._windows(day):
            return found
        for utc in (day - DAY, day, day + DAY, day + 2 * DAY, day + 3 * DAY):
            found = _joined(found, self._walk(utc, lambda shown: self._covers(day, shown)))
        return found

    def _open(self, start: datetime, *, until: datetime | None) -> Iterator[Span]:
        """The open spans from `start` on, in order, cut off at `until`."""
        day = start.astimezone(UTC).date()
        while until is None or day <= until.astimezone(UTC).date():
            if not self._every_week and day > self._last + 3 * DAY:
                return
            if day not in self._days:
                self._days[day] = self._walk(day, self._is_open)
            for begin, finish in self._days[day]:
                begin = max(begin, start)
                finish = finish if until is None else min(finish, until)
                if begin < finish:
                    yield begin, finish
            day += DAY

    def _walk(self, day: date, is_open: Callable[[datetime], bool]) -> list[Span]:
        """The open spans of one day in UTC, found tick by tick."""
        spans: list[Span] = []
        if not any(self._windows(day + n * DAY) for n in (-3, -2, -1, 0, 1)):
            return spans  # no window is near
        at = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = at + DAY
        while at < end:
            after = at + self._tick
            if is_open(at.astimezone(self._zone).replace(tzinfo=None)):
                if spans and spans[-1][1] == at:
                    spans[-1] = (spans[-1][0], after)
                else:
                    spans.append((at, after))
            at = after
        return spans

    def _is_open(self, shown: datetime) -> bool:
        """Whether a window of this date, or one of yesterday past midnight, holds the time."""
        today = shown.date()
        return self._covers(today, shown) or self._covers(today - DAY, shown)

    def _covers(self, day: date, shown: datetime) -> bool:
        return any(opens <= shown < closes for opens, closes in self._windows(day))

    def _windows(self, day: date) -> list[Span]:
        """The windows that begin on a local date, as the clock on the wall shows them."""
        if day not in self._shown:
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - what a wall shows
            self._shown[day] = []
            for start, end in self._written(day):
                opens, closes = midnight + _since_midnight(start), midnight + _since_midnight(end)
                past_midnight = closes <= opens
                self._shown[day].append((opens, closes + DAY if past_midnight else closes))
        return self._shown[day]

    def _written(self, day: date) -> Sequence[tuple[str, str]]:
        if day in self._calendar.overrides:
            return self._calendar.overrides[day]
        if day in self._closed:
            return ()
        return self._calendar.weekly.get(list(Weekday)[day.weekday()], ())


def _since_midnight(time: str) -> timedelta:
    hours, minutes, *seconds = (int(part) for part in time.split(":"))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds[0] if seconds else 0)


def _without(begin: datetime, finish: datetime, pauses: Sequence[Interval]) -> list[Span]:
    """What is left of a span after each pause was cut out of it."""
    pieces = [(begin, finish)]
    for pause in pauses:
        kept: list[Span] = []
        for since, until in pieces:
            ends = pause.end or until
            if since < min(pause.start, until):
                kept.append((since, min(pause.start, until)))
            if max(ends, since) < until and pause.end is not None:
                kept.append((max(ends, since), until))
        pieces = kept
    return pieces


def _joined(before: list[Span], more: list[Span]) -> list[Span]:
    if before and more and before[-1][1] == more[0][0]:
        return [*before[:-1], (before[-1][0], more[0][1]), *more[1:]]
    return [*before, *more]
