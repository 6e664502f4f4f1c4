"""Bulk jobs: each ticket answers for itself, cancelling stops them, undoing puts things back."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from activities.bulk import BulkActivities
from adapters.temporal import TicketWorkflows
from domain.errors import Conflict, Invalid
from domain.lifecycle import BATCH, BulkRef
from domain.permissions import Principal, Role, grants_of
from domain.states import Priority
from domain.tickets import Changed
from models.session import Database, Row
from services import bulk
from services.bulk import BulkChange, BulkRunner
from services.desks import Desks
from services.tickets import Origin, Tickets
from services.views import TicketFilter, Views
from tests.making import happens, make_agent, make_ticket
from workflows.bulk import BulkWorkflow
from workflows.sandbox import strict_sandbox

pytestmark = pytest.mark.temporal

FROM_TEST = Origin(request_id="test")


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


@pytest.fixture
async def caller(database: Database, tenant: uuid.UUID) -> Principal:
    async with database.transaction(tenant) as work:
        user = await make_agent(work, role="supervisor")
    return Principal(
        tenant_id=tenant,
        tenant_slug="t",
        kind="user",
        id=user,
        role=Role.SUPERVISOR,
        grants=grants_of(Role.SUPERVISOR),
    )


async def queue(
    database: Database,
    caller: Principal,
    change: dict[str, object],
    *,
    numbers: list[int] | None = None,
    wanted: TicketFilter | None = None,
) -> Row:
    async with database.transaction(caller.tenant_id) as work:
        return await bulk.queue(
            work, Views(Desks()), caller=caller, numbers=numbers, wanted=wanted,
            change=BulkChange(values=change), origin=FROM_TEST, now=datetime.now(UTC),
        )  # fmt: skip


async def run(
    client: Client, database: Database, tickets: Tickets, job: Row, tenant: uuid.UUID
) -> str:
    activities = BulkActivities(BulkRunner(database, tickets))
    ref = BulkRef(tenant_id=tenant, slug="t", job_id=job["id"])
    async with Worker(
        client,
        task_queue=BATCH,
        workflows=[BulkWorkflow],
        activities=[activities.bulk_chunk],
        workflow_runner=strict_sandbox(),
    ):
        await TicketWorkflows(client).start(ref)
        handle = client.get_workflow_handle(ref.workflow_id, result_type=str)
        return str(await handle.result())


async def results(
    database: Database, caller: Principal, job: Row
) -> dict[int, tuple[str, str | None]]:
    async with database.transaction(caller.tenant_id) as work:
        rows = await bulk.items(work, job["id"], caller, after=0, limit=1000)
    return {row["number"]: (row["state"], row["code"]) for row in rows}


async def test_each_ticket_answers_for_itself_and_undoing_puts_back_what_nobody_touched(
    dev_server: Client, database: Database, tickets: Tickets, tenant: uuid.UUID, caller: Principal
) -> None:
    made = [await make_ticket(database, tickets, tenant) for _ in range(25)]
    numbers = [t.number for t in made]
    await happens(
        database, tickets, tenant, numbers[0],
        Changed(assignee_id=caller.id, status="closed"), by=caller.id,
    )  # fmt: skip
    await happens(
        database, tickets, tenant, numbers[1], Changed(priority=Priority.HIGH), by=caller.id
    )
    job = await queue(
        database, caller, {"priority": "high", "status": "open"}, numbers=[*numbers, 99_999]
    )
    assert await run(dev_server, database, tickets, job, tenant) == "finished"
    became = await results(database, caller, job)
    assert became[numbers[0]] == ("refused", "ticket_closed")
    assert became[99_999] == ("refused", "ticket_not_found")
    assert all(became[n][0] == "done" for n in numbers[1:])

    await happens(
        database, tickets, tenant, numbers[2], Changed(priority=Priority.LOW), by=caller.id
    )
    async with database.transaction(tenant) as work:
        await bulk.undo(work, job["id"], caller, origin=FROM_TEST)
    assert await run(dev_server, database, tickets, job, tenant) == "undone"
    became = await results(database, caller, job)
    assert became[numbers[2]] == ("kept", "changed_meanwhile")
    async with database.transaction(tenant) as work:
        rows = await work.rows("select number, status, priority from tickets")
    now = {row["number"]: (row["status"], row["priority"]) for row in rows}
    assert now[numbers[1]] == ("new", "high")  # only its status was the job's doing
    assert now[numbers[2]] == ("open", "low")
    assert all(now[n] == ("new", None) for n in numbers[3:])


async def test_a_cancelled_job_leaves_the_rest_alone(
    dev_server: Client, database: Database, tickets: Tickets, tenant: uuid.UUID, caller: Principal
) -> None:
    numbers = [(await make_ticket(database, tickets, tenant)).number for _ in range(30)]
    job = await queue(database, caller, {"add_tags": ["x"]}, numbers=numbers)
    runner = BulkRunner(database, tickets)
    await runner.chunk(tenant, job["id"], now=datetime.now(UTC))
    async with database.transaction(tenant) as work:
        cancelled = await bulk.cancel(
            work, job["id"], caller, origin=FROM_TEST, now=datetime.now(UTC)
        )
    assert cancelled["counts"] == {"done": bulk.CHUNK, "cancelled": 30 - bulk.CHUNK}
    assert await run(dev_server, database, tickets, job, tenant) == "cancelled"
    async with database.transaction(tenant) as work:
        with pytest.raises(Conflict):
            await bulk.cancel(work, job["id"], caller, origin=FROM_TEST, now=datetime.now(UTC))


async def test_a_chunk_done_twice_changes_each_ticket_once(
    database: Database, tickets: Tickets, tenant: uuid.UUID, caller: Principal
) -> None:
    numbers = [(await make_ticket(database, tickets, tenant)).number for _ in range(5)]
    job = await queue(database, caller, {"add_tags": ["x"]}, numbers=numbers)
    runner = BulkRunner(database, tickets)
    await asyncio.gather(
        *(runner.chunk(tenant, job["id"], now=datetime.now(UTC)) for _ in range(3))
    )
    async with database.transaction(tenant) as work:
        rows = await work.rows("select seq, tags from tickets")
    assert [(row["seq"], row["tags"]) for row in rows] == [(2, ["x"])] * 5


async def test_a_filter_is_evaluated_once_when_the_job_is_asked_for(
    database: Database, tickets: Tickets, tenant: uuid.UUID, caller: Principal
) -> None:
    first = await make_ticket(database, tickets, tenant)
    job = await queue(database, caller, {"add_tags": ["x"]}, wanted=TicketFilter(status=("new",)))
    await make_ticket(database, tickets, tenant)
    await BulkRunner(database, tickets).chunk(
        tenant, job["id"], now=datetime.now(UTC) + timedelta(seconds=1)
    )
    assert list(await results(database, caller, job)) == [first.number]


async def test_a_job_without_a_change_or_without_tickets_is_refused(
    database: Database, caller: Principal
) -> None:
    with pytest.raises(Invalid):
        await queue(database, caller, {}, numbers=[1])
    with pytest.raises(Invalid):
        await queue(database, caller, {"add_tags": ["x"]}, numbers=[])
    with pytest.raises(Invalid):
        await queue(database, caller, {"add_tags": ["x"]}, wanted=TicketFilter(status=("none",)))
