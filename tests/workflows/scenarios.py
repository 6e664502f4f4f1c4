"""Lives of tickets, as they are recorded and replayed."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from domain.mail import MailUnreachable
from domain.sla import Metric, RaisePriority, Step
from domain.states import Channel, Priority
from domain.tickets import (
    AgentReplied,
    Changed,
    CustomerReplied,
    NoteAdded,
    ReminderSet,
    Snoozed,
    Ticket,
)
from tests.making import happens, make_agent, make_policy, make_ticket, words
from tests.workflows.conftest import Bench

# Makes a ticket live, and says which one.
Scenario = Callable[[Bench, uuid.UUID], Awaitable[Ticket]]


async def _agent(b: Bench, tenant: uuid.UUID, *, promise: bool = True) -> uuid.UUID:
    async with b.database.transaction(tenant) as work:
        agent = await make_agent(work)
        if promise:
            await make_policy(
                work,
                steps=(
                    Step(
                        id="raise",
                        metric=Metric.FIRST_REPLY,
                        offset=timedelta(minutes=-10),
                        action=RaisePriority(),
                    ),
                ),
            )
    return agent


async def answered_and_closed(b: Bench, tenant: uuid.UUID) -> Ticket:
    """Triage, a reply with its mail, a customer's answer, resolved, closed by hand."""
    agent = await _agent(b, tenant)
    ticket = await make_ticket(b.database, b.tickets, tenant)
    await b.wake(tenant, ticket)
    await b.settled(tenant, ticket)
    for payload, by in (
        (AgentReplied(words(), status="pending"), agent),
        (CustomerReplied(words(), ticket.requester_id, Channel.EMAIL), None),
        (AgentReplied(words(), status="resolved"), agent),
        (Changed(status="closed"), agent),
    ):
        now = await happens(b.database, b.tickets, tenant, ticket.number, payload, by=by)
        await b.wake(tenant, now)
        if not now.category.is_over:
            await b.settled(tenant, now)
    await b.handle(tenant, ticket).result()
    return ticket


async def breached_while_open(b: Bench, tenant: uuid.UUID) -> Ticket:
    """A first reply that never came: a step and a breach, both by the timer, and it waits on."""
    await _agent(b, tenant)
    opened = datetime.now(UTC) - timedelta(minutes=59, seconds=58)
    ticket = await make_ticket(b.database, b.tickets, tenant, now=opened)
    await b.wake(tenant, ticket)
    await b.until_event(tenant, ticket, "sla_breached")
    return ticket


async def moved_deadlines(b: Bench, tenant: uuid.UUID) -> Ticket:
    """Timers armed, cancelled and armed again: snooze, reminder, priority, snooze ends."""
    agent = await _agent(b, tenant)
    ticket = await make_ticket(b.database, b.tickets, tenant)
    await b.wake(tenant, ticket)
    soon = datetime.now(UTC) + timedelta(seconds=3)
    for payload in (
        ReminderSet(datetime.now(UTC) + timedelta(minutes=5), "look"),
        NoteAdded(words()),
        Changed(priority=Priority.URGENT),
        Snoozed(soon, True),
    ):
        now = await happens(b.database, b.tickets, tenant, ticket.number, payload, by=agent)
        await b.wake(tenant, now)
        await b.settled(tenant, now)
    await b.until_event(tenant, ticket, "woken")
    return ticket


async def mail_server_away(b: Bench, tenant: uuid.UUID) -> Ticket:
    """The mail server does not answer at first; the mail goes out on a later try."""
    agent = await _agent(b, tenant, promise=False)
    ticket = await make_ticket(b.database, b.tickets, tenant)
    await b.wake(tenant, ticket)
    await b.settled(tenant, ticket)
    b.mail.errors.append(MailUnreachable("away"))
    now = await happens(
        b.database, b.tickets, tenant, ticket.number, AgentReplied(words()), by=agent
    )
    await b.wake(tenant, now)
    await b.settled(tenant, now)
    return ticket


async def revived_by_a_late_signal(b: Bench, tenant: uuid.UUID) -> Ticket:
    """A signal that comes after the ticket was closed: the run looks, and ends."""
    agent = await _agent(b, tenant, promise=False)
    ticket = await make_ticket(b.database, b.tickets, tenant)
    closed = await happens(
        b.database, b.tickets, tenant, ticket.number,
        Changed(assignee_id=agent, status="closed"), by=agent,
    )  # fmt: skip
    await b.wake(tenant, closed)
    await b.handle(tenant, ticket).result()
    return ticket


SCENARIOS: dict[str, Scenario] = {
    "answered-and-closed": answered_and_closed,
    "breached-while-open": breached_while_open,
    "moved-deadlines": moved_deadlines,
    "mail-server-away": mail_server_away,
    "revived-by-a-late-signal": revived_by_a_late_signal,
}
