"""One ticket through a month in which everything happens to it, on an engine that skips time."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.calendars import Calendar
from domain.permissions import Principal, Role, grants_of
from domain.sla import AddTag, Metric, RaisePriority, Step
from domain.states import Channel, Priority
from domain.tickets import (
    AgentReplied,
    Changed,
    CustomerReplied,
    Payload,
    Retimed,
    Snoozed,
    Ticket,
)
from services import configuration, merging, verifying
from services.desks import Desks
from services.tickets import Tickets
from tests.conftest import MakeTenant
from tests.invariants import broken
from tests.making import happens, make_agent, make_policy, make_ticket, words
from tests.workflows.conftest import Bench, MakeBench

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")
OFFICE = {"timezone": "Europe/Berlin", "weekly": {day: [["09:00", "17:00"]] for day in WEEKDAYS}}
LONGER = {**OFFICE, "weekly": {day: [["08:00", "20:00"]] for day in (*WEEKDAYS, "sat")}}
# What the ticket's history may hold in all.
MOST_EVENTS = 400


@dataclass
class Month:
    """The ticket, and the engine's clock by which everything happens to it."""

    b: Bench
    skipping: WorkflowEnvironment
    tenant: uuid.UUID
    agent: uuid.UUID

    async def happens(self, ticket: Ticket, payload: Payload, *, by_customer: bool = False) -> None:
        now = await self.skipping.get_current_time()
        after = await happens(
            self.b.database, self.b.tickets, self.tenant, ticket.number, payload,
            by=None if by_customer else self.agent, now=now,
        )  # fmt: skip
        await self.b.wake(self.tenant, after)
        await self.b.seen(self.tenant, after)

    async def answered(self, ticket: Ticket) -> None:
        reply = CustomerReplied(words(), ticket.requester_id, Channel.EMAIL)
        await self.happens(ticket, reply, by_customer=True)

    async def merged(self, source: Ticket, target: Ticket, *, back: bool = False) -> None:
        """Merged into another, or taken back, by the engine's clock; both workflows hear of it."""
        now = await self.skipping.get_current_time()
        caller = Principal(
            tenant_id=self.tenant, tenant_slug="t", kind="user", id=self.agent,
            role=Role.SUPERVISOR, grants=grants_of(Role.SUPERVISOR),
        )  # fmt: skip
        tickets, key = Tickets(Desks(), now=lambda: now), str(uuid.uuid4())
        async with self.b.database.transaction(self.tenant) as work:
            if back:
                both = await merging.unmerge(
                    tickets, work, source=source.number, key=key, caller=caller
                )
            else:
                both = await merging.merge(
                    tickets, work, source=source.number, target=target.number, key=key,
                    caller=caller,
                )  # fmt: skip
        for outcome in (both.source, both.target):
            await self.b.wake(self.tenant, outcome.ticket)


async def test_a_month_of_everything_ends_with_cycles_that_a_recount_agrees_with(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work, role="supervisor")
            policy = await make_policy(
                work,
                first_reply=4 * HOUR,
                resolution=24 * HOUR,
                calendar=Calendar.model_validate(OFFICE),
                steps=(
                    Step(
                        id="up", metric=Metric.RESOLUTION, percent=75, action=RaisePriority()
                    ),
                    Step(
                        id="tag", metric=Metric.RESOLUTION, offset=HOUR,
                        action=AddTag(tag="late"),
                    ),
                ),
            )  # fmt: skip
        month = Month(b, skipping, tenant, agent)
        begun = await skipping.get_current_time()
        ticket = await make_ticket(b.database, b.tickets, tenant, now=begun)
        other = await make_ticket(b.database, b.tickets, tenant, now=begun)
        for each in (ticket, other):
            await b.wake(tenant, each)
            await b.seen(tenant, each)
        await skipping.sleep(2 * HOUR)
        await month.happens(ticket, AgentReplied(words(), status="pending"))
        await skipping.sleep(3 * DAY)
        await month.answered(ticket)
        await skipping.sleep(5 * HOUR)
        await month.happens(ticket, Changed(priority=Priority.HIGH))
        now = await skipping.get_current_time()
        await month.happens(ticket, Snoozed(now + 2 * DAY, False))
        await skipping.sleep(3 * DAY)
        await month.happens(ticket, Changed(status="on_hold"))
        async with b.database.transaction(tenant) as work:
            now = await skipping.get_current_time()
            targets = {
                Metric.FIRST_REPLY: dict.fromkeys(Priority, 2 * HOUR),
                Metric.RESOLUTION: dict.fromkeys(Priority, 60 * HOUR),
                Metric.AGENT_WORK: dict.fromkeys(Priority, 50 * HOUR),
            }
            await configuration.change_policy(
                work, policy.id, name=None, terms={"targets": targets}, active=None, now=now
            )
        await month.happens(ticket, Retimed())
        await skipping.sleep(DAY)
        await month.happens(ticket, Changed(status="pending"))
        async with b.database.transaction(tenant) as work:
            now = await skipping.get_current_time()
            longer = Calendar.model_validate(LONGER)
            await configuration.change_calendar(
                work, policy.calendar_id, name=None, body=longer, active=None, now=now
            )
        await month.happens(ticket, Retimed())
        await skipping.sleep(DAY)
        await month.happens(ticket, AgentReplied(words(), status="resolved"))
        await skipping.sleep(2 * DAY)
        await month.answered(ticket)  # and reopened by it
        await skipping.sleep(6 * HOUR)
        await month.merged(ticket, other)
        await skipping.sleep(DAY)
        await month.merged(ticket, other, back=True)
        await skipping.sleep(6 * DAY)  # its resolution is missed meanwhile
        await month.happens(ticket, AgentReplied(words(), status="resolved"))
        await skipping.sleep(28 * DAY + HOUR)
        await b.handle(tenant, ticket).result()

        timeline = await b.timeline(tenant, ticket)
        kinds = [str(entry["type"]) for entry in timeline]
        assert kinds[-1] == "auto_closed"
        assert {"woken", "sla_retimed", "merged", "unmerged"} <= set(kinds)
        assert kinds.count("sla_retimed") == 2
        end = await skipping.get_current_time()
        # A second opinion that shares no code with the clocks, and the clocks' own from the facts.
        found = await verifying.verify(b.database, tenant)
        assert found.faults == ()
        assert (found.tickets, found.cycles >= 5) == (2, True)
        assert await broken(b.database, tenant, now=end) == []
        steps = [e["data"]["step"] for e in timeline if e["type"] == "sla_step"]  # type: ignore[index]
        assert len(steps) == len(set(steps))
        assert len(await b.event_types(tenant, ticket)) < MOST_EVENTS
