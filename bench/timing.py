"""What a deadline costs when many fall due at once, and how late one is noticed on an idle desk."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import psycopg

from bench import workflows
from bench.figures import Figure, ceiling, percentile
from bench.place import Place

STORM = 300
CALM = 60
AHEAD = timedelta(seconds=20)

# A promise falls due at another time, and the workflows hear of it as of any change.
_MOVE = (
    "with due as (select id, number, seq, %(first)s + (row_number() over (order by number) - 1)"
    " * %(apart)s as at from tickets where tenant_id = %(tenant)s and number = any(%(numbers)s)),"
    " moved as (update clocks c set due_at = due.at from due where c.tenant_id = %(tenant)s"
    "  and c.ticket_id = due.id and c.metric = 'first_reply'),"
    " told as (insert into outbox (destination, tenant_id, ticket_id, number, kind, seq,"
    "  created_at, available_at) select 'workflows', %(tenant)s, id, number, 'reconciled', seq,"
    "  now(), now() from due)"
    " update tickets t set first_reply_due_at = due.at, next_due_at = due.at, deadline_at = due.at"
    " from due where t.tenant_id = %(tenant)s and t.id = due.id returning t.number, due.at"
)
_NOTICED = (
    "select number from tickets where tenant_id = :tenant and breached_at is not null"
    " and number = any(:numbers)"
)


async def run(place: Place) -> list[Figure]:
    """A storm of tickets and one of bare workflows, twice in turn; then deadlines one by one."""
    client, costs, bare_costs, missed = await place.client(), [], [], 0
    async with workflows.working(client) as bell:
        for _ in range(2):
            numbers = await _tickets(place, STORM)
            first = await _due(place, numbers, apart=timedelta(0))
            noticed = await _noticed(place, first, within=120)
            missed += STORM - len(noticed)
            costs.append((max(noticed.values()) - min(first.values())) / STORM)
            bell.rung.clear()
            moment = datetime.now(UTC) + AHEAD
            await workflows.start(client, STORM, moment)
            while len(bell.rung) < STORM:
                await asyncio.sleep(0.05)
            bare_costs.append((max(bell.rung) - moment.timestamp()) / STORM)
    numbers = await _tickets(place, CALM)
    due = await _due(place, numbers, apart=timedelta(milliseconds=250))
    noticed = await _noticed(place, due, within=120)
    late = [at - due[number] for number, at in noticed.items()]
    missed += CALM - len(noticed)
    cost, bare_cost = min(costs), min(bare_costs)
    return [
        ceiling(
            "timer.storm_cost",
            cost / bare_cost,
            1.5,
            f"{cost * 1000:.1f} ms a deadline of {bare_cost * 1000:.1f} ms a bare timer and local"
            f" activity; {STORM} at once",
        ),
        ceiling(
            "timer.idle_late_p99_seconds",
            percentile(late, 0.99),
            2.0,
            f"p50 {percentile(late, 0.5):.2f} s; {CALM} deadlines, four a second",
        ),
        ceiling("timer.missed", missed, 0),
    ]


async def _tickets(place: Place, count: int) -> list[int]:
    """So many new tickets, each with an idle workflow."""
    fed = await place.live.feed(count, at_once=8)
    await place.settled()
    return sorted(fed.accepted.values())


async def _due(place: Place, numbers: list[int], *, apart: timedelta) -> dict[int, float]:
    """When the tickets fall due, in seconds since the epoch; their workflows know by then."""
    values = {
        "tenant": place.live.tenant,
        "numbers": numbers,
        "first": datetime.now(UTC) + AHEAD,
        "apart": apart,
    }
    async with await psycopg.AsyncConnection.connect(place.superuser_url) as connection:
        rows = await (await connection.execute(_MOVE, values)).fetchall()
    await place.settled()
    due = {number: at.timestamp() for number, at in rows}
    assert time.time() < min(due.values()), "the machine is too slow for a storm this size"
    return due


async def _noticed(place: Place, due: dict[int, float], *, within: float) -> dict[int, float]:
    """When each breach was first to be read, in seconds since the epoch."""
    seen: dict[int, float] = {}
    last = max(due.values()) + within
    while len(seen) < len(due) and time.time() < last:
        async with place.live.database.transaction(place.live.tenant) as work:
            rows = await work.rows(
                _NOTICED, {"tenant": place.live.tenant, "numbers": sorted(set(due) - set(seen))}
            )
        now = time.time()
        seen |= {row["number"]: now for row in rows}
        await asyncio.sleep(0.05)
    return seen


__all__ = ["run"]
