"""What must hold for every ticket whatever was killed: counted from the rows, worked out anew."""

import uuid
from collections import defaultdict
from datetime import datetime

from domain.calendars import Calendar
from domain.sla import Clock, Policy, Terms
from domain.tickets import Ticket
from domain.tickets.replay import Recorded, replay
from models import ledger
from models.session import Database, Row, Work

_COMPARED = ("status", "category", "priority", "type", "team_id", "assignee_id", "subject")


async def broken(database: Database, tenant: uuid.UUID, *, now: datetime) -> list[str]:
    """What is wrong, a line each; empty when all is well."""
    async with database.transaction(tenant) as work:
        terms = await _terms(work)
        tickets = await work.rows("select * from tickets where tenant_id = :t", {"t": tenant})
        events = await _by_ticket(work, "events", "seq")
        clocks = await _by_ticket(work, "clocks", "metric, cycle")
        messages = await work.rows(
            "select id, origin_ticket_id from messages where tenant_id = :t", {"t": tenant}
        )
    stored = {row["id"] for row in messages}
    faults: list[str] = []
    for row in tickets:
        ticket = ledger.to_ticket(row)
        faults += _faults(ticket, events[ticket.id], clocks[ticket.id], stored, terms, now=now)
    return faults


def _faults(
    ticket: Ticket,
    events: list[Row],
    clocks: list[Row],
    messages: set[uuid.UUID],
    terms: dict[tuple[uuid.UUID, int], Terms],
    *,
    now: datetime,
) -> list[str]:
    def fault(text: str) -> str:
        return f"ticket {ticket.number}: {text}"

    found: list[str] = []
    if not events:
        return [fault("has no timeline")]
    recorded = [
        Recorded(e["seq"], e["type"], e["actor_kind"], e["changes"], e["data"], e["occurred_at"])
        for e in events
    ]
    # Up to its last event: what came due since then is the workflow's to notice.
    again = replay(recorded, lambda id, version: terms[id, version], now=ticket.updated_at)
    if again.gaps:
        found.append(fault(f"lacks events {again.gaps}"))
    if again.seq != ticket.seq:
        found.append(fault(f"is at event {ticket.seq}, its timeline ends at {again.seq}"))
    for name in _COMPARED:
        have, want = getattr(ticket, name), again.values.get(name)
        if (None if have is None else str(have)) != (None if want is None else str(want)):
            found.append(fault(f"{name} is {have}, its timeline says {want}"))
    for event in events:
        told = event["data"].get("message_id")
        if told is not None and uuid.UUID(told) not in messages:
            found.append(fault(f"event {event['seq']} tells of a message that is not there"))
    have_clocks = {(c.metric, c.cycle): c for c in map(ledger.to_clock, clocks)}
    want_clocks = {(c.metric, c.cycle): c for c in again.clocks}
    if set(have_clocks) != set(want_clocks):
        found.append(fault(f"has clocks {set(have_clocks)}, not {set(want_clocks)}"))
    for key in set(have_clocks) & set(want_clocks):
        found += [
            fault(f"clock {key}: {name} is {have}, worked out anew it is {want}")
            for name, have, want in _differences(have_clocks[key], want_clocks[key])
        ]
    late = ticket.deadline_at is not None and (now - ticket.deadline_at).total_seconds() > 30
    if late:
        found.append(fault(f"its deadline {ticket.deadline_at} has passed without an event"))
    return found


def _differences(have: Clock, want: Clock) -> list[tuple[str, object, object]]:
    names = ("target", "started_at", "due_at", "stopped_at", "outcome", "breached_at", "steps_done")
    return [
        (name, getattr(have, name), getattr(want, name))
        for name in names
        if getattr(have, name) != getattr(want, name)
    ]


async def _terms(work: Work) -> dict[tuple[uuid.UUID, int], Terms]:
    calendars = {
        (row["calendar_id"], row["version"]): Calendar.model_validate(row["body"])
        for row in await work.rows("select * from calendar_versions")
    }
    found: dict[tuple[uuid.UUID, int], Terms] = {}
    for row in await work.rows("select * from policy_versions"):
        policy = Policy.model_validate(row["body"])
        found[policy.id, policy.version] = Terms(
            policy, calendars[policy.calendar_id, policy.calendar_version]
        )
    return found


async def _by_ticket(work: Work, table: str, order: str) -> dict[uuid.UUID, list[Row]]:
    rows = await work.rows(f"select * from {table} order by ticket_id, {order}")
    grouped: dict[uuid.UUID, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["ticket_id"]].append(row)
    return grouped
