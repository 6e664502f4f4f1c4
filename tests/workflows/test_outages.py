"""Nobody works for an hour; afterwards everything is told as it was."""

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.tickets import WORTH_A_REASON
from domain.permissions import Principal, Role, grants_of
from domain.sla import Metric, Notify, RaisePriority, Step, WriteNote
from domain.tickets import Ticket
from models.session import Row
from services import timing
from services.desks import Desks
from tests.conftest import MakeTenant
from tests.making import make_agent, make_policy, make_ticket
from tests.workflows.conftest import Bench, MakeBench

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

MANY = 200  # that break on the engine's clock
FEW = 40  # that break on ours
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
AHEAD = timedelta(seconds=45)  # until the timers go off: the workers have to be gone by then


def _step(name: str, minutes: int, *actions: object) -> Step:
    return Step(
        id=name,
        metric=Metric.FIRST_REPLY,
        offset=minutes * MINUTE,
        action=actions[0],
        also=actions[1:],
    )


async def _recorded(b: Bench, tenant: uuid.UUID, *kinds: str) -> list[Row]:
    async with b.database.transaction(tenant) as work:
        return await work.rows(
            "select * from events where tenant_id = :t and type = any(:kinds)"
            " order by ticket_id, seq",
            {"t": tenant, "kinds": list(kinds)},
        )


async def _breached(b: Bench, tenant: uuid.UUID, count: int = MANY) -> None:
    async with asyncio.timeout(120):
        while True:
            if len(await _recorded(b, tenant, "sla_breached")) >= count:
                return
            await asyncio.sleep(0.5)


async def _says(b: Bench, tenant: uuid.UUID, ticket: Ticket, agent: uuid.UUID) -> str | None:
    """What whoever opens the ticket reads about its first reply."""
    caller = Principal(
        tenant_id=tenant, tenant_slug="t", kind="user", id=agent, role=Role.ADMIN,
        grants=grants_of(Role.ADMIN),
    )  # fmt: skip
    async with b.database.transaction(tenant) as work:
        found = await timing.timed(work, Desks(), caller, ticket.number, now=ticket.created_at)
    [one] = [one for one in found.clocks if one.clock.metric is Metric.FIRST_REPLY]
    return timing.lateness(one.clock, now=ticket.created_at, because=one.late_because)


async def _woken(b: Bench, tenant: uuid.UUID, tickets: Sequence[Ticket]) -> None:
    for some in range(0, len(tickets), 10):
        await asyncio.gather(*(b.wake(tenant, ticket) for ticket in tickets[some : some + 10]))


@dataclass(frozen=True)
class Promised:
    """A ticket, with what is to be found in its timeline after the hour."""

    ticket: Ticket
    noted: bool  # half an hour over, when they were back

    @property
    def due(self) -> datetime:
        assert self.ticket.first_reply_due_at is not None
        return self.ticket.first_reply_due_at


async def _an_hour_passes(skipping: WorkflowEnvironment) -> None:
    """On the engine's clock, while nobody takes what its timers leave to do.

    It stands still as long as a task waits for a worker: each is told to be of no account, and
    counted again before the workers are back.
    """
    service, let_go = skipping.client.test_service, 0
    passing = asyncio.create_task(skipping.sleep(HOUR))
    while not (await asyncio.wait({passing}, timeout=0.01))[0]:
        try:
            await service.unlock_time_skipping(UnlockTimeSkippingRequest())
        except RPCError:
            continue  # nothing holds it up
        let_go += 1
    await passing
    for _ in range(let_go):
        await service.lock_time_skipping(LockTimeSkippingRequest())


