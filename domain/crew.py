"""Who was there to answer tickets, as the past shows it, and who would be under another staffing.

Past rosters are not on record. Somebody counts as there in the hours of their calendar on dates on
which they did anything, and in whatever other hours they did something; without a calendar, from
the first to the last thing they did, where no more than three hours lay between two of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.calendars import Calendar, preview
from domain.floor import Member, Shift
from domain.staffing import SkillName
from domain.workload import HOUR, NOBODY

APART = 3  # hours without anything done that end a shift
MOST_CHANGES = 50


class TeamChange(BaseModel):
    """Another staffing of a team; what is left out stays as it was. Without a team: of no team.

    With `agents` there are more, each like one who is there, or fewer, beginning with whoever
    answers most. `without` names people who would not be there. `calendar` or `calendar_id` are
    working hours, `capacity` is how many tickets at once, `skills` come on top, for `everybody` of
    the team or only for those `added`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    team_id: UUID | None = None
    agents: int = Field(default=0, ge=-100, le=100)
    without: tuple[UUID, ...] = Field(default=(), max_length=100)
    calendar_id: UUID | None = None
    calendar: Calendar | None = None
    capacity: int | None = Field(default=None, ge=1, le=1000)
    skills: tuple[SkillName, ...] = Field(default=(), max_length=20)
    whom: Literal["everybody", "added"] = "everybody"

    @model_validator(mode="after")
    def _has_one_calendar(self) -> "TeamChange":
        if self.calendar_id is not None and self.calendar is not None:
            raise ValueError("name a calendar, or say the hours")
        return self

    @property
    def team(self) -> str:
        return NOBODY if self.team_id is None else str(self.team_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who answers tickets, and in which hours since 1970 they did anything."""

    id: str
    teams: tuple[str, ...]
    capacity: int | None
    skills: frozenset[str]
    calendar: Calendar | None
    hours: Sequence[int]  # ascending
    answers: int


def today(people: Iterable[Person]) -> list[Member]:
    """Everybody as they were."""
    return [
        Member(p.id, p.teams, _shifts(p.hours, p.calendar, beside=True), p.capacity, p.skills)
        for p in sorted(people, key=lambda p: p.id)
    ]


def under(
    people: Sequence[Person],
    changes: Sequence[TeamChange],
    *,
    since: float,
    until: float,
) -> list[Member]:
    """Everybody as they would be. Changes are made one after the other."""
    answers = {person.id: person.answers for person in people}
    hours: Mapping[str, Sequence[int]] = {person.id: person.hours for person in people}
    crew = today(people)
    for change in changes:
        crew = _changed(crew, change, answers, hours, since, until)
    return [member for member in crew if member.teams]


def _changed(
    crew: Sequence[Member],
    change: TeamChange,
    answers: Mapping[str, int],
    hours: Mapping[str, Sequence[int]],
    since: float,
    until: float,
) -> list[Member]:
    team, gone = change.team, {str(one) for one in change.without}
    mine = [m for m in crew if team in m.teams and m.name not in gone]
    busiest = sorted(mine, key=lambda m: (-answers.get(m.name, 0), m.name))
    leaving = {m.name for m in busiest[: max(0, -change.agents)]}
    left = [
        replace(m, teams=tuple(t for t in m.teams if t != team))
        if team in m.teams and m.name in gone | leaving
        else m
        for m in crew
    ]
    named = {m.name for m in mine} - leaving
    added = [_another(busiest, change, team, n, since, until) for n in range(max(0, change.agents))]
    made: list[Member] = []
    for member in (*left, *added):
        is_new = member.name not in answers
        if (is_new and member in added) or (change.whom == "everybody" and member.name in named):
            member = _equipped(member, change, () if is_new else hours[member.name])
        made.append(member)
    return made


def _another(
    like: Sequence[Member], change: TeamChange, team: str, number: int, since: float, until: float
) -> Member:
    """One more: like the busiest, then like the next; in other hours where these are told."""
    name = f"added {team} {number}"
    model = like[number % len(like)] if like else None
    if change.calendar is not None:
        first = datetime.fromtimestamp(since, UTC).date()
        days = (datetime.fromtimestamp(until, UTC).date() - first).days + 2
        shifts = _windows(change.calendar, first - timedelta(days=1), days + 1)
    else:
        shifts = model.shifts if model else ()
    return Member(
        name,
        (team,),
        shifts,
        model.capacity if model else None,
        model.skills if model else frozenset(),
    )


def _equipped(member: Member, change: TeamChange, hours: Sequence[int]) -> Member:
    return replace(
        member,
        shifts=member.shifts
        if change.calendar is None or not hours
        else _shifts(hours, change.calendar, beside=False),
        capacity=change.capacity or member.capacity,
        skills=member.skills | set(change.skills),
    )


def _shifts(hours: Sequence[int], calendar: Calendar | None, *, beside: bool) -> tuple[Shift, ...]:
    """When somebody was there who did something in these hours."""
    if not hours:
        return ()
    if calendar is None:
        return _merged(((h * HOUR, (h + 1) * HOUR) for h in hours), apart=APART * HOUR)
    zone = ZoneInfo(calendar.timezone)
    dates = {datetime.fromtimestamp(h * HOUR, zone).date() for h in hours}
    first = min(dates)
    windows = [
        window
        for day in preview(calendar, first, days=(max(dates) - first).days + 1)
        if day.day in dates
        for window in ((a.timestamp(), b.timestamp()) for a, b in day.windows)
    ]
    if beside:
        windows += [(float(h * HOUR), float((h + 1) * HOUR)) for h in hours]
    return _merged(sorted(windows), apart=0)


def _windows(calendar: Calendar, first: date, days: int) -> tuple[Shift, ...]:
    return tuple(
        (a.timestamp(), b.timestamp())
        for day in preview(calendar, first, days=days)
        for a, b in day.windows
    )


def _merged(spans: Iterable[Shift], *, apart: float) -> tuple[Shift, ...]:
    found: list[Shift] = []
    for start, end in spans:
        if found and start - found[-1][1] <= apart:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((float(start), float(end)))
    return tuple(found)
