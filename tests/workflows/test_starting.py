"""A step starts a workflow: one, whatever breaks between the start and its record."""

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.deliveries import DeliveryActivities
from adapters.temporal import WorkflowStarter
from domain.lifecycle import Effect, EffectInput, TicketRef
from domain.sla import Metric, StartWorkflow, Step
from domain.starting import Offered, StartUnreachable
from domain.tickets import Ticket, TimeAdvanced
from models.session import Database, Row
from services import starting
from services.desks import Desks
from services.tickets import Tickets
from tests.conftest import MakeTenant
from tests.making import happens, make_policy, make_ticket
from tests.workflows.conftest import Bench, FakeMail, MakeBench

pytestmark = pytest.mark.temporal

HOUR = timedelta(hours=1)


@workflow.defn(name="AskVendor")
class Vendor:
    """Somebody's own workflow, on somebody's own queue."""

    @workflow.run
    async def run(self, asked: dict[str, object]) -> dict[str, object]:
        return asked


async def _policy(
    database: Database, tenant: uuid.UUID, name: str, *, offered: bool = True
) -> None:
    """Its steps start `name` half an hour after a ticket was opened."""
    async with database.transaction(tenant) as work:
        if offered:
            offer = Offered(name, "AskVendor", "vendors")
            await starting.offer(work, offer, now=datetime.now(UTC))
        step = Step(
            id="ask", metric=Metric.FIRST_REPLY, percent=50, action=StartWorkflow(name=name)
        )
        await make_policy(work, steps=(step,))


async def _starts(database: Database, tenant: uuid.UUID) -> list[Row]:
    async with database.transaction(tenant) as work:
        return list(await starting.starts(work, name=None, number=None, after=None, limit=10))


async def _until_sent(b: Bench, tenant: uuid.UUID) -> Row:
    async with asyncio.timeout(30):
        while True:
            rows = await _starts(b.database, tenant)
            if rows and rows[0]["state"] == "sent":
                return rows[0]
            await asyncio.sleep(0.1)


async def test_a_step_starts_the_workflow_that_it_names_with_ids_and_nothing_else(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant(triage=False)
        await _policy(b.database, tenant, "ask-vendor")
        opened = datetime.now(UTC) - HOUR / 2 + timedelta(seconds=1)
        ticket = await make_ticket(b.database, b.tickets, tenant, now=opened)
        async with Worker(
            dev_server, task_queue="vendors", workflows=[Vendor],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):  # fmt: skip
            await b.wake(tenant, ticket)
            row = await _until_sent(b, tenant)
            handle = dev_server.get_workflow_handle(row["workflow_id"], result_type=dict)
            given = await asyncio.wait_for(handle.result(), 20)
        assert given == {
            "ticket": {
                "tenant_id": str(tenant),
                "slug": f"t-{tenant.hex[-12:]}",
                "number": ticket.number,
            },
            "ticket_id": str(ticket.id),
            "delivery_id": str(row["id"]),
            "seq": 2,
        }
        assert (row["name"], row["number"], row["attempts"]) == ("ask-vendor", ticket.number, 1)
        assert [e["type"] for e in await b.timeline(tenant, ticket)][1] == "sla_step"


async def test_the_briefing_that_ships_puts_a_note_into_the_ticket(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant(triage=False)
        await _policy(b.database, tenant, "briefing", offered=False)
        opened = datetime.now(UTC) - timedelta(minutes=45)
        ticket = await make_ticket(
            b.database, b.tickets, tenant, now=opened, text="The lamp on my desk does not light up."
        )
        await b.wake(tenant, ticket)
        await b.until_event(tenant, ticket, "note_added")
        row = await _until_sent(b, tenant)
        assert await dev_server.get_workflow_handle(row["workflow_id"]).result() == "written"
        async with b.database.transaction(tenant) as work:
            notes = await work.rows("select * from messages where author_kind = 'automation'")
        assert [note["visibility"] for note in notes] == ["internal"]
        said = notes[0]["body_text"]
        assert "nobody has it" in said
        assert "First reply: due in 1" in said
        assert "“The lamp on my desk does not light up.”" in said


class Breaking:
    """Starts the workflow, and then loses the answer as often as it is told to."""

    def __init__(self, client: Client, *, losses: int, silent: bool = False) -> None:
        self._starter, self.losses, self._silent = WorkflowStarter(client), losses, silent
        self.calls = 0

    async def start(self, type: str, given: Mapping[str, object], *, id: str, queue: str) -> None:
        self.calls += 1
        await self._starter.start(type, given, id=id, queue=queue)
        if self.losses:
            self.losses -= 1
            if self._silent:
                raise asyncio.CancelledError  # the process is gone: nothing is written any more
            raise StartUnreachable("away")


async def _queued(
    database: Database, make_tenant: MakeTenant
) -> tuple[uuid.UUID, Ticket, EffectInput]:
    """A start that is committed and that nobody has carried out."""
    tenant, tickets = await make_tenant(triage=False), Tickets(Desks())
    await _policy(database, tenant, "ask-vendor")
    ticket = await make_ticket(database, tickets, tenant, now=datetime.now(UTC) - HOUR / 2)
    await happens(database, tickets, tenant, ticket.number, TimeAdvanced())
    [row] = await _starts(database, tenant)
    assert row["state"] == "queued"
    ref = TicketRef(tenant_id=tenant, slug="t", number=ticket.number)
    return (
        tenant,
        ticket,
        EffectInput(ticket=ref, effect=Effect(kind="workflow", id=str(row["id"]))),
    )


@pytest.mark.parametrize("silent", [False, True], ids=["the answer is lost", "the process dies"])
async def test_a_start_that_is_tried_again_is_the_same_start(
    silent: bool, dev_server: Client, database: Database, make_tenant: MakeTenant
) -> None:
    tenant, _, asked = await _queued(database, make_tenant)
    starter = Breaking(dev_server, losses=2, silent=silent)
    carrying = DeliveryActivities(database, FakeMail(), starter=starter)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises((ApplicationError, asyncio.CancelledError)):
            await carrying.deliver(asked)
    assert (await carrying.deliver(asked)).state == "sent"
    assert (await carrying.deliver(asked)).state == "sent"  # and is not even asked for again
    [row] = await _starts(database, tenant)
    assert (row["attempts"], starter.calls) == (3, 3)
    query = f"WorkflowId = '{row['workflow_id']}'"
    async with asyncio.timeout(20):
        while not (found := [one async for one in dev_server.list_workflows(query)]):
            await asyncio.sleep(0.2)
    assert len(found) == 1
    await dev_server.get_workflow_handle(row["workflow_id"]).terminate()


async def test_a_start_whose_name_was_withdrawn_is_cancelled_and_says_so(
    database: Database, make_tenant: MakeTenant
) -> None:
    tenant, tickets = await make_tenant(triage=False), Tickets(Desks())
    await _policy(database, tenant, "ask-vendor")
    ticket = await make_ticket(database, tickets, tenant, now=datetime.now(UTC) - HOUR / 4)
    async with database.transaction(tenant) as work:
        await work.execute("update policies set active = false")
        await starting.withdraw(work, "ask-vendor")
        await work.execute("update policies set active = true")  # back, and its name is not
    later = datetime.now(UTC) + HOUR
    await happens(database, tickets, tenant, ticket.number, TimeAdvanced(), now=later)
    [row] = await _starts(database, tenant)
    assert row["state"] == "cancelled"
    assert "no such workflow" in str(row["error"])
