"""Business time: opening hours in a time zone, and exact arithmetic over them.

One sentence decides every corner case: *an instant is open when its local wall time lies in a
window*. So the hour that a spring change skips is never open, the hour that an autumn change
repeats is open twice, and a day that a zone left out (Apia, 30 December 2011) has no time at all.
Windows that overlap, on one day or with the next day's, count once. A window that runs past
midnight belongs to the day it starts on: a holiday takes that day's windows away, including the
part after midnight, and leaves alone what reaches into it from the evening before.

Inside, time is whole microseconds since 1970 UTC; `datetime` appears only at the edges.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from typing import Annotated, Protocol, Self
from zoneinfo import ZoneInfo, available_timezones

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


_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def _checked_zone(name: str) -> str:
    # The set of names is asked, not the file system: "right/…" would count leap seconds, and a
    # case-blind disk would accept names that the next machine refuses.
    if name not in _zones():
        raise ValueError(f"{name!r} is not an IANA time zone such as 'Europe/Berlin'")
    return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - {"Factory", "localtime"})


def _checked_window(window: tuple[str, str]) -> tuple[str, str]:
    start, end = window
    if not _TIME.fullmatch(start):
        raise ValueError(f"{start!r} is not a start: write HH:MM, from 00:00 to 23:59")
    if end != "24:00" and not _TIME.fullmatch(end):
        raise ValueError(f"{end!r} is not an end: write HH:MM, from 00:00 to 24:00")
    return window


Window = Annotated[tuple[str, str], AfterValidator(_checked_window)]


class Calendar(BaseModel):
    """Weekly opening hours in one time zone, with dated exceptions; equal by value, hashable.

    A window is a pair of local times, `("09:00", "17:00")`. `"24:00"` may end one; an end that is
    not after its start lies on the next day, so `("22:00", "06:00")` is a night shift and
    `("00:00", "00:00")` a whole day. A holiday empties a date; an override replaces what the date
    would have had, and wins over a holiday on the same date.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: Annotated[str, AfterValidator(_checked_zone)]
    weekly: dict[Weekday, tuple[Window, ...]] = Field(default_factory=dict)
    holidays: frozenset[date] = frozenset()
    overrides: dict[date, tuple[Window, ...]] = Field(default_factory=dict)

    _hash: int | None = PrivateAttr(default=None)
    _timeline: "_Timeline | None" = PrivateAttr(default=None)

    @field_serializer("holidays", when_used="json")
    def _in_order(self, holidays: frozenset[date]) -> list[date]:
        return sorted(holidays)  # a set's order differs between processes; stored JSON must not

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
        )

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(
                (
                    self.timezone,
                    frozenset(self.weekly.items()),
                    self.holidays,
                    frozenset(self.overrides.items()),
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
    left = _span(allowance)
    if left < 0:
        raise ValueError("an allowance is not negative")
    timeline = _timeline(calendar)
    now = _instant(start)
    if not left:
        return _moment(now)
    for paused, resumed in _union(pauses):
        if paused > now:
            usable = timeline.open_between(now, paused)
            if left <= usable:
                break
            left -= usable
        if resumed is None:
            raise StillPaused(_moment(paused))
        now = max(now, resumed)
    return _moment(timeline.after(now, left))


def elapsed(
    start: datetime, end: datetime, calendar: Calendar, pauses: Iterable[Span] = ()
) -> timedelta:
    """The open, unpaused time between two instants; zero when `end` is not after `start`.

    A pause without an end lasts until `end`.
    """
    timeline = _timeline(calendar)
    since, until = _instant(start), _instant(end)
    if until <= since:
        return timedelta()
    total = timeline.open_between(since, until)
    for paused, resumed in _union(pauses):
        begin = max(paused, since)
        finish = until if resumed is None else min(resumed, until)
        if begin < finish:
            total -= timeline.open_between(begin, finish)
    return timedelta(microseconds=total)


def is_open(at: datetime, calendar: Calendar) -> bool:
    """True within a window; a window's start belongs to it, its end does not."""
    instant = _instant(at)
    return _timeline(calendar).next_open(instant, until=instant + 1) == instant


def next_opening(at: datetime, calendar: Calendar) -> datetime:
    """The first open instant that is not before `at`: `at` itself (in UTC) while open.

    Raises NeverOpen when nothing opens any more.
    """
    found = _timeline(calendar).next_open(_instant(at), until=None)
    if found is None:
        raise NeverOpen
    return _moment(found)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
_SECOND = 1_000_000
_DAY_SECONDS = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()

# Opening hours are worked out in blocks of four weeks: long enough that a deadline rarely needs a
# second one, short enough that the first use of a calendar costs a fraction of a millisecond.
_BLOCK_SECONDS = 28 * _DAY_SECONDS
_BLOCK = _BLOCK_SECONDS * _SECOND
_LAST_BLOCK = int(datetime(9999, 10, 1, tzinfo=UTC).timestamp()) // _BLOCK_SECONDS
_MOST_BLOCKS = 1_024  # about 78 years per calendar; beyond that memory matters more

# Two changes of a zone's offset are never closer than this (the closest pair in the tz database:
# 3 days 23 hours 40 minutes, Africa/Freetown in September 1939).
_OFFSET_STEP = 2 * _DAY_SECONDS

_Windows = tuple[tuple[int, int], ...]  # seconds since the local midnight, end after start


def _instant(at: datetime) -> int:
    if at.tzinfo is None:
        raise ValueError("business time needs an aware datetime")
    return (at - _EPOCH) // _MICRO


def _moment(instant: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant)


def _span(length: timedelta) -> int:
    return length // _MICRO


def _union(pauses: Iterable[Span]) -> list[tuple[int, int | None]]:
    """The pauses in order, with those that touch or overlap made one; only the last may be open."""
    spans = [
        (_instant(pause.start), None if pause.end is None else _instant(pause.end))
        for pause in pauses
    ]
    if len(spans) < 2:
        return spans
    merged: list[tuple[int, int | None]] = []
    for start, end in sorted(spans, key=lambda span: span[0]):
        if not merged:
            merged.append((start, end))
            continue
        begin, last = merged[-1]
        if last is None:
            break
        if start > last:
            merged.append((start, end))
        elif end is None or end > last:
            merged[-1] = (begin, end)
    return merged


def _timeline(calendar: Calendar) -> "_Timeline":
    timeline = calendar._timeline
    if timeline is None:
        timeline = calendar._timeline = _shared_timeline(calendar)
    return timeline


@lru_cache(maxsize=512)
def _shared_timeline(calendar: Calendar) -> "_Timeline":
    """One per calendar value: a calendar read anew from its row finds its hours worked out."""
    return _Timeline(calendar)


class _Block:
    """The open intervals within four weeks, apart and in order, and how much they add up to."""

    __slots__ = ("ends", "starts", "sums", "total")

    def __init__(self, intervals: Sequence[tuple[int, int]]) -> None:
        self.starts = [start for start, _ in intervals]
        self.ends = [end for _, end in intervals]
        self.sums: list[int] = []  # open time from the block's beginning to each interval's end
        total = 0
        for start, end in intervals:
            total += end - start
            self.sums.append(total)
        self.total = total

    def open_before(self, instant: int) -> int:
        index = bisect_right(self.starts, instant)
        if not index:
            return 0
        return self.sums[index - 1] - max(0, self.ends[index - 1] - instant)

    def reached(self, amount: int) -> int:
        """The earliest instant with `amount` of open time before it; 0 < amount <= total."""
        index = bisect_left(self.sums, amount)
        return self.ends[index] - (self.sums[index] - amount)

    def next_open(self, instant: int) -> int | None:
        index = bisect_right(self.ends, instant)
        return None if index == len(self.ends) else max(instant, self.starts[index])


class _Timeline:
    """A calendar's opening hours on the line of instants, worked out block by block when needed."""

    __slots__ = ("_blocks", "_dated", "_most", "_opened_days", "_weekly", "_zone")

    def __init__(self, calendar: Calendar) -> None:
        self._zone = ZoneInfo(calendar.timezone)
        self._weekly = tuple(_seconds(calendar.weekly.get(day, ())) for day in Weekday)
        dated: dict[int, _Windows] = {day.toordinal() - _EPOCH_DAY: () for day in calendar.holidays}
        for day, windows in calendar.overrides.items():
            dated[day.toordinal() - _EPOCH_DAY] = _seconds(windows)
        self._dated = dated
        # Without weekly hours only these days can open: the walks below jump from one to the next
        # and end after the last. None: there are weekly hours, so something always comes.
        self._opened_days = (
            None if any(self._weekly) else sorted(day for day, windows in dated.items() if windows)
        )
        # No four weeks hold more than this (a fold at most doubles a window).
        self._most = 2 * _SECOND * (5 * _open_seconds(self._weekly) + _open_seconds(dated.values()))
        self._blocks: dict[int, _Block] = {}

    def after(self, instant: int, amount: int) -> int:
        """The earliest instant with `amount` (above zero) of open time since `instant`."""
        number: int | None = instant // _BLOCK
        used_before = True
        while number is not None:
            block = self._block(number)
            wanted = amount
            if used_before:
                used = block.open_before(instant)
                wanted += used
                used_before = False
            if wanted <= block.total:
                return block.reached(wanted)
            amount = wanted - block.total
            if amount > (_LAST_BLOCK - number) * self._most:
                break  # hopeless, so do not walk to the end of the datetime range to find out
            number = self._following(number)
        raise NeverOpen

    def open_between(self, start: int, end: int) -> int:
        first, last = start // _BLOCK, end // _BLOCK
        if first == last:
            block = self._block(first)
            return block.open_before(end) - block.open_before(start)
        block = self._block(first)
        total = block.total - block.open_before(start)
        number = self._following(first)
        while number is not None and number < last:
            total += self._block(number).total
            number = self._following(number)
        return total + self._block(last).open_before(end)

    def next_open(self, instant: int, *, until: int | None) -> int | None:
        number: int | None = instant // _BLOCK
        while number is not None and (until is None or number * _BLOCK < until):
            found = self._block(number).next_open(instant)
            if found is not None:
                return found
            number = self._following(number)
        return None

    def _following(self, number: int) -> int | None:
        """The next block that may hold open time, or None when none does."""
        following = number + 1
        if self._opened_days is not None:
            # A day's windows lie between 15 hours before its midnight in UTC and two days and 12
            # hours after it; two days and three on either side are safely more.
            earliest = following * _BLOCK_SECONDS // _DAY_SECONDS - 3
            index = bisect_left(self._opened_days, earliest)
            if index == len(self._opened_days):
                return None
            day = self._opened_days[index]
            following = max(following, (day - 2) * _DAY_SECONDS // _BLOCK_SECONDS)
        return None if following > _LAST_BLOCK else following

    def _block(self, number: int) -> _Block:
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            begin = number * _BLOCK_SECONDS
            block = _Block(self._intervals(begin, begin + _BLOCK_SECONDS))
            self._blocks[number] = block
        return block

    def _intervals(self, begin: int, end: int) -> list[tuple[int, int]]:
        """The open intervals between two instants in seconds, as microseconds.

        Where the offset is constant, local time is instants shifted by it. So each such stretch is
        shifted to local time, cut against the windows there, and shifted back: what a gap skips
        falls out, what a fold repeats comes twice.
        """
        found: list[tuple[int, int]] = []
        for since, until, offset in self._stretches(begin, end):
            first_day = (since + offset) // _DAY_SECONDS - 1  # its windows may reach past midnight
            last_day = (until + offset - 1) // _DAY_SECONDS
            for start, finish in self._local_windows(first_day, last_day):
                opens, closes = max(start - offset, since), min(finish - offset, until)
                if opens >= closes:
                    continue
                if found and found[-1][1] == opens:
                    found[-1] = (found[-1][0], closes)
                else:
                    found.append((opens, closes))
        return [(opens * _SECOND, closes * _SECOND) for opens, closes in found]

    def _local_windows(self, first_day: int, last_day: int) -> list[tuple[int, int]]:
        """The union of the windows that start on these days, in local seconds since 1970."""
        merged: list[tuple[int, int]] = []
        for day in range(first_day, last_day + 1):
            midnight = day * _DAY_SECONDS
            windows = self._dated.get(day)
            if windows is None:
                windows = self._weekly[(day + 3) % 7]  # 1 January 1970 was a Thursday
            for start, end in windows:
                opens, closes = midnight + start, midnight + end
                if merged and opens <= merged[-1][1]:
                    merged[-1] = (merged[-1][0], max(merged[-1][1], closes))
                else:
                    merged.append((opens, closes))
        return merged

    def _stretches(self, begin: int, end: int) -> Iterable[tuple[int, int, int]]:
        """The pieces (since, until, offset) of constant offset between two instants."""
        since, offset = begin, self._offset(begin)
        probe = begin
        while probe < end:
            ahead = min(probe + _OFFSET_STEP, end)
            changed = self._offset(ahead)
            if changed != offset:
                before, after = probe, ahead  # the change lies in (before, after]
                while after - before > 1:
                    middle = (before + after) // 2
                    if self._offset(middle) == offset:
                        before = middle
                    else:
                        after = middle
                yield since, after, offset
                since, offset = after, changed
            probe = ahead
        if since < end:
            yield since, end, offset

    def _offset(self, instant: int) -> int:
        local = (_EPOCH + timedelta(seconds=instant)).astimezone(self._zone)
        offset = local.utcoffset() or timedelta()
        return offset.days * _DAY_SECONDS + offset.seconds


def _seconds(windows: Sequence[tuple[str, str]]) -> _Windows:
    spans = []
    for start, end in windows:
        opens, closes = _since_midnight(start), _since_midnight(end)
        spans.append((opens, closes if closes > opens else closes + _DAY_SECONDS))
    return tuple(sorted(spans))


def _open_seconds(days: Iterable[_Windows]) -> int:
    return sum(end - start for windows in days for start, end in windows)


def _since_midnight(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 3_600 + int(minutes) * 60
