"""What would have become of promises under drafts: tickets' timelines lived through once more.

Nothing is decided and nothing happens: the clocks are folded over what the timelines tell, with the
drafts where the policies and calendars were that they replace. What people and steps did stays as
it was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.calendars import Calendar
from domain.sla import Clock, Outcome, Policy, Subject, Terms
from domain.tickets.replay import Recorded, Version, replay

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


@dataclass(frozen=True, slots=True)
class Order:
    """How a ticket chooses where policies are new, elsewhere in the order, or for other tickets.

    `was` and `ranks` are the places of every policy before and under the drafts, also of those not
    in force; `present` are those in force under them, in order. `changed` are those that are new,
    moved, for other tickets, or no longer in force. What is not concerned stays as it was
    recorded, down to the version: chosen anew is only where a changed policy has a say.
    """

    present: tuple[Policy, ...]
    changed: frozenset[UUID]
    was: Mapping[UUID, int]
    ranks: Mapping[UUID, int]

    def choose(self, recorded: Version | None, subject: Subject) -> Version | None:
        """The version of a policy that would time a ticket which was timed by `recorded`."""
        policy_id = recorded[0] if recorded else None
        known = policy_id is not None and policy_id not in self.changed
        rank = self.ranks.get(policy_id, len(self.ranks)) if policy_id is not None else -1
        for policy in self.present:
            if known and self.ranks[policy.id] > rank:
                break  # what was recorded comes first
            if policy.id in self.changed:
                may = True
            else:  # it was asked then and did not apply, unless it stood behind
                may = (
                    not known
                    and policy_id is not None
                    and self.was[policy.id] > self.was.get(policy_id, -1)
                )
            if may and policy.applies_to(subject):
                return policy.id, policy.version
        return recorded if known else None


def ordered(
    stored: Sequence[tuple[Policy, bool]],
    drafts: Sequence[tuple[Policy, int | None]],
    *,
    changed: frozenset[UUID],
    retired: frozenset[UUID] = frozenset(),
) -> Order:
    """The order with drafts in it: at their places where they name one, counted from 1.

    `stored` is every policy in its order and whether it is in force. A draft without a place stays
    where its policy is; a new one goes behind all others. `retired` are in force no longer.
    """
    was = {policy.id: place for place, (policy, _) in enumerate(stored)}
    new = {policy.id: policy for policy, _ in drafts}
    places = {policy.id: place for policy, place in drafts if place is not None}
    line = [
        (new.get(policy.id, policy), active or policy.id in new)
        for policy, active in stored
        if policy.id not in places
    ]
    line = [(policy, active and policy.id not in retired) for policy, active in line]
    for policy, place in sorted(drafts, key=lambda draft: draft[1] or 0):
        if place is None:
            if policy.id not in was:
                line.append((policy, True))
            continue
        in_force = [index for index, (_, active) in enumerate(line) if active]
        at = in_force[place - 1] if place <= len(in_force) else len(line)
        line.insert(at, (policy, policy.id not in retired))
    return Order(
        present=tuple(policy for policy, active in line if active),
        changed=changed,
        was=was,
        ranks={policy.id: place for place, (policy, _) in enumerate(line)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is tried: terms by policy and version, the drafts in their places.

    With `order`, tickets choose among the policies anew where a draft has a say. Otherwise each
    ticket keeps the policies that it had.
    """

    terms: Mapping[Version, Terms]
    since: datetime
    until: datetime
    zone: str = "UTC"
    order: Order | None = None


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
    terms: Mapping[Version, Terms], calendar_id: UUID, calendar: Calendar
) -> dict[Version, Terms]:
    """The terms with a draft in the place of every version of one calendar."""
    return {
        key: replace(each, calendar=calendar, calendars={})
        if each.policy.calendar_id == calendar_id
        else each
        for key, each in terms.items()
    }


def with_policy(terms: Mapping[Version, Terms], draft: Terms) -> dict[Version, Terms]:
    """The terms with a draft in the place of every version of one policy, or a new one more."""
    return {key: draft if key[0] == draft.policy.id else each for key, each in terms.items()} | {
        (draft.policy.id, draft.policy.version): draft
    }


def simulate(plan: Plan, tickets: Iterable[Lived]) -> tuple[Tally, list[Flip]]:
    """The sums over these tickets, and every cycle whose verdict flips."""
    tally, flips = Tally(), list[Flip]()
    zone = ZoneInfo(plan.zone)
    terms = {version: _bare(each) for version, each in plan.terms.items()}
    choose = None if plan.order is None else plan.order.choose
    for ticket in tickets:
        again = replay(
            ticket.timeline,
            lambda policy, version: terms[policy, version],
            now=ticket.updated_at,
            choose=choose,
        ).clocks
        found = _compare(ticket, again, plan, tally, zone)
        tally.tickets += 1
        tally.flipped += bool(found)
        flips += found
    return tally, flips


def _bare(terms: Terms) -> Terms:
    """Without what moves no deadline and no verdict: steps, and sums of what cycles used.

    To look for steps to come costs a third of a life, and the sums a tenth.
    """
    return replace(terms, policy=terms.policy.model_copy(update={"steps": ()}), sums=False)


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
