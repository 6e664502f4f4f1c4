"""What a wake costs, counted in a real server's history."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from domain.sla import AddTag, Metric, Step
from domain.states import Channel, Priority
from domain.tickets import Changed, CustomerReplied, NoteAdded
from tests.conftest import MakeTenant
from tests.making import happens, make_agent, make_policy, make_ticket, words
from tests.workflows.conftest import Bench, MakeBench

pytestmark = pytest.mark.temporal
MINUTE = timedelta(minutes=1)


async def test_a_wake_costs_five_events_and_seven_when_the_deadline_moves(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
            await make_policy(work)
        ticket = await make_ticket(b.database, b.tickets, tenant)
        await b.wake(tenant, ticket)
        await b.seen(tenant, ticket)
        before = await b.event_types(tenant, ticket)
        assert before.count("TIMER_STARTED") == 1
        # Born with its search attributes: nothing is upserted on the first look.
        assert "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES" not in before

        noted = await happens(
            b.database, b.tickets, tenant, ticket.number, NoteAdded(words()), by=agent
        )
        await b.wake(tenant, noted)
        await b.seen(tenant, noted)
        same = (await b.event_types(tenant, ticket))[len(before) :]
        assert same == [
            "WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED",
            "WORKFLOW_TASK_COMPLETED", "MARKER_RECORDED",
        ]  # fmt: skip

        snooze = datetime.now(UTC) + timedelta(minutes=10)
        from domain.tickets import Snoozed

        moved = await happens(
            b.database, b.tickets, tenant, ticket.number, Snoozed(snooze, True), by=agent
        )
        await b.wake(tenant, moved)
        await b.seen(tenant, moved)
        after = (await b.event_types(tenant, ticket))[len(before) + 5 :]
        upserts = after.count("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES")
        assert upserts == 1  # the deadline is one of them
        assert len(after) - upserts == 7
        assert after.count("TIMER_CANCELED") == after.count("TIMER_STARTED") == 1


async def test_a_new_ticket_costs_twelve_events_until_it_waits(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant()
        async with b.database.transaction(tenant) as work:
            await make_policy(work)
        ticket = await make_ticket(b.database, b.tickets, tenant)
        for _ in range(2):  # told twice, it is one ticket
            await b.wake(tenant, ticket, "ticket_created")
        await b.until_event(tenant, ticket, "triaged")
        row = await b.row(tenant, ticket)
        await b.seen(tenant, ticket, seq=int(str(row["seq"])))
        types = await b.event_types(tenant, ticket)
        assert types[:8] == [
            "WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED",
            "WORKFLOW_TASK_COMPLETED", "MARKER_RECORDED", "ACTIVITY_TASK_SCHEDULED",
            "TIMER_STARTED", "ACTIVITY_TASK_STARTED",
        ]  # fmt: skip
        # What the model thought is known with its answer: nothing has to be looked at again.
        assert types.count("MARKER_RECORDED") == 1
        assert types.count("WORKFLOW_EXECUTION_SIGNALED") == 0
        moved = types.count("TIMER_CANCELED") + types.count("TIMER_STARTED") - 1
        searched = types.count("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES")  # where it changed any
        assert searched <= 1
        assert len(types) - moved - searched == 12
        history = await b.handle(tenant, ticket).fetch_history()
        assert sum(event.ByteSize() for event in history.events) < 3_000


async def test_a_ticket_that_is_over_waits_for_no_model(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant()
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        b.classifier.errors = [RuntimeError("away")] * 50
        ticket = await make_ticket(b.database, b.tickets, tenant)
        await b.wake(tenant, ticket)
        async with asyncio.timeout(20):
            while not b.classifier.calls:
                await asyncio.sleep(0.05)
        closed = await happens(
            b.database, b.tickets, tenant, ticket.number,
            Changed(assignee_id=agent, status="closed"), by=agent,
        )  # fmt: skip
        await b.wake(tenant, closed)
        async with asyncio.timeout(20):
            await b.handle(tenant, ticket).result()


async def test_a_storm_of_signals_is_one_look_or_few(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant(triage=False)
        ticket = await make_ticket(b.database, b.tickets, tenant)
        last = ticket
        for _ in range(20):
            last = await happens(
                b.database, b.tickets, tenant, ticket.number,
                CustomerReplied(words(), ticket.requester_id, Channel.EMAIL),
            )  # fmt: skip
        await asyncio.gather(*(b.wake(tenant, last) for _ in range(20)))
        answer = await b.seen(tenant, last)
        assert int(str(answer["wakes"])) <= 20
        assert "TIMER_STARTED" not in await b.event_types(tenant, ticket)


async def test_after_many_wakes_the_ticket_goes_on_in_a_fresh_history(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    """Its timer is armed again for the same moment, and no step happens a second time."""
    async with bench(dev_server) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
            steps = (
                Step(id="warned", metric=Metric.RESOLUTION, percent=75, action=AddTag(tag="soon")),
                Step(id="late", metric=Metric.RESOLUTION, offset=MINUTE, action=AddTag(tag="late")),
            )
            await make_policy(work, first_reply=None, resolution=60 * MINUTE, steps=steps)
        opened = datetime.now(UTC) - 50 * MINUTE  # the warning has come, the breach has not
        ticket = await make_ticket(b.database, b.tickets, tenant, now=opened)
        await b.wake(tenant, ticket)
        await b.until_event(tenant, ticket, "sla_step")
        await b.settled(tenant, ticket)
        first = await b.current(tenant, ticket)
        assert first["timer"] is not None
        for _ in range(510):
            await b.wake(tenant, ticket)
        await _until_another_run(b, tenant, ticket, str(first["run_id"]))
        await b.settled(tenant, ticket)
        second = await b.current(tenant, ticket)
        assert second["run_id"] != first["run_id"]
        assert (second["timer"], second["seq"]) == (first["timer"], first["seq"])
        last = await happens(
            b.database, b.tickets, tenant, ticket.number, Changed(priority=Priority.HIGH), by=agent
        )
        await b.wake(tenant, last)
        assert (await b.seen(tenant, last))["run_id"] == second["run_id"]
        assert [e["type"] for e in await b.timeline(tenant, ticket)].count("sla_step") == 1


async def _until_another_run(b: Bench, tenant: object, ticket: object, run_id: str | None) -> None:
    async with asyncio.timeout(60):
        while (await b.handle(tenant, ticket).describe()).run_id == run_id:  # type: ignore[arg-type]
            await b.wake(tenant, ticket)  # type: ignore[arg-type]
            await asyncio.sleep(0.02)


async def test_what_the_workflow_did_itself_is_not_told_to_it_again(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant()
        ticket = await make_ticket(b.database, b.tickets, tenant)
        await b.wake(tenant, ticket)
        await b.until_event(tenant, ticket, "triaged")
        row = await b.row(tenant, ticket)
        # It sees the verdict without being woken for it.
        await b.seen(tenant, ticket, seq=int(str(row["seq"])))
        async with b.database.transaction(tenant) as work:
            told = await work.rows("select destination, kind, seq from outbox order by id")
        by_model = [t for t in told if t["seq"] == row["seq"]]
        assert {t["destination"] for t in by_model} == {"index", "live"}
        types = await b.event_types(tenant, ticket)
        assert types.count("WORKFLOW_EXECUTION_SIGNALED") == 1
        assert (await b.seen(tenant, ticket, seq=row["seq"]))["status"] == "new"  # type: ignore[arg-type]
