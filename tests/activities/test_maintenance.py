"""Telling again of what fell out of step: tickets without a run, and deadlines nobody noticed."""

import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.maintenance import MaintenanceActivities, retell_astray
from domain.lifecycle import ticket_workflow_id
from domain.tickets import Ticket
from models.session import Database
from services import jobs, webhooks
from services.desks import Desks
from services.files import files_under
from services.tenants import NewTenant, create_tenant
from services.tickets import Tickets
from tests.conftest import Urls
from tests.making import make_policy, make_ticket

if TYPE_CHECKING:
    from adapters.temporal import TicketWorkflows


@pytest.fixture
async def both(make_database: Callable[[], Urls]) -> AsyncIterator[tuple[Database, Database]]:
    """A database of its own, as the application and as the relay."""
    urls = make_database()
    app, relay = Database(urls.app, pool_size=2), Database(urls.relay, pool_size=2)
    yield app, relay
    await app.close()
    await relay.close()


@pytest.mark.slow
async def test_a_missing_run_and_a_missed_deadline_are_told_again_and_nothing_else(
    both: tuple[Database, Database],
) -> None:
    app, relay = both
    tenant, now, tickets = uuid.uuid4(), datetime.now(UTC), Tickets(Desks())
    async with app.transaction(tenant) as work:
        await create_tenant(work, NewTenant("acme", "Acme"), tenant_id=tenant, now=now)
        await make_policy(work, first_reply=timedelta(hours=1))

    async def made(ago: timedelta) -> Ticket:
        return await make_ticket(app, tickets, tenant, now=now - ago)

    calm = await made(timedelta(minutes=1))
    just_due = await made(timedelta(hours=1, minutes=1))
    missed = await made(timedelta(hours=1, minutes=3))
    lost = await made(timedelta(minutes=1))
    async with relay.transaction(None) as work:
        await work.execute("delete from outbox")

    running = {ticket_workflow_id("acme", one.number) for one in (calm, just_due, missed)}
    steps: list[int] = []
    assert await retell_astray(relay, running, progress=steps.append) == 2
    assert steps == [2]
    async with relay.transaction(None) as work:
        rows = await work.rows("select number from outbox where destination = 'workflows'")
    assert {row["number"] for row in rows} == {missed.number, lost.number}
    # Nobody known to run: as after Temporal's data was lost, and with `--all`.
    assert await retell_astray(relay, set(), progress=steps.append) == 4


class Nothing:
    """Workflows of which none runs."""

    async def running(self) -> set[str]:
        return set()


async def test_reconciling_gives_new_tickets_their_keys(
    both: tuple[Database, Database], tmp_path: Path
) -> None:
    app, relay = both
    tenant, tickets = uuid.uuid4(), Tickets(Desks())
    async with app.transaction(tenant) as work:
        await create_tenant(
            work, NewTenant("acme", "Acme"), tenant_id=tenant, now=datetime.now(UTC)
        )
    made = await make_ticket(app, tickets, tenant, subject="Router restarts")
    activities = MaintenanceActivities(
        relay,
        cast("TicketWorkflows", Nothing()),
        database=app,
        tickets=tickets,
        files=files_under(tmp_path),
    )
    for _ in range(2):  # every step may be repeated
        await ActivityEnvironment().run(activities.reconcile)
    async with app.transaction(tenant) as work:
        rows = await work.rows(
            "select ticket_id, keys <> '{}' as some from ticket_keys where tenant_id = :t",
            {"t": tenant},
        )
    assert rows == [{"ticket_id": made.id, "some": True}]


async def test_a_call_about_no_ticket_that_was_lost_is_told_again(
    both: tuple[Database, Database],
) -> None:
    app, relay_database = both
    tenant, now = uuid.uuid4(), datetime.now(UTC)
    async with app.transaction(tenant) as work:
        await create_tenant(work, NewTenant("acme", "Acme"), tenant_id=tenant, now=now)
        hook = await webhooks.create(
            work, name="Pager", url="https://pager.example.com/x", events=[],
            allow_private=False, now=now,
        )  # fmt: skip
        calls = [
            await webhooks.test(work, hook["id"], now=now - timedelta(seconds=ago))
            for ago in (5, 300, 301)
        ]
        await work.execute(
            "update deliveries set state = 'sent' where id = :id", {"id": calls[2]["id"]}
        )
    async with relay_database.transaction(None) as work:
        await work.execute("delete from outbox")
    assert await jobs.restart(relay_database) == 1  # one is new, one has ended
    async with relay_database.transaction(None) as work:
        rows = await work.rows("select kind, ticket_id, tenant_id from outbox")
    assert [(row["kind"], row["ticket_id"], row["tenant_id"]) for row in rows] == [
        ("delivery", calls[1]["id"], tenant)
    ]
