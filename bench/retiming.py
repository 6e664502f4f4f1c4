"""A policy changes under thousands of open tickets: how long until each is promised the new."""

import asyncio
import os
import time
import uuid
from datetime import UTC, datetime, timedelta

from bench.figures import Figure, ceiling
from bench.place import Place
from domain.permissions import Principal, Role, grants_of
from domain.sla import Metric
from domain.states import Channel, Priority
from domain.tickets import NewMessage
from models.base import new_id
from services import bulk, configuration
from services.desks import Desks
from services.tickets import Origin, Requester, TicketRequest, Tickets

COUNT = int(os.environ.get("BENCH_RETIMED", "1000"))
METRICS = (Metric.FIRST_REPLY, Metric.RESOLUTION, Metric.AGENT_WORK)
QUIET = 20.0  # seconds in which nothing may happen


async def run(place: Place) -> list[Figure]:
    """Open tickets with three clocks each, all timed anew by the job that an admin asks for."""
    live, tickets = place.live, Tickets(Desks())
    policy_id = await _three_clocks(place)
    await _made(place, tickets)
    place.analyze()
    await place.settled(within=1800)
    before = await _history(place)
    await asyncio.sleep(QUIET)
    polled = await _history(place) - before
    caller = Principal(
        tenant_id=live.tenant, tenant_slug=live.slug, kind="user", id=live.agent, role=Role.ADMIN,
        grants=grants_of(Role.ADMIN),
    )  # fmt: skip
    begun = time.monotonic()
    async with live.database.transaction(live.tenant) as work:
        now = datetime.now(UTC)
        await configuration.change_policy(
            work, policy_id, name=None, terms=_targets(hours=6), active=None, now=now
        )
        job = await bulk.retime(work, [policy_id], caller=caller, origin=Origin(), now=now)
    asked = time.monotonic() - begun
    counts = await _ended(place, job["id"], caller)
    took = time.monotonic() - begun
    await place.settled(within=1800)
    told = time.monotonic() - begun
    late = counts.get("queued", 0) + counts.get("refused", 0)
    return [
        Figure(
            "retime.tickets_a_second",
            COUNT / took,
            detail=f"{COUNT} open tickets, three clocks each, in {took:.1f} s;"
            f" asked for in {asked:.2f} s",
        ),
        Figure(
            "retime.timers_a_second",
            COUNT / told,
            detail=f"until each workflow's timer had moved: {told:.1f} s",
        ),
        ceiling("retime.left_out", late, 0, f"{counts}"),
        ceiling(
            "retime.polls", polled, 0, f"events in ten histories during {QUIET:.0f} quiet seconds"
        ),
    ]


def _targets(*, hours: int) -> dict[str, object]:
    return {
        "targets": {
            metric: dict.fromkeys(Priority, timedelta(hours=hours * (place + 1)))
            for place, metric in enumerate(METRICS)
        }
    }


async def _three_clocks(place: Place) -> uuid.UUID:
    async with place.live.database.transaction(place.live.tenant) as work:
        await work.execute(
            "update tenants set settings = settings || '{\"triage\": false}'::jsonb where id = :t",
            {"t": place.live.tenant},
        )
        [policy] = await configuration.policies(work)
        await configuration.change_policy(
            work,
            policy["id"],
            name=None,
            terms=_targets(hours=9),
            active=None,
            now=datetime.now(UTC),
        )
        found: uuid.UUID = policy["id"]
        return found


async def _made(place: Place, tickets: Tickets) -> None:
    """Customers' tickets, made as the API makes them, without the API."""
    numbers = iter(range(COUNT))

    async def make() -> None:
        for number in numbers:
            async with place.live.database.transaction(place.live.tenant) as work:
                await tickets.create(
                    work,
                    TicketRequest(
                        key=f"retime/{number}",
                        subject=f"Order {number} has not arrived",
                        message=NewMessage(new_id(), "I ordered two lamps and only one arrived."),
                        channel=Channel.EMAIL,
                        requester=Requester("email", f"c{number % 500}@example.com", "Kim"),
                    ),
                )

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(make())


async def _ended(place: Place, job_id: uuid.UUID, caller: Principal) -> dict[str, int]:
    """How many of each result, once the job has ended."""
    while True:
        async with place.live.database.transaction(place.live.tenant) as work:
            job = await bulk.job(work, job_id, caller)
        if job["state"] not in ("queued", "running"):
            counts: dict[str, int] = job["counts"]
            return counts
        await asyncio.sleep(0.2)


async def _history(place: Place) -> int:
    """How many events the first ten tickets' histories have."""
    client, events = await place.client(), 0
    for number in (await place.live.numbers())[:10]:
        handle = client.get_workflow_handle(f"ticket/{place.live.slug}/{number}")
        events += (await handle.describe()).history_length
    return events


__all__ = ["run"]
