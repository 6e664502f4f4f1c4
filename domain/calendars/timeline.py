"""A calendar laid out on the line of instants, worked out block by block when it is needed.

Inside, time is whole microseconds since 1970 UTC; `datetime` appears only at the edges.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from domain.calendars.calendar import Calendar, NeverOpen, Span, Weekday

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
_LAST_DAY = _LAST_BLOCK * 28
_FOREVER = 400 * _DAY_SECONDS * _SECOND  # open that long without a break: it never closes
_MOST_DAYS = 2_048
_MOST_BLOCKS = 1_024  # about 78 years per calendar; beyond that memory matters more

# Two changes of a zone's offset are never closer than this (the closest pair in the tz database:
# 3 days 23 hours 40 minutes, Africa/Freetown in September 1939).
_OFFSET_STEP = 2 * _DAY_SECONDS

_Windows = tuple[tuple[int, int], ...]  # seconds since the local midnight, end after start


def instant_of(at: datetime) -> int:
    if at.tzinfo is None:
        raise ValueError("business time needs an aware datetime")
    return (at - _EPOCH) // _MICRO


def moment_of(instant: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant)


def span_of(length: timedelta) -> int:
    return length // _MICRO


def union(pauses: Iterable[Span]) -> list[tuple[int, int | None]]:
    """The pauses in order, with those that touch or overlap made one; only the last may be open."""
    spans = [
        (instant_of(pause.start), None if pause.end is None else instant_of(pause.end))
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


def timeline_of(calendar: Calendar) -> "Timeline":
    timeline = calendar._timeline
    if timeline is None:
        timeline = calendar._timeline = _shared_timeline(calendar)
    return timeline


@lru_cache(maxsize=512)
def _shared_timeline(calendar: Calendar) -> "Timeline":
    """One per calendar value: a calendar read anew from its row finds its hours worked out."""
    return Timeline(calendar)


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

    def lasting(self, instant: int) -> int | None:
        """The end of the interval that holds `instant`, or None between intervals."""
        index = bisect_right(self.starts, instant) - 1
        return self.ends[index] if index >= 0 and instant < self.ends[index] else None


class Timeline:
    """A calendar's opening hours on the line of instants, worked out block by block when needed."""

    __slots__ = ("_blocks", "_dated", "_days", "_most", "_opened_days", "_weekly", "_zone")

    def __init__(self, calendar: Calendar) -> None:
        self._zone = ZoneInfo(calendar.timezone)
        self._weekly = tuple(_seconds(calendar.weekly.get(day, ())) for day in Weekday)
        dated: dict[int, _Windows] = {day.toordinal() - _EPOCH_DAY: () for day in calendar.closed}
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
        self._days: dict[int, tuple[tuple[int, int], ...]] = {}

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

    def closing(self, instant: int) -> int | None:
        """The end of the open time that `instant` lies in; None while closed or for ever open."""
        end: int | None = None
        number = instant // _BLOCK
        while number <= _LAST_BLOCK:
            found = self._block(number).lasting(instant if end is None else end)
            if found is None:
                return end
            end = found
            if end < (number + 1) * _BLOCK:
                return end
            if end - instant > _FOREVER:
                return None
            number += 1
        return end

    def intervals_of(self, day: date) -> tuple[tuple[int, int], ...]:
        """When the windows that begin on a local date are open, in order."""
        return self._of_day(day.toordinal() - _EPOCH_DAY)

    def business_day_after(self, instant: int, count: int) -> int:
        """The close of the `count`-th business day that begins at `instant` or later.

        A business day is a date with open time. Raises NeverOpen where there are not that many.
        """
        left = count
        for day in self._days_from(instant):
            spans = self._of_day(day)
            if spans and spans[0][0] >= instant:
                left -= 1
                if not left:
                    return max(end for _, end in spans)
        raise NeverOpen

    def _days_from(self, instant: int) -> Iterable[int]:
        """The local dates that may begin to be open at `instant` or later."""
        first = instant // (_DAY_SECONDS * _SECOND) - 2
        if self._opened_days is None:
            return range(first, _LAST_DAY)
        return self._opened_days[bisect_left(self._opened_days, first) :]

    def _of_day(self, day: int) -> tuple[tuple[int, int], ...]:
        spans = self._days.get(day)
        if spans is None:
            if len(self._days) >= _MOST_DAYS:
                self._days.clear()
            found: list[tuple[int, int]] = []
            if self._dated.get(day, self._weekly[(day + 3) % 7]):
                begin, end = (day - 1) * _DAY_SECONDS, (day + 4) * _DAY_SECONDS
                windows = self._local_windows(day, day)
                for since, until, offset in self._stretches(begin, end):
                    for start, finish in windows:
                        opens, closes = max(start - offset, since), min(finish - offset, until)
                        if opens >= closes:
                            continue
                        if found and found[-1][1] == opens * _SECOND:
                            found[-1] = (found[-1][0], closes * _SECOND)
                        else:
                            found.append((opens * _SECOND, closes * _SECOND))
            spans = self._days[day] = tuple(found)
        return spans

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
    hours, minutes, *seconds = time.split(":")
    return int(hours) * 3_600 + int(minutes) * 60 + (int(seconds[0]) if seconds else 0)