async def test_an_hour_of_the_engine_without_workers_loses_none_of_two_hundred_deadlines(
    skipping: WorkflowEnvironment,
    bench: MakeBench,
    make_tenant: MakeTenant,
) -> None:
    """Two hundred promises break in an hour in which no worker runs, all along it."""
    tenant = await make_tenant(triage=False)
    async with bench(skipping.client) as b, b.database.transaction(tenant) as work:
        agent = await make_agent(work, role="admin")
        await make_policy(
            work,
            resolution=None,
            steps=(
                _step("warn", -15, Notify(to=(agent,))),
                _step("louder", -5, RaisePriority(), Notify(to=(agent,))),
                _step("after", 30, WriteNote(text="Half an hour over.")),
            ),
        )
    # All workers are gone. Customers go on writing; of what is due within the hour nobody knows.
    begun = await skipping.get_current_time()

    async def made(first: float, last: float, count: int, *, noted: bool) -> list[Promised]:
        """So many that are due from the one minute of the hour to the other."""
        apart = (last - first) / count
        return [
            Promised(
                await make_ticket(
                    b.database, b.tickets, tenant,
                    now=begun - HOUR + (first + apart * place) * MINUTE,
                ),
                noted,
            )
            for place in range(count)
        ]  # fmt: skip

    everyone = [
        *await made(0, 25, MANY // 2, noted=True),
        *await made(40, 60, MANY // 2, noted=False),
    ]
    await _woken(b, tenant, [each.ticket for each in everyone])
    gone = await skipping.get_current_time()
    assert gone - begun < 5 * MINUTE, "the machine is too slow for so many tickets"
    await _an_hour_passes(skipping)
    back = await skipping.get_current_time()
    assert HOUR <= back - gone < HOUR + MINUTE
    assert await _recorded(b, tenant, "sla_breached") == []
    async with bench(skipping.client) as b:
        await _breached(b, tenant)
        await asyncio.sleep(2)  # for whatever would come a second time
        rows = await _recorded(b, tenant, "sla_breached", "sla_step")
        by_ticket = {each.ticket.id: [r for r in rows if r["ticket_id"] == each.ticket.id]
                     for each in everyone}  # fmt: skip
        for each in everyone:
            told = by_ticket[each.ticket.id]
            expected = [("warn", -15 * MINUTE), ("louder", -5 * MINUTE), (None, 0 * MINUTE)]
            if each.noted:
                expected.append(("after", 30 * MINUTE))
            assert [(e["data"].get("step"), e["occurred_at"] - each.due) for e in told] == expected
            warn, louder, breach = told[:3]
            assert warn["data"]["skipped"] == "the deadline had passed when it was noticed"
            assert "skipped" not in louder["data"]  # it changes the ticket: done however late
            # The true time is the deadline, and how late it was noticed is the engine's account.
            late = timedelta(seconds=breach["data"]["late_by_seconds"])
            assert back - each.due - MINUTE <= late <= back - each.due + 5 * MINUTE
            assert breach["data"]["late_because"] == "no worker was running"
        said = await _says(b, tenant, everyone[10].ticket, agent)
        assert re.fullmatch(r"timer (1 h|[56]\d min) late: no worker was running", str(said)), said
        # Who has heard of it: each of the steps that was worth it, once per ticket.
        async with b.database.transaction(tenant) as work:
            notices = await work.rows(
                "select ticket_id, data ->> 'step' as step from notifications"
            )
            notes = await work.rows(
                "select ticket_id from messages where author_kind = 'automation'"
            )
        heard = Counter((one["ticket_id"], one["step"]) for one in notices if one["step"])
        assert heard == Counter((each.ticket.id, "louder") for each in everyone)
        assert Counter(one["ticket_id"] for one in notes) == Counter(
            each.ticket.id for each in everyone if each.noted
        )
        for each in everyone:  # none of their timers may hold up whoever uses the engine next
            await b.handle(tenant, each.ticket).terminate()


async def test_on_a_real_server_timers_that_nobody_hears_lose_no_breach_and_repeat_no_step(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    """Half of the promises have an armed timer that goes off while nobody is there to hear it; half
    belong to tickets that came two hours ago and that no worker has ever seen."""
    tenant = await make_tenant(triage=False)

    async def made(b: Bench, opened: datetime) -> list[Ticket]:
        return [
            await make_ticket(b.database, b.tickets, tenant, now=opened) for _ in range(FEW // 2)
        ]

    async with bench(dev_server) as b:
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work, role="admin")
            await make_policy(
                work,
                resolution=None,
                steps=(
                    _step("warn", -15, Notify(to=(agent,))),
                    _step("louder", -10, RaisePriority(), Notify(to=(agent,))),
                    _step("after", 30, WriteNote(text="Half an hour over.")),
                ),
            )
        armed = await made(b, datetime.now(UTC) - HOUR + AHEAD)
        await _woken(b, tenant, armed)
        for ticket in armed:
            await b.seen(tenant, ticket, seq=3)  # warned and raised, in time
        due = armed[0].first_reply_due_at
        assert due is not None
        assert datetime.now(UTC) < due, "the machine is too slow for so many tickets"
    # All workers are gone. Customers go on writing, Temporal's timers go off.
    unseen = await made(b, datetime.now(UTC) - 2 * HOUR + 2 * MINUTE)
    await _woken(b, tenant, unseen)
    await asyncio.sleep((due + WORTH_A_REASON - datetime.now(UTC)).total_seconds() + 1)
    assert await _recorded(b, tenant, "sla_breached") == []
    async with bench(dev_server) as b:
        await _breached(b, tenant, FEW)
        await asyncio.sleep(2)  # for whatever would come a second time
        rows = await _recorded(b, tenant, "sla_breached", "sla_step")
        by_ticket: dict[uuid.UUID, list[Row]] = {ticket.id: [] for ticket in (*armed, *unseen)}
        for row in rows:
            by_ticket[row["ticket_id"]].append(row)
        for ticket in (*armed, *unseen):
            told, is_unseen = by_ticket[ticket.id], ticket in unseen
            due = ticket.first_reply_due_at
            assert due is not None
            expected = [("warn", -15 * MINUTE), ("louder", -10 * MINUTE), (None, 0 * MINUTE)]
            if is_unseen:
                expected.append(("after", 30 * MINUTE))
            assert [(e["data"].get("step"), e["occurred_at"] - due) for e in told] == expected
            warn, louder, breach = told[:3]
            pointless = "the deadline had passed when it was noticed" if is_unseen else None
            assert warn["data"].get("skipped") == pointless
            assert "skipped" not in louder["data"]  # it changes the ticket: done however late
            assert breach["data"]["late_because"] == "no worker was running"
            late = timedelta(seconds=breach["data"]["late_by_seconds"])
            assert 58 * MINUTE <= late < 65 * MINUTE if is_unseen else late >= WORTH_A_REASON
        said = await _says(b, tenant, unseen[7], agent)
        assert re.fullmatch(r"timer (5[89]|6\d) min late: no worker was running", str(said)) or (
            said == "timer 1 h late: no worker was running"
        ), said
        # Who has heard of it: each of the steps that was worth it, once per ticket.
        async with b.database.transaction(tenant) as work:
            notices = await work.rows(
                "select ticket_id, data ->> 'step' as step from notifications"
            )
            notes = await work.rows(
                "select ticket_id from messages where author_kind = 'automation'"
            )
        heard = Counter((one["ticket_id"], one["step"]) for one in notices if one["step"])
        assert heard == Counter(
            [(t.id, "louder") for t in (*armed, *unseen)] + [(t.id, "warn") for t in armed]
        )
        assert Counter(one["ticket_id"] for one in notes) == Counter(t.id for t in unseen)
