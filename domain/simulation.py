"""What would have become of promises under a draft: tickets' timelines lived through once more.

Nothing is decided and nothing happens: the clocks are folded over what the timelines tell, with the
draft where the policy or calendar was that it replaces. What people and steps did stays as it was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.calendars import Calendar
from domain.sla import Clock, Outcome, Policy, Terms
from domain.tickets.replay import Recorded, facts_of, replay
from domain.tickets.standing import SILENT

JUDGED = ("met", "missed")
NOBODY = "none"


@dataclass(frozen=True, slots=True)
class Kept:
    """A cycle as its row has it."""

    metric: str
    cycle: int
    outcome: str
    started_at: datetime
    due_at: datetime | None
    stopped_at: datetime | None
    breached_at: datetime | None
    target: timedelta | None
    team_id: UUID | None


@dataclass(frozen=True, slots=True)
class Lived:
    """A ticket with its timeline and what became of its promises."""

    number: int
    updated_at: datetime
    timeline: Sequence[Recorded]
    kept: Sequence[Kept]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is tried: terms by policy and version, the draft in its place.

    With `order`, policies are chosen anew for every entry: the first whose conditions hold.
    Otherwise each ticket keeps the policies that it had.
    """

    terms: Mapping[tuple[UUID, int], Terms]
    since: datetime
    until: datetime
    zone: str = "UTC"
    order: tuple[Policy, ...] | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """A cycle whose verdict is another. None: it has none, or is not there."""

    number: int
    metric: str
    cycle: int
    before: str | None
    after: str | None
    due_before: datetime | None
    due_after: datetime | None
    team_id: UUID | None
    hour: int


Counts = dict[str, list[int]]  # met and missed before, met and missed after


@dataclass(slots=True)
class Tally:
    """Sums over tickets; those of two halves add up to those of the whole."""

    tickets: int = 0
    cycles: int = 0  # that ended in the time asked for, before or after
    different: int = 0  # cycles of which anything at all is another
    flipped: int = 0  # tickets with another verdict
    overdue_before: int = 0  # open at the end of the time, and late
    overdue_after: int = 0
    metrics: Counts = field(default_factory=dict)
    teams: Counts = field(default_factory=dict)
    hours: Counts = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        for name in ("tickets", "cycles", "different", "flipped", "overdue_before",
                     "overdue_after"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("metrics", "teams", "hours"):
            mine: Counts = getattr(self, name)
            theirs: Counts = getattr(other, name)
            for key, counts in theirs.items():
                sums = mine.setdefault(key, [0, 0, 0, 0])
                mine[key] = [a + b for a, b in zip(sums, counts, strict=True)]

    def count(self, place: int, verdict: str | None, keys: Mapping[str, str]) -> None:
        if verdict not in JUDGED:
            return
        column = place + JUDGED.index(verdict)
        for name, key in keys.items():
            counts: Counts = getattr(self, name)
            counts.setdefault(key, [0, 0, 0, 0])[column] += 1


def with_calendar(
    terms: Mapping[tuple[UUID, int], Terms], calendar_id: UUID, calendar: Calendar
) -> dict[tuple[UUID, int], Terms]:
    """The terms with a draft in the place of every version of one calendar."""
    return {
        key: replace(each, calendar=calendar, calendars={})
        if each.policy.calendar_id == calendar_id
        else each
        for key, each in terms.items()
    }


def with_policy(
    terms: Mapping[tuple[UUID, int], Terms], draft: Terms
) -> dict[tuple[UUID, int], Terms]:
    """The terms with a draft in the place of every version of one policy."""
    return {key: draft if key[0] == draft.policy.id else each for key, each in terms.items()} | {
        (draft.policy.id, draft.policy.version): draft
    }


def simulate(plan: Plan, tickets: Iterable[Lived]) -> tuple[Tally, list[Flip]]:
    """The sums over these tickets, and every cycle whose verdict flips."""
    tally, flips = Tally(), list[Flip]()
    zone = ZoneInfo(plan.zone)
    for ticket in tickets:
        timeline = ticket.timeline
        if plan.order is not None:
            timeline = _chosen_anew(timeline, plan.order)
        again = replay(
            timeline, lambda policy, version: plan.terms[policy, version], now=ticket.updated_at
        ).clocks
        found = _compare(ticket, again, plan, tally, zone)
        tally.tickets += 1
        tally.flipped += bool(found)
        flips += found
    return tally, flips


def _compare(
    ticket: Lived, again: Sequence[Clock], plan: Plan, tally: Tally, zone: ZoneInfo
) -> list[Flip]:
    before = {(row.metric, row.cycle): row for row in ticket.kept}
    after = {(clock.metric.value, clock.cycle): clock for clock in again}
    flips: list[Flip] = []
    for key in sorted({*before, *after}):
        row, clock = before.get(key), after.get(key)
        tally.different += _is_different(row, clock)
        was = _verdict(row.outcome, row.stopped_at, plan) if row else None
        now = _verdict(clock.outcome.value, clock.stopped_at, plan) if clock else None
        tally.overdue_before += row is not None and _is_overdue(
            row.outcome, row.due_at, row.breached_at, plan.until
        )
        tally.overdue_after += clock is not None and _is_overdue(
            clock.outcome.value, clock.due_at, clock.breached_at, plan.until
        )
        if was is None and now is None:
            continue
        tally.cycles += 1
        started = row.started_at if row else clock.started_at if clock else plan.since
        local = started.astimezone(zone)
        team = row.team_id if row else clock.team_id if clock else None
        hour = local.weekday() * 24 + local.hour
        keys = {"metrics": key[0], "teams": str(team or NOBODY), "hours": str(hour)}
        tally.count(0, was, keys)
        tally.count(2, now, keys)
        if was != now:
            flips.append(
                Flip(
                    ticket.number, *key, was, now, row.due_at if row else None,
                    clock.due_at if clock else None, team, hour,
                )
            )  # fmt: skip
    return flips


def _verdict(outcome: str, stopped_at: datetime | None, plan: Plan) -> str | None:
    """Met or missed, of a cycle that ended in the time asked for."""
    if outcome not in JUDGED or stopped_at is None:
        return None
    return outcome if plan.since <= stopped_at < plan.until else None


def _is_overdue(
    outcome: str, due_at: datetime | None, breached_at: datetime | None, at: datetime
) -> bool:
    return outcome == Outcome.RUNNING and (
        breached_at is not None or (due_at is not None and due_at < at)
    )


def _is_different(row: Kept | None, clock: Clock | None) -> bool:
    if row is None or clock is None:
        return True
    return (
        row.outcome, row.started_at, row.due_at, row.stopped_at, row.breached_at, row.target
    ) != (
        clock.outcome.value, clock.started_at, clock.due_at, clock.stopped_at, clock.breached_at,
        clock.target,
    )  # fmt: skip


def _chosen_anew(timeline: Sequence[Recorded], order: Sequence[Policy]) -> list[Recorded]:
    """The timeline as it would have been written had these policies been in force all along."""
    facts = iter(facts_of(timeline))
    rewritten: list[Recorded] = []
    for entry in timeline:
        changes = {
            name: pair
            for name, pair in entry.changes.items()
            if name not in ("policy_id", "policy_version")
        }
        if entry.type not in SILENT:
            fact = next(facts)
            policy = next((each for each in order if each.applies_to(fact.subject)), None)
            changes["policy_id"] = [None, None if policy is None else str(policy.id)]
            changes["policy_version"] = [None, None if policy is None else policy.version]
        elif entry.data.get("inherits"):
            next(facts)
        rewritten.append(replace(entry, changes=changes))
    return rewritten
