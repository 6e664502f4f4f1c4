"""Lives of tickets and of jobs, as they are recorded and replayed."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from adapters.temporal import TicketWorkflows
from domain.lifecycle import (
    BATCH,
    BacktestRef,
    BulkRef,
    DeliveryRef,
    LinkRef,
    SimulationRef,
    TrainingRef,
)
from domain.mail import MailUnreachable
from domain.permissions import Principal, Role, grants_of
from domain.sla import Metric, RaisePriority, StartWorkflow, Step
from domain.states import Channel, Priority
from domain.tickets import (
    AgentReplied,
    Changed,
    CustomerReplied,
    Labelled,
    NoteAdded,
    ReminderSet,
    Snoozed,
    Ticket,
)
from models.session import Row
from services import bulk, learning, simulations, webhooks
from services.bulk import BulkChange, BulkRunner
from services.desks import Desks
from services.tickets import Origin
from services.views import Views
from tests.activities.test_webhooks import Endpoint
from tests.making import happens, make_agent, make_policy, make_ticket, words
from tests.workflows.conftest import Bench
from workflows.learning import RetrainDueWorkflow
from workflows.maintenance import ReconcileWorkflow

# Makes a ticket live, and says which one.
Scenario = Callable[[Bench, uuid.UUID], Awaitable[Ticket]]
# Makes a job run to its end, and says what its workflow is called.
Job = Callable[[Bench, uuid.UUID], Awaitable[str]]


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


async def _bulk(b: Bench, tenant: uuid.UUID, *, tickets: int) -> tuple[Principal, Row, BulkRef]:
    """A job that tags so many tickets, queued by a supervisor."""
    async with b.database.transaction(tenant) as work:
        user = await make_agent(work, role="supervisor")
    caller = Principal(
        tenant_id=tenant,
        tenant_slug="t",
        kind="user",
        id=user,
        role=Role.SUPERVISOR,
        grants=grants_of(Role.SUPERVISOR),
    )
    numbers = [(await make_ticket(b.database, b.tickets, tenant)).number for _ in range(tickets)]
    async with b.database.transaction(tenant) as work:
        job = await bulk.queue(
            work, Views(Desks()), caller=caller, numbers=numbers, wanted=None,
            change=BulkChange(values={"add_tags": ["x"]}), origin=Origin(), now=datetime.now(UTC),
        )  # fmt: skip
    return caller, job, BulkRef(tenant_id=tenant, slug="t", job_id=job["id"])


async def _ended(b: Bench, workflow_id: str) -> str:
    return str(await b.client.get_workflow_handle(workflow_id, result_type=str).result())


async def bulk_in_chunks(b: Bench, tenant: uuid.UUID) -> str:
    """More tickets than one chunk holds."""
    _, _, ref = await _bulk(b, tenant, tickets=2 * bulk.CHUNK + 3)
    await TicketWorkflows(b.client).start(ref)
    assert await _ended(b, ref.workflow_id) == "finished"
    return ref.workflow_id


async def bulk_cancelled(b: Bench, tenant: uuid.UUID) -> str:
    """Cancelled after its first chunk, before Temporal heard of it."""
    caller, job, ref = await _bulk(b, tenant, tickets=bulk.CHUNK + 3)
    await BulkRunner(b.database, b.tickets).chunk(tenant, job["id"], now=datetime.now(UTC))
    async with b.database.transaction(tenant) as work:
        await bulk.cancel(work, job["id"], caller, origin=Origin(), now=datetime.now(UTC))
    await TicketWorkflows(b.client).start(ref)
    assert await _ended(b, ref.workflow_id) == "cancelled"
    return ref.workflow_id


async def bulk_taken_back(b: Bench, tenant: uuid.UUID) -> str:
    """Done, then undone by a second run under the same name."""
    caller, job, ref = await _bulk(b, tenant, tickets=bulk.CHUNK + 3)
    await TicketWorkflows(b.client).start(ref)
    await _ended(b, ref.workflow_id)
    async with b.database.transaction(tenant) as work:
        await bulk.undo(work, job["id"], caller, origin=Origin())
    await TicketWorkflows(b.client).start(ref)
    assert await _ended(b, ref.workflow_id) == "undone"
    return ref.workflow_id


async def reconciled(b: Bench, tenant: uuid.UUID) -> str:
    """Open tickets that Temporal knows nothing of."""
    await make_ticket(b.database, b.tickets, tenant)
    handle = await b.client.start_workflow(
        ReconcileWorkflow.run, id=f"reconcile/{tenant}", task_queue=BATCH
    )
    assert await handle.result() >= 1
    return handle.id


async def link_mailed_late(b: Bench, tenant: uuid.UUID) -> str:
    """A link to set a password, with the mail server away at first."""
    async with b.database.transaction(tenant) as work:
        user = await make_agent(work)
        await b.links.make(work, user, purpose="reset", now=datetime.now(UTC), by_mail=True)
        row = await work.row("select id from password_links where user_id = :u", {"u": user})
    assert row is not None
    b.mail.errors.append(MailUnreachable("away"))
    ref = LinkRef(tenant_id=tenant, slug="t", link_id=row["id"])
    await TicketWorkflows(b.client).start(ref)
    assert await _ended(b, ref.workflow_id) == "sent"
    return ref.workflow_id


async def endpoint_away(b: Bench, tenant: uuid.UUID) -> str:
    """A call that is about no ticket; its endpoint answers at the second attempt."""
    endpoint = Endpoint(status="503 Away")
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    now = datetime.now(UTC)
    async with server:
        async with b.database.transaction(tenant) as work:
            hook = await webhooks.create(
                work, name="Pager", url=url, events=[], allow_private=True, now=now
            )
            row = await webhooks.test(work, hook["id"], now=now)
        ref = DeliveryRef(tenant_id=tenant, slug="t", delivery_id=row["id"])
        await TicketWorkflows(b.client).start(ref)
        async with asyncio.timeout(20):
            while not endpoint.heard:
                await asyncio.sleep(0.05)
        endpoint.status = "200 OK"
        assert await _ended(b, ref.workflow_id) == "sent"
    assert len(endpoint.heard) == 2
    return ref.workflow_id


async def model_refused(b: Bench, tenant: uuid.UUID) -> str:
    """A training with nothing to learn from."""
    async with b.database.transaction(tenant) as work:
        row = await learning.train(work, "topic", caller=None, origin=None, now=datetime.now(UTC))
    ref = TrainingRef(tenant_id=tenant, slug="t", job_id=row["id"])
    await TicketWorkflows(b.client).start(ref)
    assert await _ended(b, ref.workflow_id) == "refused"
    return ref.workflow_id


async def asked_about_the_past(b: Bench, tenant: uuid.UUID) -> str:
    """The shipped model asked about a ticket whose topic an agent has put right."""
    async with b.database.transaction(tenant) as work:
        agent = await make_agent(work, role="admin")
    ticket = await make_ticket(b.database, b.tickets, tenant)
    await happens(b.database, b.tickets, tenant, ticket.number, Labelled(topic="orders"), by=agent)
    caller = Principal(
        tenant_id=tenant, tenant_slug="t", kind="user", id=agent, role=Role.ADMIN,
        grants=grants_of(Role.ADMIN),
    )  # fmt: skip
    async with b.database.transaction(tenant) as work:
        row = await learning.backtest(
            work, "topic", model_id=None, tickets=10, caller=caller, origin=Origin(),
            now=datetime.now(UTC),
        )  # fmt: skip
    ref = BacktestRef(tenant_id=tenant, slug="t", job_id=row["id"])
    await TicketWorkflows(b.client).start(ref)
    assert await _ended(b, ref.workflow_id) == "finished"
    return ref.workflow_id


async def trainings_due(b: Bench, tenant: uuid.UUID) -> str:
    """The nightly look at who has something new to learn."""
    handle = await b.client.start_workflow(
        RetrainDueWorkflow.run, id=f"retrain-due/{tenant}", task_queue=BATCH
    )
    await handle.result()
    return handle.id


async def draft_tried(b: Bench, tenant: uuid.UUID) -> str:
    """The past of three tickets lived through, one after the other."""
    agent = await _agent(b, tenant)
    for _ in range(3):
        await make_ticket(b.database, b.tickets, tenant)
    caller = Principal(
        tenant_id=tenant, tenant_slug="t", kind="user", id=agent, role=Role.SUPERVISOR,
        grants=grants_of(Role.SUPERVISOR),
    )  # fmt: skip
    now = datetime.now(UTC)
    async with b.database.transaction(tenant) as work:
        row = await simulations.queue(
            work, caller=caller, request={}, since=now - timedelta(days=1),
            until=now + timedelta(days=1), origin=Origin(), now=now,
        )  # fmt: skip
    ref = SimulationRef(tenant_id=tenant, slug="t", simulation_id=row["id"])
    usual, simulations.CHUNK = simulations.CHUNK, 1
    try:
        await TicketWorkflows(b.client).start(ref)
        assert await _ended(b, ref.workflow_id) == "finished"
    finally:
        simulations.CHUNK = usual
    return ref.workflow_id


async def briefed_by_a_step(b: Bench, tenant: uuid.UUID) -> str:
    """A step starts the workflow that ships, and its note is written."""
    async with b.database.transaction(tenant) as work:
        step = Step(
            id="brief",
            metric=Metric.FIRST_REPLY,
            percent=50,
            action=StartWorkflow(name="briefing"),
        )
        await make_policy(work, steps=(step,))
    opened = datetime.now(UTC) - timedelta(minutes=45)
    ticket = await make_ticket(b.database, b.tickets, tenant, now=opened)
    await b.wake(tenant, ticket)
    await b.until_event(tenant, ticket, "note_added")
    async with b.database.transaction(tenant) as work:
        row = await work.row("select payload from deliveries where kind = 'workflow'")
    assert row is not None
    name = str(row["payload"]["workflow_id"])
    assert await _ended(b, name) == "written"
    return name


JOBS: dict[str, Job] = {
    "briefed-by-a-step": briefed_by_a_step,
    "bulk-in-chunks": bulk_in_chunks,
    "bulk-cancelled": bulk_cancelled,
    "bulk-taken-back": bulk_taken_back,
    "reconciled": reconciled,
    "link-mailed-late": link_mailed_late,
    "endpoint-away": endpoint_away,
    "model-refused": model_refused,
    "asked-about-the-past": asked_about_the_past,
    "trainings-due": trainings_due,
    "draft-tried": draft_tried,
}
