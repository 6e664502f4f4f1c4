"""What became of promises: attainment, the cycles behind it, who paused what, from the rows."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.errors import Invalid
from models.session import Row, Work
from services.cursors import BadCursor, pack, unpack

LONGEST = timedelta(days=1100)  # a report of more is three reports
SHORT_PAUSE = timedelta(minutes=15)

DEFINITIONS: Mapping[str, str] = {
    "cycle": "One run of one promise on one ticket: a first reply, a wait for a reply, work until"
    " it is resolved. A reopened ticket has several.",
    "period": "A cycle counts on the date on which it ended, in the zone that was asked for.",
    "attainment": "met / (met + missed). Cancelled cycles and those to which the promise did not"
    " apply are counted beside it and not in it.",
    "met": "Ended at its deadline or before.",
    "missed": "Ended after its deadline.",
    "open": "Cycles that have not ended, whenever they began. None of them is in the attainment.",
    "overdue": "Open cycles whose deadline has passed, seen by anybody or not.",
    "used": "Open time of the calendar from the start to the end, less the pauses; in minutes.",
    "elapsed": "All time from the start to the end, nights and pauses included; in minutes.",
    "minutes_over": "Time on the wall clock from the breach to the end, summed over the missed.",
    "noticed_late": "Missed cycles whose breach was noticed a minute or more after its true time:"
    " timers were late. Each says why, where it is known; the time of the breach is the true one.",
    "team": "The team, and the agent, that were responsible at the breach; where there was none, at"
    " the end.",
    "priority": "The ticket's priority now.",
    "without": "Missed cycles whose breach a change of this kind caused are left out altogether.",
}
CAUSES = (
    "priority_change", "policy_change", "calendar_change", "due_override", "late_start",
    "reopened", "unmerged", "merge_inherited",
)  # fmt: skip


class By(StrEnum):
    """What a report is broken down by."""

    METRIC = "metric"
    PERIOD = "period"
    POLICY = "policy"
    CALENDAR = "calendar"
    TEAM = "team"
    AGENT = "agent"
    PRIORITY = "priority"
    CHANNEL = "channel"
    CUSTOMER = "customer"
    ORGANIZATION = "organization"
    CAUSE = "cause"


class Every(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


# How a cycle's group is found, and the name that people know it by.
_GROUPS: Mapping[By, tuple[str, str]] = {
    By.METRIC: ("c.metric", "c.metric"),
    By.PERIOD: (
        "to_char(date_trunc(:every, c.stopped_at at time zone :zone), 'YYYY-MM-DD')",
        "to_char(date_trunc(:every, c.stopped_at at time zone :zone), 'YYYY-MM-DD')",
    ),
    By.POLICY: (
        "c.policy_id || '/' || c.policy_version",
        "(select p.name from policies p where p.tenant_id = c.tenant_id and p.id = c.policy_id)"
        " || ', version ' || c.policy_version",
    ),
    By.CALENDAR: (
        "c.calendar_id || '/' || c.calendar_version",
        "(select k.name from calendars k where k.tenant_id = c.tenant_id and k.id = c.calendar_id)"
        " || ', version ' || c.calendar_version",
    ),
    By.TEAM: (
        "c.team_id::text",
        "(select m.name from teams m where m.tenant_id = c.tenant_id and m.id = c.team_id)",
    ),
    By.AGENT: (
        "c.assignee_id::text",
        "(select u.name from users u where u.tenant_id = c.tenant_id and u.id = c.assignee_id)",
    ),
    By.PRIORITY: ("t.priority", "t.priority"),
    By.CHANNEL: ("t.channel", "t.channel"),
    By.CUSTOMER: (
        "t.requester_id::text",
        "(select r.name from customers r where r.tenant_id = t.tenant_id"
        " and r.id = t.requester_id)",
    ),
    By.ORGANIZATION: (
        "t.organization_id::text",
        "(select o.name from organizations o where o.tenant_id = t.tenant_id"
        " and o.id = t.organization_id)",
    ),
    By.CAUSE: ("c.caused_by", "c.caused_by"),
}

# A minute is far more than a desk whose workers run takes.
_NOTICED_LATE = "c.detected_at - c.breached_at >= interval '1 minute'"
_OVERDUE = "(c.breached_at is not null or c.due_at < :now)"
_FROM = "clocks c join tickets t on t.tenant_id = c.tenant_id and t.id = c.ticket_id"
_GROUPS_SHOWN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One line of a report: what its cycles have in common; None where they have none of it."""

    by: By
    key: str | None
    every: Every = Every.DAY
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which cycles: all conditions hold; of several values of one, any does."""

    since: datetime
    until: datetime
    metric: tuple[str, ...] = ()
    priority: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    policy: tuple[uuid.UUID, ...] = ()
    team: tuple[uuid.UUID, ...] = ()
    customer: tuple[uuid.UUID, ...] = ()
    organization: tuple[uuid.UUID, ...] = ()
    without: tuple[str, ...] = ()
    group: Group | None = None

    def check(self) -> None:
        """Raises Invalid where it makes no sense."""
        if self.until <= self.since:
            raise Invalid("A report ends after it begins.", fields={"query/to": "is not later"})
        if self.until - self.since > LONGEST:
            raise Invalid(
                f"A report covers at most {LONGEST.days} days.",
                fields={"query/to": "is too far from the beginning"},
            )

    def tables(self) -> str:
        """Clocks, with their tickets where a condition is about those."""
        of_tickets = self.priority or self.channel or self.customer or self.organization
        return _FROM if of_tickets or self.group else "clocks c"

    def values(self, work: Work) -> dict[str, object]:
        """What the conditions and the time are filled with."""
        times = {"since": self.since, "until": self.until}
        return {**self.where()[1], **times, "tenant": work.tenant_id}

    def where(self) -> tuple[str, dict[str, object]]:
        """The conditions, but for the time."""
        columns = {
            "c.metric": ("metric", self.metric, "text"),
            "t.priority": ("priority", self.priority, "text"),
            "t.channel": ("channel", self.channel, "text"),
            "c.policy_id": ("policy", self.policy, "uuid"),
            "c.team_id": ("team", self.team, "uuid"),
            "t.requester_id": ("customer", self.customer, "uuid"),
            "t.organization_id": ("organization", self.organization, "uuid"),
        }
        said = "c.tenant_id = :tenant"
        values: dict[str, object] = {}
        for column, (name, wanted, kind) in columns.items():
            if wanted:
                said += f" and {column} = any((:{name})::{kind}[])"
                values[name] = list(wanted)
        if self.without:
            said += " and not coalesce(c.caused_by = any((:without)::text[]), false)"
            values["without"] = list(self.without)
        if self.group is not None:
            said += f" and {_GROUPS[self.group.by][0]} is not distinct from (:of_group)::text"
            values["of_group"] = self.group.key
            if self.group.by is By.PERIOD:
                values |= {"every": self.group.every.value, "zone": self.group.zone}
        return said, values


_ENDED = (
    "count(*) filter (where c.outcome = 'met') as met,"
    " count(*) filter (where c.outcome = 'missed') as missed,"
    " count(*) filter (where c.outcome = 'cancelled') as cancelled,"
    " count(*) filter (where c.outcome = 'not_applicable') as not_applicable,"
    " percentile_cont(array[0.5, 0.9, 0.95]) within group"
    "  (order by extract(epoch from c.used)::float8 / 60)"
    "  filter (where c.outcome in ('met', 'missed') and c.used is not null) as used,"
    " percentile_cont(array[0.5, 0.9, 0.95]) within group"
    "  (order by extract(epoch from c.stopped_at - c.started_at)::float8 / 60)"
    "  filter (where c.outcome in ('met', 'missed')) as elapsed,"
    " coalesce(sum(extract(epoch from greatest(c.stopped_at - c.breached_at, interval '0')))"
    "  filter (where c.outcome = 'missed'), 0)::float8 / 60 as minutes_over,"
    f" count(*) filter (where c.outcome = 'missed' and {_NOTICED_LATE}) as noticed_late"
)
_OPEN = (
    "count(*) as open, count(*) filter (where " + _OVERDUE + ") as overdue,"
    " count(*) filter (where (c.due_at is null or c.pause_limit is not null)"
    "  and jsonb_array_length(c.pauses) > 0 and c.pauses -> -1 ->> 'end' is null) as paused"
)


async def attainment(
    work: Work, chosen: Chosen, *, by: By, every: Every, zone: str, now: datetime
) -> list[Row]:
    """A row per group with what ended and what is open, by name; periods in their order."""
    chosen.check()
    where, values = chosen.where()
    key, name = _GROUPS[by]
    values |= {"tenant": work.tenant_id, "since": chosen.since, "until": chosen.until, "now": now}
    if by is By.PERIOD:
        values |= {"every": every.value, "zone": zone}
    ended = await work.rows(
        f"select {key} as key, max({name}) as name, {_ENDED} from {_FROM} where {where}"
        " and c.stopped_at >= :since and c.stopped_at < :until"
        f" group by 1 order by 2 nulls last, 1 limit {_GROUPS_SHOWN}",
        values,
    )
    found = {row["key"]: {**row, "open": 0, "overdue": 0, "paused": 0} for row in ended}
    if by is not By.PERIOD:  # what has not ended belongs to no period
        for row in await work.rows(
            f"select {key} as key, max({name}) as name, {_OPEN} from {_FROM} where {where}"
            f" and c.stopped_at is null group by 1 limit {_GROUPS_SHOWN}",
            values,
        ):
            found.setdefault(row["key"], {**_NOTHING_ENDED}).update(row)
    return [_finished(row) for row in found.values()]


async def total(work: Work, chosen: Chosen, *, now: datetime) -> Row:
    """The same over everything chosen, as one row."""
    chosen.check()
    where, values = chosen.where()
    values |= {"tenant": work.tenant_id, "since": chosen.since, "until": chosen.until, "now": now}
    ended = await work.row(
        f"select {_ENDED} from {_FROM} where {where}"
        " and c.stopped_at >= :since and c.stopped_at < :until",
        values,
    )
    still = await work.row(
        f"select {_OPEN} from {_FROM} where {where} and c.stopped_at is null", values
    )
    assert ended is not None
    assert still is not None
    return _finished({**ended, **still})


_NOTHING_ENDED: Row = {
    "met": 0, "missed": 0, "cancelled": 0, "not_applicable": 0, "used": None, "elapsed": None,
    "minutes_over": 0.0, "noticed_late": 0,
}  # fmt: skip


def _finished(row: Row) -> Row:
    judged = row["met"] + row["missed"]
    return {
        **row,
        "attainment": None if not judged else round(row["met"] / judged, 6),
        "minutes_over": round(row["minutes_over"], 3),
        "used": _percentiles(row["used"]),
        "elapsed": _percentiles(row["elapsed"]),
    }


def _percentiles(values: Sequence[float | None] | None) -> dict[str, float] | None:
    if values is None or values[0] is None:
        return None
    return {
        name: round(value or 0.0, 3)
        for name, value in zip(("p50", "p90", "p95"), values, strict=True)
    }


class Which(StrEnum):
    """Cycles by how they stand."""

    ENDED = "ended"
    OPEN = "open"
    OVERDUE = "overdue"
    BREACHED = "breached"  # within the time asked for, whether they have ended or not


_COLUMN = {Which.ENDED: "stopped_at", Which.BREACHED: "breached_at"}


_SHOWN = (
    "t.number, t.subject, c.metric, c.cycle, c.outcome, c.cancelled_because, c.policy_id,"
    " c.policy_version, c.calendar_id, c.calendar_version, c.target, c.target_days, c.started_at,"
    " c.due_at, c.stopped_at, c.breached_at, c.detected_at, c.caused_by, c.team_id, c.assignee_id,"
    " c.used, c.paused, c.pauses, t.priority, t.channel, t.requester_id, t.organization_id,"
    # Why the breach was noticed late is in its entry. A cycle that goes on after a miss has none of
    # its own: it is the promise that was broken in one before.
    f" case when {_NOTICED_LATE} then (select e.data ->> 'late_because' from events e"
    " where e.tenant_id = c.tenant_id and e.ticket_id = c.ticket_id and e.type = 'sla_breached'"
    " and e.data ->> 'metric' = c.metric and (e.data ->> 'cycle')::int <= c.cycle"
    " order by e.seq desc limit 1) end as late_because"
)


async def cycles(
    work: Work,
    chosen: Chosen,
    *,
    which: Which,
    outcome: tuple[str, ...] = (),
    now: datetime,
    limit: int,
    cursor: str | None = None,
) -> tuple[list[Row], str | None]:
    """The cycles behind the figures, the newest first by when they ended, were breached or, of open
    ones, began; the next cursor.
    """
    chosen.check()
    where, values = chosen.where()
    by = _COLUMN.get(which, "started_at")
    column = f"c.{by}"
    values |= {"tenant": work.tenant_id, "now": now, "limit": limit + 1}
    if which in _COLUMN:
        where += f" and {column} >= :since and {column} < :until"
        values |= {"since": chosen.since, "until": chosen.until}
    else:
        where += " and c.stopped_at is null"
    if which is Which.OVERDUE:
        where += f" and {_OVERDUE}"
    elif which is Which.BREACHED:
        where += " and c.outcome <> 'cancelled'"
    if outcome:
        where += " and c.outcome = any((:outcome)::text[])"
        values["outcome"] = list(outcome)
    if cursor is not None:
        where += (
            f" and ({column}, t.number, c.metric, c.cycle)"
            " < ((:at)::timestamptz, (:number)::bigint, (:after_metric)::text, (:cycle)::int)"
        )
        values |= _after(cursor, which)
    rows = await work.rows(
        f"select {_SHOWN} from {_FROM} where {where}"
        f" order by {column} desc, t.number desc, c.metric desc, c.cycle desc limit :limit",
        values,
    )
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    parts = [which.value, last[by].isoformat(), last["number"], last["metric"], last["cycle"]]
    return rows[:limit], pack(parts)


def _after(cursor: str, which: Which) -> dict[str, object]:
    of, at, number, metric, cycle = unpack(cursor, 5)
    try:
        moment = datetime.fromisoformat(str(at))
    except ValueError as error:
        raise BadCursor from error
    if of != which.value or moment.tzinfo is None or not isinstance(metric, str):
        raise BadCursor
    if not isinstance(number, int) or not isinstance(cycle, int) or abs(number) >= 2**63:
        raise BadCursor
    if not 0 <= cycle < 2**31 or "\0" in metric:
        raise BadCursor
    return {"at": moment, "number": number, "after_metric": metric, "cycle": cycle}


async def kept(work: Work, chosen: Chosen) -> Row:
    """What ended with a verdict, in two sums, and when the first of it did."""
    found = await work.row(
        "select count(*) filter (where c.outcome = 'met') as met,"
        " count(*) filter (where c.outcome = 'missed') as missed, min(c.stopped_at) as oldest"
        f" from {chosen.tables()} where {chosen.where()[0]} and c.outcome in ('met', 'missed')"
        " and c.stopped_at >= :since and c.stopped_at < :until",
        chosen.values(work),
    )
    assert found is not None
    return found


async def broken(work: Work, chosen: Chosen) -> Row:
    """How many promises were broken or found to be; of these `late`, before; when the first was.

    What is reopened after a miss is the same promise, and broken once. What nobody noticed while
    the workers were down counts when it is noticed: it would otherwise never have been news.
    """
    what = "(c.ticket_id, c.metric, c.breached_at)"
    found = await work.row(
        f"select count(distinct {what}) as breaches,"
        f" count(distinct {what}) filter (where c.breached_at < :since) as late,"
        f" min(case when {_NOTICED_LATE} then c.detected_at else c.breached_at end) as oldest"
        f" from {chosen.tables()} where {chosen.where()[0]} and c.outcome <> 'cancelled'"
        " and (c.breached_at >= :since and c.breached_at < :until"
        f" or {_NOTICED_LATE} and c.detected_at >= :since and c.detected_at < :until)",
        chosen.values(work),
    )
    assert found is not None
    return found


_MOVES = (
    "with moves as (select e.ticket_id, e.actor_kind, e.actor_id, e.occurred_at as at,"
    " e.changes -> 'category' ->> 1 as category,"
    " lead(e.occurred_at) over (partition by e.ticket_id order by e.seq) as ended,"
    " lead(e.changes -> 'category' ->> 1) over (partition by e.ticket_id order by e.seq) as next"
    " from events e join tickets t on t.tenant_id = e.tenant_id and t.id = e.ticket_id"
    " where e.tenant_id = :tenant and t.updated_at >= :since"
    " and e.changes -> 'category' is not null),"
    " pauses as (select * from moves where category in ('pending', 'on_hold')"
    " and at >= :since and at < :until)"
)


async def pausing(
    work: Work, *, since: datetime, until: datetime, limit: int, now: datetime
) -> tuple[list[Row], list[Row]]:
    """Who paused tickets how often and how briefly, and the tickets paused most often.

    A pause is a ticket put to pending or on hold; one that lasts counts until `now`. It is brief
    where the next status came within `SHORT_PAUSE` and put it back to work: somebody may have
    stopped a clock that was about to run out.
    """
    Chosen(since=since, until=until).check()
    values = {
        "tenant": work.tenant_id, "since": since, "until": until, "limit": limit,
        "brief": SHORT_PAUSE, "now": now,
    }  # fmt: skip
    brief = (
        "count(*) filter (where ended - at < :brief and next in ('new', 'open')) as brief,"
        " coalesce(sum(extract(epoch from greatest(coalesce(ended, :now) - at, interval '0'))), 0)"
        "::float8 / 60 as minutes"
    )
    people = await work.rows(
        f"{_MOVES} select p.actor_kind, p.actor_id, max(u.name) as name, count(*) as pauses,"
        f" count(distinct p.ticket_id) as tickets, {brief} from pauses p"
        " left join users u on u.tenant_id = :tenant and u.id = p.actor_id"
        " and p.actor_kind = 'user' group by 1, 2"
        " order by brief desc, pauses desc, 2 limit :limit",
        values,
    )
    tickets = await work.rows(
        f"{_MOVES} select t.number, t.subject, count(*) as pauses, {brief},"
        " count(distinct p.actor_id) as people from pauses p join tickets t"
        " on t.tenant_id = :tenant and t.id = p.ticket_id group by t.id, t.number, t.subject"
        " having count(*) > 1 order by pauses desc, t.number limit :limit",
        values,
    )
    return people, tickets
