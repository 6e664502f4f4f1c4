"""Who of a team is on call at an instant: layers of people who take turns, and exceptions.

Turns change at a local time of the rota's zone, so they are an hour shorter or longer where clocks
change. A handover in the hour that clocks skip comes as long after midnight as on any other day; in
the hour that they repeat, at its first coming.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from domain.calendars import Calendar, Weekday, Window, is_open, preview
from domain.calendars.calendar import Zone

MOST_LAYERS, MOST_PEOPLE, LONGEST_TURN = 10, 100, 366


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Layer(_Frozen):
    """People who take turns, in their order, from the first date on.

    With `weekly` it holds only in these local windows; one past midnight belongs to the day it
    begins on.
    """

    name: str = Field(default="", max_length=100)
    user_ids: tuple[UUID, ...] = Field(min_length=1, max_length=MOST_PEOPLE)
    first: date = Field(
        ge=date(2000, 1, 1), le=date(2200, 1, 1), description="When the first person's turn begins."
    )
    handover: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "09:00"
    turn_days: int = Field(
        default=7, ge=1, le=LONGEST_TURN, description="How long a turn is: 1 a day, 7 a week."
    )
    weekly: dict[Weekday, tuple[Window, ...]] = Field(
        default_factory=dict, description="When it holds; always, where nothing is said."
    )


class Rota(_Frozen):
    """The layers of a team, the most important first: the first that somebody has decides."""

    zone: Zone = "UTC"
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=MOST_LAYERS)


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody who is on call from `since` until `until`, whoever's turn it is."""

    user_id: UUID
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Duty:
    """Somebody's being on call: because of which layer, or None for an override."""

    user_id: UUID
    layer: int | None


class Stretch(NamedTuple):
    """A time in which the same holds; without a duty nobody is on call."""

    since: datetime
    until: datetime
    duty: Duty | None


Fit = Callable[[UUID, datetime], bool]


def on_call_at(
    rota: Rota, instant: datetime, overrides: Sequence[Override] = (), *, fit: Fit | None = None
) -> Duty | None:
    """Who is on call then; None where nobody is.

    Of several overrides the last one counts. Who is not `fit` (has left, is away) is passed over:
    the next layer decides, nobody takes another's turn in the same one.
    """
    for one in reversed(overrides):
        if one.since <= instant < one.until and (fit is None or fit(one.user_id, instant)):
            return Duty(one.user_id, None)
    zone = ZoneInfo(rota.zone)
    for place, layer in enumerate(rota.layers):
        if layer.weekly and not is_open(instant, _windows(rota, layer)):
            continue
        turn = _turn(layer, instant, zone)
        if turn is None:
            continue
        user_id = layer.user_ids[turn % len(layer.user_ids)]
        if fit is None or fit(user_id, instant):
            return Duty(user_id, place)
    return None


def schedule(
    rota: Rota,
    since: datetime,
    until: datetime,
    overrides: Sequence[Override] = (),
    *,
    fit: Fit | None = None,
    moments: Iterable[datetime] = (),
) -> list[Stretch]:
    """Who is on call when, from `since` until `until`, without a gap.

    `moments` are when somebody becomes fit or stops being it, as far as that is known.
    """
    edges = {since, *(at for at in moments if since < at < until)}
    for one in overrides:
        edges |= {at for at in (one.since, one.until) if since < at < until}
    zone = ZoneInfo(rota.zone)
    for layer in rota.layers:
        number = _turn(layer, since, zone)
        number = 0 if number is None else number + 1
        while (at := handover(layer, number, zone)) < until:
            edges |= {at} if at > since else set()
            number += 1
        if layer.weekly:
            first = since.astimezone(zone).date() - timedelta(days=2)
            days = (until.astimezone(zone).date() - first).days + 1
            for day in preview(_windows(rota, layer), first, days=days):
                for window in day.windows:
                    edges |= {at for at in window if since < at < until}
    found: list[Stretch] = []
    line = sorted(edges)
    for at, after in zip(line, [*line[1:], until], strict=True):
        duty = on_call_at(rota, at, overrides, fit=fit)
        if found and found[-1].duty == duty:
            found[-1] = found[-1]._replace(until=after)
        else:
            found.append(Stretch(at, after, duty))
    return found


def handover(layer: Layer, number: int, zone: ZoneInfo) -> datetime:
    """When a layer's turn of that number begins, counted from 0."""
    day = layer.first + timedelta(days=number * layer.turn_days)
    at = time.fromisoformat(layer.handover)
    return datetime.combine(day, at, zone).astimezone(UTC)


def _turn(layer: Layer, instant: datetime, zone: ZoneInfo) -> int | None:
    """The number of the turn that an instant falls into; None before the first."""
    number = (instant.astimezone(zone).date() - layer.first).days // layer.turn_days
    if instant < handover(layer, number, zone):
        number -= 1
    return number if number >= 0 else None


def _windows(rota: Rota, layer: Layer) -> Calendar:
    return Calendar(timezone=rota.zone, weekly=layer.weekly)
