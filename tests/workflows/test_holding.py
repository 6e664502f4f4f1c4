"""What holds a step up, on the real engine: acknowledgements and quiet hours, timer by timer."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.sla import Metric, Notify, QuietHours, Step
from domain.tickets import Acknowledged, Ticket
from services import verifying
from tests.conftest import MakeTenant
from tests.making import happens, make_agent, make_policy, make_ticket
from tests.workflows.conftest import Bench, MakeBench

pytestmark = pytest.mark.temporal
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
TIERS = (("lead", 30 * MINUTE), ("boss", 60 * MINUTE), ("chief", 90 * MINUTE))


async def opened(
    b: Bench, make_tenant: MakeTenant, now: datetime, quiet: QuietHours | None = None
) -> tuple[UUID, UUID, Ticket]:
    """Due in an hour; three tiers follow at half an hour each."""
    tenant = await make_tenant(triage=False)
    async with b.database.transaction(tenant) as work:
        agent = await make_agent(work)
        steps = tuple(
            Step(id=name, metric=Metric.RESOLUTION, offset=offset, tier=tier, quiet=quiet,
                 action=Notify(to=(agent,)))
            for tier, (name, offset) in enumerate(TIERS, start=1)
        )  # fmt: skip
        await make_policy(work, first_reply=None, resolution=HOUR, steps=steps)
    ticket = await make_ticket(b.database, b.tickets, tenant, now=now)
    await b.wake(tenant, ticket)
    return tenant, agent, ticket


async def told(b: Bench, tenant: UUID, ticket: Ticket) -> list[tuple[object, timedelta]]:
    """Each breach and step with its true time, counted from the opening."""
    found = []
    for entry in await b.timeline(tenant, ticket):
        if entry["type"] in ("sla_step", "sla_breached"):
            data, at = entry["data"], entry["occurred_at"]
            assert isinstance(data, dict)
            assert isinstance(at, datetime)
            found.append((data.get("step", "breach"), at - ticket.created_at))
    notices = len([one for one in found if one[0] != "breach"])
    async with b.database.transaction(tenant) as work:
        rows = await work.rows(
            "select 1 from notifications where tenant_id = :t and kind = 'sla_breached'"
            " and jsonb_exists(data, 'step')",
            {"t": tenant},
        )
    assert len(rows) == notices  # each told once
    return found


async def test_a_colleagues_five_minutes_do_not_cut_an_hour_short_and_more_carries_it_on(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        now = await skipping.get_current_time()
        tenant, agent, ticket = await opened(b, make_tenant, now)
        await skipping.sleep(95 * MINUTE)
        # The lead has heard. Acknowledged for two hours, for five minutes, and for three hours.
        for minutes, length in ((95, 120), (100, 5), (150, 180)):
            at = ticket.created_at + minutes * MINUTE
            seen = await happens(
                b.database, b.tickets, tenant, ticket.number, Acknowledged(at + length * MINUTE),
                by=agent, now=at,
            )  # fmt: skip
            await b.wake(tenant, seen)
            await b.seen(tenant, seen)
            await skipping.sleep(20 * MINUTE)
        await skipping.sleep(12 * HOUR)
        assert await told(b, tenant, ticket) == [
            ("breach", HOUR), ("lead", 90 * MINUTE), ("boss", 330 * MINUTE),
            ("chief", 330 * MINUTE),
        ]  # fmt: skip
        assert (await verifying.verify(b.database, tenant)).faults == ()


async def test_tiers_that_fall_into_quiet_hours_come_when_they_end_each_once_and_in_order(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        now = await skipping.get_current_time()
        begins, ends = now + 70 * MINUTE, now + 240 * MINUTE
        quiet = QuietHours(start=f"{begins:%H:%M}", end=f"{ends:%H:%M}")
        tenant, _, ticket = await opened(b, make_tenant, now, quiet)
        end = ends.replace(second=0, microsecond=0) - ticket.created_at
        await skipping.sleep(239 * MINUTE - timedelta(seconds=now.second))
        assert await told(b, tenant, ticket) == [("breach", HOUR)]
        await skipping.sleep(12 * HOUR)
        assert await told(b, tenant, ticket) == [
            ("breach", HOUR), ("lead", end), ("boss", end), ("chief", end)
        ]  # fmt: skip
        assert (await verifying.verify(b.database, tenant)).faults == ()
