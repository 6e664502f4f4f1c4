"""What the promises' arithmetic costs: due times, elapsed time, a ticket's life; no server."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from bench.figures import Figure, ceiling
from domain.calendars import Calendar, Interval, business_days, due_at, elapsed, preview
from domain.sla import (
    Clock,
    Fact,
    Metric,
    Notify,
    Past,
    Policy,
    Step,
    Subject,
    Terms,
    fire,
    observe,
)
from domain.states import Category, Priority

OFFICE = {
    "timezone": "Europe/Berlin",
    "weekly": {
        day: [["09:00", "12:00"], ["13:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")
    },
    "holidays": ["2025-06-09", "2025-12-25", "2025-12-26"],
    "overrides": {"2025-12-24": [["09:00", "12:00"]]},
}
START = datetime(2025, 6, 2, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run() -> list[Figure]:
    """Microseconds each."""
    calendar = Calendar.model_validate(OFFICE)
    pauses = [
        Interval(start=START + n * 30 * HOUR, end=START + (n * 30 + 9) * HOUR) for n in (0, 1, 2)
    ]
    ahead, far = START + timedelta(days=9), START + timedelta(days=900)
    return [
        ceiling("due_at µs", _each(lambda: due_at(START, 16 * HOUR, calendar)), 20),
        ceiling(
            "due_at, three pauses µs", _each(lambda: due_at(START, 16 * HOUR, calendar, pauses)), 40
        ),
        ceiling("elapsed over 9 days µs", _each(lambda: elapsed(START, ahead, calendar)), 20),
        ceiling("elapsed over 900 days µs", _each(lambda: elapsed(START, far, calendar)), 60),
        ceiling("three business days µs", _each(lambda: business_days(START, 3, calendar)), 40),
        ceiling("a calendar's first due_at µs", _each(_first_use, rounds=20, times=20), 1_000),
        ceiling("preview of a year µs", _each(lambda: _preview(calendar), times=20), 20_000),
        ceiling("a ticket's life µs", _each(lambda: life(terms(calendar)), times=50), 2_000, _LIFE),
        _against_minutes(calendar),
    ]


_LIFE = "8 facts, 4 clocks, 3 steps, fired at every fact"


def terms(calendar: Calendar) -> Terms:
    """Four promises and three steps."""
    promised = dict.fromkeys(Priority, 8 * HOUR)
    return Terms(
        Policy(
            id=UUID(int=1),
            version=1,
            name="bench",
            calendar_id=UUID(int=2),
            calendar_version=1,
            targets={
                Metric.FIRST_REPLY: promised,
                Metric.NEXT_REPLY: promised,
                Metric.AGENT_WORK: promised,
                Metric.RESOLUTION: promised,
            },
            steps=tuple(
                Step(
                    id=f"s{share}",
                    metric=Metric.RESOLUTION,
                    percent=share,
                    action=Notify(to=("team",)),
                )
                for share in (50, 80, 120)
            ),
        ),
        calendar,
    )


def life(promise: Terms) -> tuple[Clock, ...]:
    """Opened, answered, pending, answered by the customer, raised, resolved, reopened, resolved."""
    clocks: tuple[Clock, ...] = ()
    was: Subject | None = None
    for hours, category, who in (
        (0, Category.NEW, "customer"),
        (2, Category.OPEN, "agent"),
        (3, Category.PENDING, ""),
        (20, Category.OPEN, "customer"),
        (21, Category.OPEN, ""),
        (26, Category.RESOLVED, "agent"),
        (50, Category.OPEN, "customer"),
        (74, Category.RESOLVED, "agent"),
    ):
        at = START + hours * HOUR
        stands = Subject(category=category, priority=Priority.NORMAL)
        clocks, _ = fire(clocks, promise, now=at, subject=was)
        fact = Fact(
            at=at,
            category=category,
            created_by="customer",
            created_at=START if hours else None,
            replied=hours > 2,
            customer_message=who == "customer",
            agent_reply=who == "agent",
            subject=stands,
            was=was,
        )
        clocks, was = observe(clocks, fact, promise, past=Past((), promise)), stands
    return clocks


def _preview(calendar: Calendar) -> object:
    return preview(calendar, date(2025, 6, 2), days=366)


_VERSION = iter(range(1, 1_000_000))


def _first_use() -> object:
    """Hours to be worked out from nothing: no calendar of this value was used before."""
    extra = (date(2030, 1, 1) + timedelta(days=next(_VERSION))).isoformat()
    return due_at(START, 16 * HOUR, Calendar.model_validate({**OFFICE, "holidays": [extra]}))


def _against_minutes(calendar: Calendar) -> Figure:
    """How much faster than stepping minute by minute, for the same due time."""

    berlin = ZoneInfo(calendar.timezone)

    def stepping() -> datetime:
        at, left = START, 16 * 60
        while left:
            local = at.astimezone(berlin)
            clock = local.hour * 60 + local.minute
            is_open = local.weekday() < 5 and (540 <= clock < 720 or 780 <= clock < 1020)
            left -= is_open
            at += timedelta(minutes=1)
        return at

    assert stepping() == due_at(START, 16 * HOUR, calendar)
    slow = _each(stepping, rounds=3, times=3)
    fast = _each(lambda: due_at(START, 16 * HOUR, calendar))
    return Figure("times as fast as minute by minute", slow / fast)


def _each(act: Callable[[], object], *, rounds: int = 9, times: int = 500) -> float:
    """Microseconds for one, in the quickest of the rounds: the others were disturbed."""
    act()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(times):
            act()
        found.append((time.perf_counter() - began) / times * 1e6)
    return min(found)
