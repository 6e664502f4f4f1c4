"""A ticket that was woken very often goes on in a fresh history and forgets nothing."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from domain.sla import AddTag, Metric, Step
from domain.tickets import AgentReplied
from tests.conftest import MakeTenant
from tests.making import happens, make_agent, make_policy, make_ticket, words
from tests.workflows.conftest import MakeBench

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


async def test_a_storm_of_wakes_cuts_the_history_and_no_step_happens_twice(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
            steps = (
                Step(id="warned", metric=Metric.RESOLUTION, percent=75, action=AddTag(tag="soon")),
                Step(id="late", metric=Metric.RESOLUTION, offset=MINUTE, action=AddTag(tag="late")),
            )
            await make_policy(work, first_reply=None, resolution=HOUR, steps=steps)
        opened = datetime.now(UTC) - 50 * MINUTE
        ticket = await make_ticket(b.database, b.tickets, tenant, now=opened)
        await b.wake(tenant, ticket)
        await b.until_event(tenant, ticket, "sla_step")
        await b.settled(tenant, ticket)
        before = await b.current(tenant, ticket)
        assert before["timer"], "it waits for the breach"
        after = before
        async with asyncio.timeout(120):
            while after["run_id"] == before["run_id"]:
                for _ in range(20):
                    await b.wake(tenant, ticket)
                after = await b.current(tenant, ticket)
        await b.settled(tenant, ticket)
        after = await b.current(tenant, ticket)
        assert after["timer"] == before["timer"]
        assert after["seq"] == before["seq"]
        replied = await happens(
            b.database, b.tickets, tenant, ticket.number,
            AgentReplied(words(), status="resolved"), by=agent,
        )  # fmt: skip
        await b.wake(tenant, replied)
        assert (await b.seen(tenant, replied))["status"] == "resolved"
        steps_taken = [
            entry["data"] for entry in await b.timeline(tenant, ticket)
            if entry["type"] == "sla_step"
        ]  # fmt: skip
        assert len(steps_taken) == 1
        await b.handle(tenant, ticket).terminate()
