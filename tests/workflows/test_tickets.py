"""A ticket's workflow on Temporal's own engines."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.sla import Metric, Notify, Step
from domain.states import Channel
from domain.tickets import AgentReplied, Changed, CustomerReplied, Snoozed
from services import learning
from tests.conftest import MakeTenant
from tests.making import happens, make_agent, make_policy, make_ticket, words
from tests.workflows.conftest import MakeBench

pytestmark = pytest.mark.temporal


async def test_a_ticket_nobody_answers_breaches_at_its_true_time_and_says_so(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
            await make_policy(
                work,
                steps=(
                    Step(
                        id="warn",
                        metric=Metric.FIRST_REPLY,
                        offset=timedelta(minutes=-15),
                        action=Notify(to=(agent,)),
                    ),
                ),
            )
        ticket = await make_ticket(
            b.database, b.tickets, tenant, now=await skipping.get_current_time()
        )
        await b.wake(tenant, ticket)
        await skipping.sleep(timedelta(hours=9))
        timeline = await b.timeline(tenant, ticket)
        assert [e["type"] for e in timeline] == [
            "ticket_created", "sla_step", "sla_breached", "sla_breached",
        ]  # fmt: skip
        assert timeline[1]["occurred_at"] == ticket.created_at + timedelta(minutes=45)
        assert timeline[2]["occurred_at"] == ticket.created_at + timedelta(hours=1)
        assert timeline[3]["occurred_at"] == ticket.created_at + timedelta(hours=8)
        assert all(e["cause"] for e in timeline[1:])
        answer = await b.seen(tenant, ticket, seq=4)
        assert answer["deadline"] is None


async def test_a_resolved_ticket_closes_by_itself_and_its_workflow_ends(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        now = await skipping.get_current_time()
        ticket = await make_ticket(b.database, b.tickets, tenant, now=now)
        await b.wake(tenant, ticket)
        resolved = await happens(
            b.database, b.tickets, tenant, ticket.number,
            AgentReplied(words(), status="resolved"), by=agent, now=now,
        )  # fmt: skip
        await b.wake(tenant, resolved)
        await skipping.sleep(timedelta(days=28, minutes=1))
        await b.handle(tenant, ticket).result()
        row = await b.row(tenant, ticket)
        assert row["category"] == "closed"
        assert row["closed_at"] is not None
        timeline = await b.timeline(tenant, ticket)
        assert timeline[-1]["type"] == "auto_closed"
        assert timeline[-1]["occurred_at"] == now + timedelta(days=28)
        assert [m.to for m in b.mail.sent] == ["kim@example.com"]


async def test_a_reopened_ticket_gets_a_new_run_under_its_old_name(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant(triage=False, reopen_closed=True)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        now = await skipping.get_current_time()
        ticket = await make_ticket(b.database, b.tickets, tenant, now=now)
        closed = await happens(
            b.database, b.tickets, tenant, ticket.number,
            Changed(assignee_id=agent, status="closed"), by=agent, now=now,
        )  # fmt: skip
        await b.wake(tenant, closed)
        await b.handle(tenant, ticket).result()
        first = (await b.handle(tenant, ticket).describe()).run_id
        reopened = await happens(
            b.database, b.tickets, tenant, ticket.number,
            CustomerReplied(words(), ticket.requester_id, Channel.EMAIL),
        )  # fmt: skip
        assert reopened.category == "open"
        await b.wake(tenant, reopened)
        assert (await b.seen(tenant, reopened))["status"] == "open"
        assert (await b.handle(tenant, ticket).describe()).run_id != first


async def test_a_late_signal_to_a_closed_ticket_ends_its_run_at_once(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        ticket = await make_ticket(b.database, b.tickets, tenant)
        closed = await happens(
            b.database, b.tickets, tenant, ticket.number,
            Changed(assignee_id=agent, status="closed"), by=agent,
        )  # fmt: skip
        for _ in range(2):  # the second revives what the first has ended
            await b.wake(tenant, closed)
            await b.handle(tenant, ticket).result()
        assert "TIMER_STARTED" not in await b.event_types(tenant, ticket)


async def test_a_snoozed_ticket_wakes_at_its_time(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        now = await skipping.get_current_time()
        ticket = await make_ticket(b.database, b.tickets, tenant, now=now)
        until = now + timedelta(days=3)
        snoozed = await happens(
            b.database, b.tickets, tenant, ticket.number, Snoozed(until, False), by=agent, now=now
        )
        await b.wake(tenant, snoozed)
        await skipping.sleep(timedelta(days=3, seconds=5))
        row = await b.row(tenant, ticket)
        assert row["snoozed_until"] is None
        timeline = await b.timeline(tenant, ticket)
        assert (timeline[-1]["type"], timeline[-1]["occurred_at"]) == ("woken", until)


async def test_a_verdict_counts_only_where_nobody_has_decided(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant()
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
            await learning.set_field(work, "topic", {"apply": "always"}, now=datetime.now(UTC))
        ticket = await make_ticket(b.database, b.tickets, tenant)
        decided = await happens(
            b.database, b.tickets, tenant, ticket.number, Changed(priority="low"), by=agent  # type: ignore[arg-type]
        )  # fmt: skip
        await b.wake(tenant, decided)
        await b.seen(tenant, decided)
        row = await b.row(tenant, ticket)
        assert (row["triage"], row["topic"], row["priority"]) == ("done", "billing", "low")
        assert b.classifier.calls == 1


async def test_a_model_that_fails_delays_nobody_and_is_asked_again(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant()
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        b.classifier.errors = [RuntimeError("model gone"), RuntimeError("model gone")]
        ticket = await make_ticket(b.database, b.tickets, tenant)
        await b.wake(tenant, ticket)
        answered = await happens(
            b.database, b.tickets, tenant, ticket.number, AgentReplied(words()), by=agent
        )
        await b.wake(tenant, answered)
        await b.settled(tenant, ticket)
        timeline = [e["type"] for e in await b.timeline(tenant, ticket)]
        assert timeline == ["ticket_created", "agent_replied", "triaged"]
        assert b.classifier.calls == 3
        assert len(b.mail.sent) == 1
