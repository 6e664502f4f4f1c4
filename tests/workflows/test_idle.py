"""Tickets that wait cost nothing: no task of their workflows, no transaction."""

import asyncio
import uuid
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.sla import Metric
from domain.states import Priority
from models.session import Database, Work
from services import configuration
from tests.conftest import MakeTenant
from tests.making import make_policy, make_ticket
from tests.workflows.conftest import MakeBench

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

TICKETS = 50
HOUR = timedelta(hours=1)
PROMISED = {
    Metric.FIRST_REPLY: 10 * HOUR,
    Metric.RESOLUTION: 40 * HOUR,
    Metric.AGENT_WORK: 30 * HOUR,
}


async def test_hours_of_waiting_with_three_clocks_each_ask_the_database_nothing(
    skipping: WorkflowEnvironment,
    bench: MakeBench,
    make_tenant: MakeTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nine hours in which nothing is due, by the engine's clock; then something is, once each."""
    tenant = await make_tenant(triage=False)
    begun: list[uuid.UUID | None] = []
    plain = Database.transaction

    def counted(
        database: Database, tenant_id: uuid.UUID | None, *, reading: bool = False
    ) -> AbstractAsyncContextManager[Work]:
        begun.append(tenant_id)
        return plain(database, tenant_id, reading=reading)

    async with bench(skipping.client) as b:
        async with b.database.transaction(tenant) as work:
            policy = await make_policy(work)
            await configuration.change_policy(
                work,
                policy.id,
                name=None,
                terms={
                    "targets": {
                        metric: dict.fromkeys(Priority, span) for metric, span in PROMISED.items()
                    }
                },
                active=None,
                now=datetime.now(UTC),
            )
        now = await skipping.get_current_time()
        tickets = [
            await make_ticket(b.database, b.tickets, tenant, now=now) for _ in range(TICKETS)
        ]
        for ticket in tickets:
            await b.wake(tenant, ticket)
        for ticket in tickets:
            await b.seen(tenant, ticket)
        async with b.database.transaction(tenant) as work:
            row = await work.row("select count(*) as n from clocks where stopped_at is null")
        assert row is not None
        assert row["n"] == 3 * TICKETS

        async def lengths() -> list[int]:
            return [len(await b.event_types(tenant, ticket)) for ticket in tickets]

        before = await lengths()
        monkeypatch.setattr(Database, "transaction", counted)
        await skipping.sleep(9 * HOUR)
        assert await skipping.get_current_time() - now >= 9 * HOUR
        assert begun.count(tenant) == 0
        assert await lengths() == before
        await skipping.sleep(HOUR + timedelta(minutes=5))
        async with asyncio.timeout(60):
            while begun.count(tenant) < TICKETS:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)  # for whatever would come a second time
        assert begun.count(tenant) == TICKETS
        for ticket in tickets:  # none of their timers may hold up whoever uses the engine next
            await b.handle(tenant, ticket).terminate()
